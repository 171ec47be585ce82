"""Sentence vectors of the items' text."""

from deftrec.text.sentences import kept_sentence_model, sentence_vectors

__all__ = ["kept_sentence_model", "sentence_vectors"]
