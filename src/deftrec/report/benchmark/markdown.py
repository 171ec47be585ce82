"""A benchmark as Markdown, for a repository or an issue: every table, without plots."""

from collections.abc import Sequence

from deftrec.benchmark.tables import Summary, Table
from deftrec.benchmark.verdict import asked, by_reason, how_measured, p_value, ratio, training_time, verdict
from deftrec.formatting import count, metric_name, with_interval
from deftrec.report.benchmark.facts import facts, table_title
from deftrec.report.markdown import plain, table_lines

COLUMNS = ("ndcg@10", "hr@10", "mrr", "coverage@10")


def markdown(tables: Sequence[Table]) -> str:
    """The whole document."""
    first = tables[0]
    lines = [f"# DeftRec on {plain(first.dataset)}, beside others", "", plain(verdict(first)), ""]
    if first.failures:
        missing = [f"- {plain(who)}: {plain(reason)}" for who, reason in by_reason(first.failures)]
        lines += ["## Not measured", "", *missing, ""]
    for table in tables:
        lines += _table(table)
    lines += ["## How it was measured", "", plain(how_measured(first)), ""]
    lines += [f"- {name}: {plain(value)}" for name, value in facts(first).items()]
    lines += ["", "Every system's settings stand in results.json; plots and settings together in index.html.", ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    lines = [f"## {table_title(table)}", "", f"{plain(asked(table))}.", "", plain(verdict(table)), ""]
    head = ["system", *map(metric_name, COLUMNS), "seeds", "training", "users/s", "parameters"]
    lines += table_lines(head, [_metrics(one) for one in table.summaries])
    lines += [
        "",
        "In parentheses: 95 % bootstrap intervals over users; ±: standard deviation of NDCG@10 over seeds.",
        "",
    ]
    if table.comparisons:
        rows = [
            [
                one.peer,
                metric_name(one.metric),
                f"{one.difference:+.4f} ({one.ci95[0]:+.4f} to {one.ci95[1]:+.4f})",
                p_value(one.p),
                ratio(one),
            ]
            for one in table.comparisons
        ]
        lines += table_lines(["DeftRec against", "metric", "difference (95 % interval)", "p", "ratio"], rows)
        lines.append("")
    slices = [f"{part.by}: {part.name} ({part.users:,} users)" for part in table.slices]
    lines += ["NDCG@10 in slices of the users:", "", *table_lines(["system", *slices], _slices(table)), ""]
    return lines


def _slices(table: Table) -> list[list[str]]:
    return [
        [one.name, *(f"{part.metrics[one.name]['ndcg@10']:.4f}" for part in table.slices)] for one in table.summaries
    ]


def _metrics(one: Summary) -> list[str]:
    cells = [one.name]
    for key in COLUMNS:
        value, interval = with_interval(one, key)
        cells.append(f"{value} ({interval})" if interval else value)
    cells.append(f"{len(one.seeds)}" + (f", ±{one.spread['ndcg@10']:.4f}" if one.spread else ""))
    cells.append(training_time(one))
    cells.append("" if one.users_per_second is None else f"{one.users_per_second:,.0f}")
    cells.append("" if one.parameters is None else count(one.parameters))
    return cells
