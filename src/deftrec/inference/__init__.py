"""The same answers sooner: what inference alone may do, beside `deftrec.model` and tested against it."""

from deftrec.inference.model import InferenceModel, reader_of
from deftrec.inference.reading import Reading

__all__ = ["InferenceModel", "Reading", "reader_of"]
