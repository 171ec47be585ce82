"""Faster inference with the results of `deftrec.model`: cached keys and values, precomputed projections."""

from deftrec.inference.model import InferenceModel, reader_of
from deftrec.inference.reading import Reading

__all__ = ["InferenceModel", "Reading", "reader_of"]
