"""DeftRec beside other recommenders: same data, same split, same evaluator, every seed, with intervals and costs."""

from deftrec.benchmark.harness import run_benchmark
from deftrec.benchmark.request import Request, choose_models
from deftrec.benchmark.systems import System, all_systems
from deftrec.benchmark.tables import Comparison, Failure, Row, Slice, Summary, Table, table_file

__all__ = [
    "Comparison",
    "Failure",
    "Request",
    "Row",
    "Slice",
    "Summary",
    "System",
    "Table",
    "all_systems",
    "choose_models",
    "run_benchmark",
    "table_file",
]
