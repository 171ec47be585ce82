"""How a recommender serves users and items that no stage of its training has seen."""

from deftrec.unseen.holdout import Holdout, hold_out
from deftrec.unseen.result import Baseline, Row, UnseenResult, Verdict
from deftrec.unseen.study import ROWS, UnseenStudy

__all__ = ["ROWS", "Baseline", "Holdout", "Row", "UnseenResult", "UnseenStudy", "Verdict", "hold_out"]
