"""The report of the cold-start protocol: maskings, baselines, requirements, paired comparisons and slices."""

from functools import partial
from pathlib import Path

from deftrec.formatting import duration
from studies.cold_start.result import ColdStartResult, Row
from studies.cold_start.study import RECIPE, UNSEEN_ITEMS
from studies.comparison import Page, PageTable, difference_cells, difference_plot, slice_tables, write_page

COLUMNS = (
    "masking",
    "unseen users, NDCG@10",
    "/ seen users (95 %)",
    "unseen items, HR@50 (95 %)",
    "latent alone",
    "seen items, NDCG@10",
    "before adding",
    "training",
)
UNBOUNDED = 1e6
"""Upper end of a ratio's interval beyond which its denominator was next to nothing."""


def write_cold_start(folder: Path, result: ColdStartResult, command: str) -> Path:
    """Write `results.json`, `report.md` and `report.html` into a folder; the path of the HTML page.

    Args:
        folder: folder of the report.
        result: the result.
        command: command that repeats the study.

    Raises:
        MissingExtraError: matplotlib is not installed; the HTML page alone is not written.
    """
    rows = [row_cells(row) for row in result.rows]
    baselines = [[one.name, f"{one.hr10:.4f}", f"{one.hr50:.4f}", f"{one.ndcg10:.4f}"] for one in result.baselines]
    required = [
        [one.asked, "met" if one.holds else "not met", f"{one.found:.3f}", f"{one.bar:g}"] for one in result.verdicts
    ]
    differences = [[row.name, f"{row.split}, {row.metric}", *difference_cells(row)] for row in result.comparisons]
    tables = [
        PageTable("Maskings", COLUMNS, rows, main=RECIPE),
        PageTable("Requirements", ("requirement", "result", "measured", "least"), required, 2),
        PageTable("Content-kNN on unseen items", ("baseline", "HR@10", "HR@50", "NDCG@10"), baselines),
    ]
    if differences:
        columns = ("masking", "cases and metric", "mean", "difference to the recipe (95 %)", "p")
        tables.append(PageTable("Differences to the recipe", columns, differences, 2))
    tables += slice_tables(result.slices, RECIPE, "NDCG@10 of seen items")
    page = Page(
        title=f"Cold start on {result.dataset}",
        summary=summary(result),
        tables=tables,
        command=command,
        content=result.model_dump(mode="json"),
    )
    return write_page(folder, page, partial(_plots, result))


def summary(result: ColdStartResult) -> str:
    """Numbers of held-out users and items, and of cases, in one sentence."""
    counts = ", ".join(f"{count:,} of {name.replace('_', ' ')}" for name, count in result.questions.items())
    return (
        f"{result.dataset}: {result.held_users:,} users and {result.held_items:,} items held out of every stage; "
        f"cases: {counts}"
    )


def row_cells(row: Row) -> list[str]:
    """Cells of one masking, in the order of `COLUMNS`."""
    low, high = row.users.ci95
    return [
        row.name,
        f"{row.users.first:.4f}",
        f"{row.users.value:.3f} ({low:.2f}{f' to {high:.2f}' if high < UNBOUNDED else ', no upper bound'})",
        f"{row.items_hr50:.4f} ({row.items_ci95[0]:.3f} to {row.items_ci95[1]:.3f})",
        f"{row.items_hr50_latent:.4f}",
        f"{row.seen_items:.4f}",
        f"{row.seen_items_alone:.4f}",
        duration(row.seconds),
    ]


def _plots(result: ColdStartResult) -> dict[str, str]:
    rows = [row for row in result.comparisons if (row.split, row.metric) == (UNSEEN_ITEMS, "hr@50")]
    title = "HR@50 of unseen items, masking minus recipe"
    return {title: difference_plot(rows, title, "HR@50: masking minus recipe")} if rows else {}
