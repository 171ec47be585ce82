"""DeftRec beside other recommenders: same data, split and evaluator, with intervals over seeds, and costs."""

from deftrec.benchmark.harness import run_benchmark
from deftrec.benchmark.request import BenchmarkRequest, choose_models
from deftrec.benchmark.systems import BenchmarkSystem, all_systems
from deftrec.benchmark.tables import BenchmarkTable, Failure, table_file

__all__ = ["BenchmarkRequest", "BenchmarkSystem", "BenchmarkTable", "Failure", "all_systems", "choose_models"]
__all__ += ["run_benchmark", "table_file"]
