"""The report of a benchmark as HTML and Markdown: accuracy, comparisons, costs, groups of users, settings, failures."""

from deftrec.report.benchmark.write import write_benchmark

__all__ = ["write_benchmark"]
