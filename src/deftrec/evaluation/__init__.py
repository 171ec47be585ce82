"""Metrics with confidence intervals, one evaluation protocol for every system, and rankings as Parquet files."""

from deftrec.evaluation.diversity import ItemDescription, calibration_error, describe_lists, gini, intra_list_distance
from deftrec.evaluation.intervals import bootstrap_interval, mean_over_seeds, paired_bootstrap, paired_over_seeds
from deftrec.evaluation.metrics import MRR_CUTOFF, TargetRanks, accuracy, mean_accuracy, ranks_from_scores
from deftrec.evaluation.protocol import EvaluatedPart, Protocol, Result, Seen, evaluate
from deftrec.evaluation.rankings import evaluate_file, ranking_frame, read_rankings, write_rankings

__all__ = [
    "MRR_CUTOFF",
    "EvaluatedPart",
    "Protocol",
    "Result",
    "Seen",
    "TargetRanks",
    "accuracy",
    "bootstrap_interval",
    "evaluate",
]
__all__ += ["ItemDescription", "calibration_error", "describe_lists", "gini", "intra_list_distance"]
__all__ += ["evaluate_file", "mean_accuracy", "mean_over_seeds", "paired_bootstrap", "paired_over_seeds"]
__all__ += ["ranking_frame", "ranks_from_scores", "read_rankings", "write_rankings"]
