"""The report of a comparison: one set of tables as Markdown and as an HTML page with plots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deftrec.benchmark.machine import machine
from deftrec.files import write_json, write_text
from deftrec.report.benchmark import machine_facts
from deftrec.report.benchmark_plots import forest
from deftrec.report.render import plain, render, table_lines
from deftrec.run import git_revision
from studies.comparison.paired import CLEAR, Comparison, SliceComparison

SLICES_NOTE = (
    "The first row is the base: its {metric} on a group of users, whose number stands in parentheses. The other rows "
    "are differences to it; a star marks p < .05. Popularity is counted in training: head, torso and tail are thirds "
    "of its interactions, cold items have none."
)


@dataclass(frozen=True)
class PageTable:
    """One table of a report.

    Attributes:
        title: heading.
        columns: names of the columns.
        rows: cells, one list per row.
        text_columns: number of first columns that hold text; the others hold figures.
        main: name in the first column of the row that is highlighted.
        note: remark above the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    main: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Page:
    """Content of a report.

    Attributes:
        title: heading of the report.
        summary: sentences below it.
        tables: tables in order.
        failures: reason by system that could not be measured.
        command: command that repeats the study.
        content: everything, for programs.
    """

    title: str
    summary: str
    tables: Sequence[PageTable]
    command: str
    content: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict)


def write_page(folder: Path, page: Page, plots: Callable[[], Mapping[str, str]] = dict) -> Path:
    """Write `results.json`, `report.md` and `report.html` into a folder; the path of the HTML page.

    Args:
        folder: folder of the report.
        page: content.
        plots: draws the plots, SVG by title.

    Raises:
        MissingExtraError: matplotlib or jinja2 is missing; only the HTML page is not written.
    """
    found, revision = machine(), git_revision()
    content = {**page.content, "command": page.command, "machine": found, "revision": revision}
    write_json(folder / "results.json", content)
    facts = {"command": page.command, **machine_facts(found), "git revision": revision or "not from a checkout"}
    facts = {name: value for name, value in facts.items() if value}
    write_text(folder / "report.md", _markdown(page, facts))
    html = render(
        "page.html",
        Path(__file__).parent,
        title=page.title,
        sentence=page.summary,
        tiles=[],
        tables=page.tables,
        plots=plots(),
        failures=list(page.failures.items()),
        facts=list(facts.items()),
    )
    written = folder / "report.html"
    write_text(written, html)
    return written


def difference_cells(row: Comparison) -> list[str]:
    """Cells of a comparison: mean with its spread, difference with its interval, p-value."""
    spread = "" if row.spread is None else f" ± {row.spread:.4f}"
    interval = f"{row.difference:+.4f} ({row.ci95[0]:+.4f} to {row.ci95[1]:+.4f})"
    return [f"{row.mean:.4f}{spread}", interval, f"{row.p:.3f}"]


def difference_plot(rows: Sequence[Comparison], title: str, axis: str) -> str:
    """Differences to the base with their intervals, one line per system, as SVG."""
    key = f"{rows[0].metric} {rows[0].split}"
    return forest({row.name: (row.difference, row.ci95, row.p) for row in rows}, axis, title, key, digits=4)


def slice_tables(slices: Sequence[SliceComparison], base: str, metric: str = "NDCG@10") -> list[PageTable]:
    """One table per property that users were grouped by: the base's metric, then every system's difference to it.

    A property with a single group is left out: that group is everybody.
    """
    tables: list[PageTable] = []
    for by in dict.fromkeys(one.by for one in slices):
        rows: dict[str, list[SliceComparison]] = {}
        for one in slices:
            if one.by == by:
                rows.setdefault(one.name, []).append(one)
        first = max(rows.values(), key=lambda own: own[0].seeds)
        if len(first) < 2:
            continue
        cells = [[base, *(f"{one.base:.4f}" for one in first)]]
        for name, own in rows.items():
            cells.append([name, *(f"{one.difference:+.4f}{'*' if one.p < CLEAR else ''}" for one in own)])
        columns = ["system", *(f"{one.part} ({one.users:,})" for one in first)]
        note = "" if tables else SLICES_NOTE.format(metric=metric)
        tables.append(PageTable(f"Slices by {by}", columns, cells, main=base, note=note))
    return tables


def _markdown(page: Page, facts: Mapping[str, str]) -> str:
    lines = [f"# {plain(page.title)}", "", plain(page.summary), ""]
    if page.failures:
        missing = [f"- {plain(name)} failed: {plain(reason)}" for name, reason in page.failures.items()]
        lines += ["## Not measured", "", *missing, ""]
    for table in page.tables:
        note = [plain(table.note), ""] if table.note else []
        lines += [
            f"## {plain(table.title)}",
            "",
            *note,
            *table_lines(table.columns, table.rows, table.text_columns),
            "",
        ]
    lines += ["## Procedure", "", *(f"- {name}: {plain(value)}" for name, value in facts.items()), ""]
    return "\n".join(lines)
