"""The terms of the retrieval score, one file each."""
