"""Recommendations for all users in parts, one file each, on this machine or on a Ray cluster."""

from deftrec.bulk.engines import ENGINES, Engine, EngineName
from deftrec.bulk.job import Job

__all__ = ["ENGINES", "Engine", "EngineName", "Job"]
