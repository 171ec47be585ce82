"""Comparison of trained systems with a base: paired tests, slices of users, and the report page."""

from studies.comparison.page import Page, PageTable, difference_cells, difference_plot, slice_tables, write_page
from studies.comparison.paired import (
    CLEAR,
    METRICS,
    Comparison,
    Ratio,
    SeedResult,
    SliceComparison,
    UserGroup,
    compare,
    compare_slices,
    mean_ratio,
)

__all__ = [
    "CLEAR",
    "METRICS",
    "Comparison",
    "Page",
    "PageTable",
    "Ratio",
    "SeedResult",
    "SliceComparison",
    "UserGroup",
    "compare",
    "compare_slices",
    "difference_cells",
    "difference_plot",
    "mean_ratio",
    "slice_tables",
    "write_page",
]
