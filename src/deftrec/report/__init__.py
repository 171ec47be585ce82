"""The report of a run as one HTML file: results with intervals, examples, training curves and a denoising path."""

from deftrec.report.examples import Example, pick_examples
from deftrec.report.write import write_report

__all__ = ["Example", "pick_examples", "write_report"]
