"""Readers of published data sets and of file formats: one file per origin."""
