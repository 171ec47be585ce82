"""Put the report of a benchmark beside its results: `README.md` always, `index.html` where plots can be drawn."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from deftrec.benchmark.scoring import COMPARED
from deftrec.benchmark.tables import Comparison, Table
from deftrec.files import write_text
from deftrec.formatting import metric_name
from deftrec.report.benchmark.markdown import markdown
from deftrec.report.benchmark.page import page
from deftrec.report.benchmark.plots import cost, slices
from deftrec.report.forest import forest

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


def differences(comparisons: Sequence[Comparison], metric: str, key: str) -> tuple[str, str]:
    """Title and plot of DeftRec minus each peer, the best peer on top.

    Args:
        comparisons: of one table.
        metric: which of them are drawn.
        key: of the table.
    """
    rows = {one.peer: one for one in comparisons if one.metric == metric}
    title = f"{metric_name(metric)}, DeftRec minus each peer"
    return title, forest(rows, f"{metric_name(metric)}: DeftRec minus the peer", title, f"{metric} {key}")
