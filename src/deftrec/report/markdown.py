"""The report of a run as Markdown, for a repository or an issue: tables and examples without plots."""

from collections.abc import Sequence

from deftrec.evaluation import Result
from deftrec.formatting import HasMetrics, columns_of, duration, groups, meaning, metric_name, with_interval
from deftrec.report.examples import Example
from deftrec.report.page import found
from deftrec.run import RunInfo

SHOWN = 5
_SPECIAL = str.maketrans({character: "\\" + character for character in "\\`*_[]<>#|~"})


def markdown(info: RunInfo, results: Sequence[Result], examples: Sequence[Example]) -> str:
    """Build the document."""
    lines = [f"# DeftRec on {plain(info.dataset)}", ""]
    for rows in groups(results):
        columns = columns_of(rows)
        cells = [[one.name, *metric_cells(one, columns)] for one in rows]
        lines += [f"{plain(meaning(rows[0]))}.", "", *table_lines(["system", *map(metric_name, columns)], cells), ""]
    lines += ["In parentheses: 95 % bootstrap interval over users.", "", "## Examples", ""]
    for example in examples:
        lines += [
            f"**User {plain(str(example.user))}**, history: {_titles(example.titles[-SHOWN:])}.",
            f"Recommended: {_titles([one.title for one in example.recommendations[:SHOWN]])}.",
            f"Next interaction: {plain(example.target)} ({found(example)}).",
            "",
        ]
    stages = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in info.seconds.items())
    lines += [f"Training: {stages}. Revision: {plain(info.revision or 'not from a checkout')}.", ""]
    return "\n".join(lines)


def metric_cells(one: HasMetrics, columns: Sequence[str]) -> list[str]:
    """Format metrics for a table, with intervals in parentheses."""
    values = [with_interval(one, key) for key in columns]
    return [f"{value} ({interval})" if interval else value for value, interval in values]


def _titles(titles: Sequence[str]) -> str:
    return "; ".join(plain(title) for title in titles)


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Build a table; its head and first `words` columns are text of the data, its other cells are figures."""
    lines = ["| " + " | ".join(map(plain, head)) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return lines + ["| " + " | ".join([*map(plain, row[:words]), *row[words:]]) + " |" for row in rows]


def plain(text: str) -> str:
    """Escape text of the data, so that no character of it is markup."""
    return " ".join(text.split()).translate(_SPECIAL)
