"""Sentence vectors of the items' text."""

from deftrec.text.sentences import sentence_vectors

__all__ = ["sentence_vectors"]
