"""Faster inference with the results of `deftrec.model`: cached keys and values, precomputed projections."""

from deftrec.inference.model import InferenceModel, Reading, reader_of

__all__ = ["InferenceModel", "Reading", "reader_of"]
