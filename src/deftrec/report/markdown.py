"""The report as Markdown, for a repository or an issue: tables and examples without plots."""

from collections.abc import Sequence

from deftrec.evaluation import Result
from deftrec.report.examples import Example
from deftrec.run import RunInfo
from deftrec.wording import COLUMNS, duration, groups, meaning, metric_name, with_interval

SHOWN = 5
_SPECIAL = str.maketrans({character: "\\" + character for character in "\\`*_{}[]<>()#|~"})


def markdown(info: RunInfo, results: Sequence[Result], examples: Sequence[Example]) -> str:
    """The whole document."""
    lines = [f"# DeftRec on {_text(info.dataset)}", ""]
    for rows in groups(results):
        lines += [f"{_text(meaning(rows[0]))}.", "", "| system | " + " | ".join(map(metric_name, COLUMNS)) + " |"]
        lines.append("|---|" + "---:|" * len(COLUMNS))
        for one in rows:
            cells = [
                f"{value} ({interval})" if interval else value
                for value, interval in (with_interval(one, key) for key in COLUMNS)
            ]
            lines.append(f"| {_text(one.name)} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["In parentheses: 95 % bootstrap interval over users.", "", "## Examples", ""]
    for example in examples:
        found = f"rank {example.place}" if example.place else f"not among the {len(example.recommendations)}"
        lines += [
            f"**User {_text(str(example.user))}** took {_titles(example.titles[-SHOWN:])}.",
            f"Recommended: {_titles([one.title for one in example.recommendations[:SHOWN]])}.",
            f"Taken next: {_text(example.target)} ({found}).",
            "",
        ]
    stages = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in info.seconds.items())
    lines += [f"Training: {stages}. Revision: {_text(info.revision or 'not from a checkout')}.", ""]
    return "\n".join(lines)


def _titles(titles: Sequence[str]) -> str:
    return "; ".join(_text(title) for title in titles)


def _text(text: str) -> str:
    """Data as words: no character of it is markup."""
    return " ".join(text.split()).translate(_SPECIAL)
