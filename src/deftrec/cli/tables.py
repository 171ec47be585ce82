"""Tables of results and recommendations for a terminal. Titles are shown as text, never read as markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deftrec.formatting import WITH_INTERVAL, columns_of, meaning, metric_name, with_interval

if TYPE_CHECKING:
    from deftrec.benchmark import BenchmarkTable
    from deftrec.evaluation import Result
    from deftrec.recommendation import Recommendation


ROOM = 104
"""Width in characters of the complete table of metrics."""


def metrics_table(results: Sequence["Result"], width: int = ROOM) -> RenderableType:
    """Build a table with one row per system, under a line that describes the protocol.

    `results` is one group of `deftrec.formatting.groups`. A terminal narrower than `ROOM` shows fewer columns.
    """
    keys = columns_of(results)
    keys = keys if width >= ROOM else keys[:3]
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
    """Build a table with one row per system, best first, between its protocol and its verdict.

    A terminal narrower than `ROOM` characters shows no costs.
    """
    from deftrec.benchmark.verdict import protocol_line, training_time, verdict

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
    return Group(Text(protocol_line(table), style="bold"), rows, Text(f"{verdict(table)}\n"))


def explanations(recommendations: Sequence["Recommendation"]) -> Group:
    """Explain each recommendation: the model's text on the history, the items that moved it, and each term's share."""
    whys = [(one, one.explanation) for one in recommendations if one.explanation is not None]
    lines: list[Text] = []
    if whys and whys[0][1].text is not None:
        lines.append(Text(f'preference in this history, as the model writes it: "{whys[0][1].text}"'))
    for one, why in whys:
        movers = "; ".join(f"{mover.title} ({mover.change:+.2f})" for mover in why.movers)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in why.shares.items() if share)
        lines.append(Text(f"{one.rank}. {one.title}: moved by {movers}; {shares or 'nothing lifts it'}"))
    return Group(*lines)


def recommendation_table(recommendations: Sequence["Recommendation"]) -> Table:
    """Build a table of rank, id, title and score."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("rank", justify="right")
    table.add_column("item", no_wrap=True)
    table.add_column("title")
    table.add_column("score", justify="right")
    for one in recommendations:
        table.add_row(str(one.rank), Text(str(one.item)), Text(one.title), f"{one.score:.4g}")
    return table
