"""The report of a benchmark as Markdown, for a repository or an issue: every table, without plots."""

from collections.abc import Sequence

from deftrec.benchmark.tables import BenchmarkTable, SystemSummary
from deftrec.benchmark.verdict import by_reason, how_measured, p_value, protocol_line, ratio, training_time, verdict
from deftrec.formatting import columns_of, count, metric_name
from deftrec.report.benchmark.facts import COLUMNS, facts, table_title
from deftrec.report.markdown import metric_cells, plain, table_lines


def markdown(tables: Sequence[BenchmarkTable]) -> str:
    """Build the document."""
    first = tables[0]
    lines = [f"# DeftRec on {plain(first.dataset)}, beside others", "", plain(verdict(first)), ""]
    if first.failures:
        missing = [f"- {plain(who)}: {plain(reason)}" for who, reason in by_reason(first.failures)]
        lines += ["## Not measured", "", *missing, ""]
    for table in tables:
        lines += _table(table)
    lines += ["## Procedure", "", plain(how_measured(first)), ""]
    lines += [f"- {name}: {plain(value)}" for name, value in facts(first)]
    lines += ["", "The settings of every system are in results.json, plots and settings in index.html.", ""]
    return "\n".join(lines)


def _table(table: BenchmarkTable) -> list[str]:
    lines = [f"## {table_title(table)}", "", f"{plain(protocol_line(table))}.", "", plain(verdict(table)), ""]
    columns = columns_of(table.summaries, COLUMNS)
    head = ["system", *map(metric_name, columns), "seeds", "training", "users/s", "parameters"]
    lines += table_lines(head, [[one.name, *metric_cells(one, columns), *_costs(one)] for one in table.summaries])
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
    lines += ["NDCG@10 by group of users:", "", *table_lines(["system", *slices], _slices(table)), ""]
    return lines


def _slices(table: BenchmarkTable) -> list[list[str]]:
    return [
        [one.name, *(f"{part.metrics[one.name]['ndcg@10']:.4f}" for part in table.slices)] for one in table.summaries
    ]


def _costs(one: SystemSummary) -> list[str]:
    return [
        f"{len(one.seeds)}" + (f", ±{one.spread['ndcg@10']:.4f}" if one.spread else ""),
        training_time(one),
        "" if one.users_per_second is None else f"{one.users_per_second:,.0f}",
        "" if one.parameters is None else count(one.parameters),
    ]
