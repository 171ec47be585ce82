"""How a recommender serves users and items that no stage of its training has seen."""

from studies.cold_start.holdout import Holdout, hold_out
from studies.cold_start.result import Baseline, Row, UnseenResult, Verdict
from studies.cold_start.study import ROWS, UnseenStudy

__all__ = ["ROWS", "Baseline", "Holdout", "Row", "UnseenResult", "UnseenStudy", "Verdict", "hold_out"]
