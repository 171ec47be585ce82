"""Sentence vectors of the items' text."""

from deftrec.text.sentences import SentenceModel, kept_sentence_model, sentence_vectors

__all__ = ["SentenceModel", "kept_sentence_model", "sentence_vectors"]
