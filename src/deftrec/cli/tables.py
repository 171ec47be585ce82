"""Tables of results and recommendations for a terminal. Titles are shown as text, never read as markup."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from deftrec.cli.fitting import FittingTable
from deftrec.formatting import LIST_COLUMNS, WITH_INTERVAL, HasMetrics, columns_of, meaning, metric_name, with_interval

if TYPE_CHECKING:
    from deftrec.benchmark import BenchmarkTable
    from deftrec.evaluation import Result
    from deftrec.recommendation import Recommendation, Recommendations


INTERVAL = " (95 % interval)"


def metrics_table(results: Sequence["Result"]) -> RenderableType:
    """Build a table with one row per system, under a line that describes the protocol.

    `results` is one group of `deftrec.formatting.groups`.
    """
    keys = columns_of(results)
    table = _table("system", [metric_name(key) + (INTERVAL if key in WITH_INTERVAL else "") for key in keys])
    for one in results:
        table.add_row(Text(one.name), *(_cell(one, key, results) for key in keys))
    main = results[0].metrics
    lists = ", ".join(f"{metric_name(key)} {main[key]:.4f}" for key in columns_of(results[:1], LIST_COLUMNS))
    return Group(Text(meaning(results[0]), style="bold"), table, *([Text(f"lists: {lists}")] if lists else []))


def benchmark_table(table: "BenchmarkTable") -> RenderableType:
    """Build a table with one row per system, best first, between its protocol and its verdict."""
    from deftrec.benchmark.verdict import protocol_line, training_time, verdict

    scores = [metric_name(key) + INTERVAL for key in WITH_INTERVAL]
    rows = _table("system", [*scores, "seeds (spread)", "training", "users/s"])
    for one in table.summaries:
        style = "" if one.role == "peer" else "cyan"
        spread = f" (±{one.spread['ndcg@10']:.4f})" if one.spread else ""
        speed = "" if one.users_per_second is None else f"{one.users_per_second:,.0f}"
        metrics = (_cell(one, key, table.summaries, style) for key in WITH_INTERVAL)
        rows.add_row(one.name, *metrics, f"{len(one.seeds)}{spread}", training_time(one), speed, style=style)
    return Group(Text(protocol_line(table), style="bold"), rows, Text(f"{verdict(table)}\n"))


def _table(heading: str, numbers: Sequence[str]) -> FittingTable:
    """A table of a column of names and columns of numbers."""
    columns = [Column(number, justify="right", no_wrap=True) for number in numbers]
    return FittingTable(Column(heading, no_wrap=True), *columns)


def _cell(one: HasMetrics, key: str, others: Sequence[HasMetrics], style: str = "") -> Text:
    """A metric with its interval, if any; the best of several systems in bold."""
    value, interval = with_interval(one, key)
    is_best = len(others) > 1 and one.metrics[key] == max(other.metrics[key] for other in others)
    return Text(f"{value} ({interval})" if interval else value, style=f"{style} bold" if is_best else style)


def explanations(recommendations: "Recommendations") -> Group:
    """Explain each recommendation: the model's text on the history, its influences, each term's share, the rules."""
    whys = [(one, one.explanation) for one in recommendations if one.explanation is not None]
    lines: list[Text] = []
    if whys and whys[0][1].text is not None:
        lines.append(Text(f'preference in this history, as the model writes it: "{whys[0][1].text}"'))
    for one, why in whys:
        influences = "; ".join(
            f"{by.title} ({', '.join([f'{by.change:+.2f}', *filter(None, [by.event])])})" for by in why.influences
        )
        shares = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in why.shares.items() if share)
        lines.append(Text(f"{one.rank}. {one.title}: influenced by {influences}; {shares or 'nothing lifts it'}"))
    lines += [Text(f"{one.rank}. {one.title}: {'; '.join(one.rules)}") for one in recommendations if one.rules]
    lines += [Text(f"not in the list: {one.title}: held back by {one.rule}") for one in recommendations.held_back]
    return Group(*lines)


def recommendation_table(recommendations: Sequence["Recommendation"]) -> FittingTable:
    """Build a table of rank, id, title and score."""
    rank, score = (Column(name, justify="right", no_wrap=True) for name in ("rank", "score"))
    table = FittingTable(rank, Column("item", no_wrap=True), "title", score)
    for one in recommendations:
        table.add_row(str(one.rank), str(one.item), one.title, f"{one.score:.4g}")
    return table
