"""Recommendations for users, and of items, that no stage of the training has seen."""

from studies.cold_start.holdout import Holdout, hold_out
from studies.cold_start.result import Baseline, ColdStartResult, Row, Verdict
from studies.cold_start.study import ROWS, ColdStartStudy

__all__ = ["ROWS", "Baseline", "ColdStartResult", "ColdStartStudy", "Holdout", "Row", "Verdict", "hold_out"]
