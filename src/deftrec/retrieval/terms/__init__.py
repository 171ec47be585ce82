"""The terms of the retrieval score, one file each; `deftrec.retrieval` registers them all."""
