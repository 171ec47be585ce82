"""What a benchmark says, as a page and as Markdown: accuracy, comparisons, costs, slices, settings and failures."""

from deftrec.report.benchmark.write import write_benchmark

__all__ = ["write_benchmark"]
