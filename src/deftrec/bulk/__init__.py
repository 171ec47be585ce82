"""Recommendations for everybody, in parts: each a file of its own, here or on the machines of a Ray cluster."""

from deftrec.bulk.engines import ENGINES, Engine, EngineName
from deftrec.bulk.job import Job

__all__ = ["ENGINES", "Engine", "EngineName", "Job"]
