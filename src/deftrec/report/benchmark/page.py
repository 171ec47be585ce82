"""A benchmark as one HTML file: one section per table, then procedure and settings."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from deftrec.benchmark.tables import BenchmarkTable
from deftrec.benchmark.verdict import by_reason, how_measured, p_value, protocol_line, ratio, verdict
from deftrec.formatting import columns_of
from deftrec.report.benchmark.facts import COLUMNS, facts, table_title
from deftrec.report.html import render

SLICES = (
    ("history", "Quarters of the users by history length; ties give fewer groups."),
    (
        "popularity",
        "With items in order of training interactions, head, torso and tail begin within the first, second and last "
        "third of all interactions. Cold items have none.",
    ),
    ("novelty", "A repeated target is in the user's history. If seen items are excluded, it is always a miss."),
)
"""Name and meaning of each grouping of users."""


def page(tables: Sequence[BenchmarkTable], plots: Sequence[Mapping[str, Mapping[str, str]]]) -> str:
    """Render the page.

    Args:
        tables: tables of one benchmark; the first one gives title and verdict of the page.
        plots: plots of each table: `comparisons`, `costs` and `slices`, each SVG by title.
    """
    first = tables[0]
    peers = sum(one.role == "peer" for one in first.summaries)
    return render(
        "benchmark.html",
        title=f"DeftRec on {first.dataset}, beside {peers} other{'' if peers == 1 else 's'}",
        sentence=verdict(first),
        tiles=_tiles(first),
        failures=by_reason(first.failures),
        tables=[_section(table, drawn) for table, drawn in zip(tables, plots, strict=True)],
        slice_meanings=SLICES,
        procedure=how_measured(first),
        facts=facts(first),
        rows=first.models,
    )


def _tiles(table: BenchmarkTable) -> list[tuple[str, str]]:
    best = table.best_peer()
    if best is None:
        return []
    return [
        (f"{best.deftrec:.4f}", "NDCG@10, DeftRec"),
        (f"{best.other:.4f}", f"NDCG@10, {best.peer}"),
        (f"{ratio(best)} ×", "ratio to the best peer"),
        (p_value(best.p).removeprefix("p ").removeprefix("= "), "p, paired bootstrap"),
    ]


def _section(table: BenchmarkTable, plots: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Collect what the template shows of one table."""
    best = table.best_peer()
    marks = [("main", "DeftRec"), ("path", best.peer if best else ""), ("part", "its parts"), ("peer", "other peers")]
    return {
        "table": table,
        "anchor": f"{table.fit.replace('+', '-')}-{table.seen}",
        "title": table_title(table),
        "protocol": protocol_line(table),
        "verdict": verdict(table),
        "columns": columns_of(table.summaries, COLUMNS),
        "plots": plots,
        "groups": [(by, len(list(parts))) for by, parts in groupby(part.by for part in table.slices)],
        "legend": [(role, "●", name) for role, name in marks if name],
    }
