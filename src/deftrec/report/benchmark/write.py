"""Write the report of a benchmark beside its results: `README.md` always, `index.html` with the extra `report`."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from deftrec.benchmark.scoring import COMPARED
from deftrec.benchmark.tables import BenchmarkTable, PeerComparison
from deftrec.files import write_text
from deftrec.formatting import metric_name
from deftrec.report.benchmark.markdown import markdown
from deftrec.report.benchmark.page import page
from deftrec.report.benchmark.plots import cost, slices
from deftrec.report.forest import forest

PAGE = "index.html"


def write_benchmark(tables: Sequence[BenchmarkTable], folder: str | Path) -> Path:
    """Write the report of a benchmark's tables to the folder of its results.

    Args:
        tables: at least one table, in the order of the page.
        folder: folder of the results.

    Returns:
        Path of the HTML file.

    Raises:
        MissingExtraError: the extra `report` is not installed; the Markdown file is written nevertheless.
    """
    folder = Path(folder)
    write_text(folder / "README.md", markdown(tables))
    write_text(folder / PAGE, page(tables, [_draw(table) for table in tables]))
    return folder / PAGE


def _draw(table: BenchmarkTable) -> dict[str, Mapping[str, str]]:
    key = f"{table.fit} {table.seen}"
    best = table.best_peer()
    compared = dict(differences(table.comparisons, metric, key) for metric in COMPARED if table.comparisons)
    groups = {by: list(parts) for by, parts in groupby(table.slices, lambda part: part.by)}
    return {
        "comparisons": compared,
        "costs": {
            "NDCG@10 against training": cost(table.summaries, "train_seconds", key),
            "NDCG@10 against speed": cost(table.summaries, "users_per_second", key),
        },
        "slices": {f"NDCG@10 by {by}": slices(parts, best.peer if best else None, key) for by, parts in groups.items()},
    }


def differences(comparisons: Sequence[PeerComparison], metric: str, key: str) -> tuple[str, str]:
    """Draw DeftRec minus each peer, best peer on top, and return title and plot.

    Args:
        comparisons: comparisons of one table.
        metric: metric to draw.
        key: key of the table.
    """
    rows = {one.peer: one for one in comparisons if one.metric == metric}
    title = f"{metric_name(metric)}, DeftRec minus each peer"
    return title, forest(rows, f"{metric_name(metric)}: DeftRec minus the peer", title, f"{metric} {key}")
