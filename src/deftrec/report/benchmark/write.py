"""Put the report of a benchmark beside its results: `README.md` always, `index.html` where plots can be drawn."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from deftrec.benchmark.tables import Table
from deftrec.files import write_text
from deftrec.report.benchmark.markdown import markdown
from deftrec.report.benchmark.page import page
from deftrec.report.benchmark.plots import cost, forest, slices

PAGE = "index.html"


def write_benchmark(tables: Sequence[Table], folder: str | Path) -> Path:
    """Write the report of a benchmark's tables into its folder.

    Args:
        tables: at least one, in the order in which they are shown.
        folder: where the results lie.

    Returns:
        The path of the HTML file.

    Raises:
        MissingExtraError: matplotlib is not installed; the Markdown is written all the same.
    """
    folder = Path(folder)
    write_text(folder / "README.md", markdown(tables))
    write_text(folder / PAGE, page(tables, [_draw(table) for table in tables]))
    return folder / PAGE


def _draw(table: Table) -> dict[str, Mapping[str, str]]:
    key = f"{table.fit} {table.seen}"
    best = table.best_peer()
    compared = {}
    if table.comparisons:
        compared = {
            "NDCG@10, DeftRec minus each peer": forest(table.comparisons, "ndcg@10", key),
            "HR@10, DeftRec minus each peer": forest(table.comparisons, "hr@10", key),
        }
    groups = {by: list(parts) for by, parts in groupby(table.slices, lambda part: part.by)}
    return {
        "comparisons": compared,
        "costs": {
            "NDCG@10 against training": cost(table.summaries, "train_seconds", key),
            "NDCG@10 against speed": cost(table.summaries, "users_per_second", key),
        },
        "slices": {f"NDCG@10 by {by}": slices(parts, best.peer if best else None, key) for by, parts in groups.items()},
    }
