"""The report of a benchmark beside its results: `README.md`, and `index.html` with plots and settings."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from deftrec.benchmark.scoring import BROUGHT, COMPARED
from deftrec.benchmark.tables import BenchmarkTable, SystemSummary
from deftrec.benchmark.verdict import by_reason, how_measured, p_value, protocol_line, ratio, training_time, verdict
from deftrec.files import write_text
from deftrec.formatting import columns_of, count, metric_name, with_interval
from deftrec.report.benchmark_plots import COLOURS, COST_NAMES, cost, differences, slices
from deftrec.report.render import Cell, render

PAGE = "index.html"
COLUMNS = ("ndcg@10", "hr@10", "mrr@100", "coverage@10")  # metrics of the tables


def write_benchmark(tables: Sequence[BenchmarkTable], folder: str | Path) -> Path:
    """Write the report of a benchmark's tables, at least one, to the folder of its results.

    Returns the path of the HTML file. Raises a `MissingExtraError` if matplotlib is not installed; the Markdown file is
    written nevertheless.
    """
    first, folder = tables[0], Path(folder)
    peers = sum(one.role == "peer" for one in first.summaries)
    context: dict[str, Any] = {
        "dataset": first.dataset,
        "title": f"DeftRec on {first.dataset}, beside {peers} other{'' if peers == 1 else 's'}",
        "sentence": verdict(first),
        "tiles": _tiles(first),
        "failures": by_reason(first.failures),
        "tables": [_section(table) for table in tables],
        "procedure": how_measured(first),
        "facts": _facts(first),
        "settings": [
            (f"{row.name}, seed {row.seed} ({row.library})", json.dumps(row.settings, indent=2)) for row in first.models
        ],
    }
    write_text(folder / "README.md", render("benchmark.md", **context))
    write_text(folder / PAGE, render("benchmark.html", plots=[_draw(table) for table in tables], **context))
    return folder / PAGE


def machine_facts(machine: Mapping[str, str]) -> dict[str, str]:
    """Describe the machine of `deftrec.benchmark.machine.machine` by name."""
    return {
        "processor": f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores, {machine.get('memory', '')}",
        "threads": machine.get("threads", "?"),
        "accelerator": machine.get("gpu", ""),
        "versions": ", ".join(f"{name} {machine[name]}" for name in ("deftrec", "python", "torch") if name in machine),
    }


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


def _section(table: BenchmarkTable) -> dict[str, Any]:
    """Collect what the templates show of one table."""
    best, columns = table.best_peer(), columns_of(table.summaries, COLUMNS)
    marks = [("main", "DeftRec"), ("path", best.peer if best else ""), ("part", "its parts"), ("peer", "other peers")]
    fit = "train" if table.fit == "train" else "train + validation"
    return {
        "anchor": f"{table.fit.replace('+', '-')}-{table.seen}",
        "title": f"Fitted on {fit}, seen items {'excluded' if table.seen == 'exclude' else 'kept'}",
        "protocol": protocol_line(table),
        "verdict": verdict(table),
        "head": ["system", *map(metric_name, columns), "seeds", "training", "users/s", "parameters"],
        "rows": [(COLOURS[one.role], _cells(one, columns)) for one in table.summaries],
        "differences": [
            [
                (one.peer, ""),
                (metric_name(one.metric), ""),
                (f"{one.difference:+.4f}", f"{one.ci95[0]:+.4f} to {one.ci95[1]:+.4f}"),
                (p_value(one.p), ""),
                (ratio(one), ""),
            ]
            for one in table.comparisons
        ],
        "slices": table.slices,
        "slice_head": ["system", *(f"{part.by}: {part.name} ({part.users:,} users)" for part in table.slices)],
        "slice_rows": [
            (
                COLOURS[one.role],
                [(one.name, "")]
                + [tuple(f"{part.metrics[one.name][metric]:.4f}" for metric in COMPARED) for part in table.slices],
            )
            for one in table.summaries
        ],
        "groups": [(by, len(list(parts))) for by, parts in groupby(part.by for part in table.slices)],
        "legend": [(role, "●", name) for role, name in marks if name],
    }


def _cells(one: SystemSummary, columns: Sequence[str]) -> list[Cell]:
    """Cells of one system: name, metrics with intervals, seeds with their spread, and costs."""
    return [
        (one.name, "fit unknown" if one.fit == "unknown" else ""),
        *(with_interval(one, key) for key in columns),
        (f"{len(one.seeds)}", f"±{one.spread['ndcg@10']:.4f}" if one.spread else ""),
        (training_time(one), ""),
        ("" if one.users_per_second is None else f"{one.users_per_second:,.0f}", ""),
        ("" if one.parameters is None else count(one.parameters), ""),
    ]


def _facts(table: BenchmarkTable) -> list[tuple[str, str]]:
    """List data, machine, command and revision by name."""
    data, minutes, without = table.data, table.budget_minutes, "not from a checkout"
    own = {row.revision or without for row in table.models if row.library != BROUGHT}
    revision = table.revision or without
    changes = {table.uncommitted, *(row.uncommitted for row in table.models)}
    limit = f"{minutes or 0:g} minutes per seed, for a peer's search for settings and for DeftRec's joint training"
    found = {
        "command": table.command,
        "data": f"{table.dataset}: {data.users:,} users, {data.items:,} items, {data.interactions:,} interactions",
        "fingerprint": data.fingerprint,
        "source": data.source,
        "filters": "; ".join(f"{name}: {value}" for name, value in data.filters.items()),
        "split": f"{table.split}, test targets",
        "budget": "none" if minutes is None else limit,
        **machine_facts(table.machine),
        "git revision": revision if own <= {revision} else f"{revision}; systems were run at {', '.join(sorted(own))}",
        "uncommitted changes": ", ".join(sorted(filter(None, changes))),
        "request": table.fingerprint,
    }
    return [(name, value) for name, value in found.items() if value]


def _draw(table: BenchmarkTable) -> dict[str, Mapping[str, str]]:
    """Draw the plots of a table, by group and title."""
    key, best = f"{table.fit} {table.seen}", table.best_peer()
    titles = {"train_seconds": "training", "users_per_second": "speed"}
    groups = {by: list(parts) for by, parts in groupby(table.slices, lambda part: part.by)}
    return {
        "comparisons": dict(differences(table.comparisons, metric, key) for metric in COMPARED if table.comparisons),
        "costs": {f"NDCG@10 against {titles[axis]}": cost(table.summaries, axis, key) for axis in COST_NAMES},
        "slices": {f"NDCG@10 by {by}": slices(parts, best.peer if best else None, key) for by, parts in groups.items()},
    }
