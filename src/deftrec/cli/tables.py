"""Results and recommendations as tables for a terminal. Titles are data: they are never read as markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deftrec.formatting import COLUMNS, WITH_INTERVAL, meaning, metric_name, with_interval

if TYPE_CHECKING:
    from deftrec.benchmark import Table as BenchmarkTable
    from deftrec.evaluation import Result
    from deftrec.recommendation import Recommendation


ROOM = 104
"""Columns of a terminal that the whole table of metrics needs."""


def metrics_table(results: Sequence["Result"], width: int = ROOM) -> RenderableType:
    """One row a system, for results of one protocol; what the numbers mean stands above them.

    Args:
        results: of one group of `deftrec.formatting.groups`.
        width: of the terminal; a narrow one gets the first columns whole rather than all of them cut.
    """
    keys = COLUMNS if width >= ROOM else COLUMNS[:3]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("system", no_wrap=True)
    for key in keys:
        interval = " (95 % interval)" if key in WITH_INTERVAL else ""
        table.add_column(metric_name(key) + interval, justify="right", no_wrap=True)
    best = {key: max(one.metrics[key] for one in results) for key in keys}
    for one in results:
        cells = [Text(one.name)]
        for key in keys:
            value, interval = with_interval(one, key)
            is_main = len(results) > 1 and one.metrics[key] == best[key]
            cells.append(Text(f"{value} ({interval})" if interval else value, style="bold" if is_main else ""))
        table.add_row(*cells)
    return Group(Text(meaning(results[0]), style="bold"), table)


def benchmark_table(table: "BenchmarkTable", width: int = ROOM) -> RenderableType:
    """One row a system of a benchmark, best first, over its seeds; what the numbers mean and say stands around it.

    Args:
        table: of one fit and one rule for seen items.
        width: of the terminal; a narrow one gets no costs.
    """
    from deftrec.benchmark.verdict import asked, training_time, verdict

    wide = width >= ROOM
    rows = Table(box=box.SIMPLE_HEAD)
    rows.add_column("system", no_wrap=True)
    for heading in ("HR@10 (95 % interval)", "NDCG@10 (95 % interval)", "seeds, spread"):
        rows.add_column(heading, justify="right", no_wrap=True)
    for heading in ("training", "users/s") if wide else ():
        rows.add_column(heading, justify="right", no_wrap=True)
    for one in table.summaries:
        cells = [Text(one.name)]
        for key in WITH_INTERVAL:
            value, interval = with_interval(one, key)
            is_main = one.metrics[key] == max(other.metrics[key] for other in table.summaries)
            cells.append(Text(f"{value} ({interval})", style="bold" if is_main else ""))
        cells.append(Text(f"{len(one.seeds)}" + (f", ±{one.spread['ndcg@10']:.4f}" if one.spread else "")))
        if wide:
            cells.append(Text(training_time(one)))
            cells.append(Text("" if one.users_per_second is None else f"{one.users_per_second:,.0f}"))
        rows.add_row(*cells, style="" if one.role == "peer" else "cyan")
    return Group(Text(asked(table), style="bold"), rows, Text(f"{verdict(table)}\n"))


def explanations(recommendations: Sequence["Recommendation"]) -> Group:
    """Why each item is recommended: what the model says of the history, what moved the item, and by which part."""
    whys = [(one, one.explanation) for one in recommendations if one.explanation is not None]
    lines: list[Text] = []
    if whys and whys[0][1].text is not None:
        lines.append(Text(f'in the model\'s words, this history shows: "{whys[0][1].text}"'))
    for one, why in whys:
        movers = "; ".join(f"{mover.title} ({mover.change:+.2f})" for mover in why.movers)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in why.shares.items() if share)
        lines.append(Text(f"{one.rank}. {one.title}: moved by {movers}; {shares or 'nothing lifts it'}"))
    return Group(*lines)


def recommendation_table(recommendations: Sequence["Recommendation"]) -> Table:
    """Rank, id, title and score."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("rank", justify="right")
    table.add_column("item", no_wrap=True)
    table.add_column("title")
    table.add_column("score", justify="right")
    for one in recommendations:
        table.add_row(str(one.rank), Text(str(one.item)), Text(one.title), f"{one.score:.4g}")
    return table
