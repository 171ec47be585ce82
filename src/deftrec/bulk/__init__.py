"""Recommendations for all users in parts, one file each, on this machine or on a Ray cluster."""

from deftrec.bulk.job import ENGINES, Engine, EngineName, Job

__all__ = ["ENGINES", "Engine", "EngineName", "Job"]
