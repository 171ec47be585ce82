"""Origin of a benchmark's numbers, shared by the page and the Markdown file."""

from collections.abc import Mapping

from deftrec.benchmark.scoring import BROUGHT
from deftrec.benchmark.tables import BenchmarkTable

COLUMNS = ("ndcg@10", "hr@10", "mrr@100", "coverage@10")
"""Metrics of the tables."""


def table_title(table: BenchmarkTable) -> str:
    """Name a table by its fit and its rule for seen items."""
    fit = "train" if table.fit == "train" else "train + validation"
    return f"Fitted on {fit}, seen items {'excluded' if table.seen == 'exclude' else 'kept'}"


def facts(table: BenchmarkTable) -> list[tuple[str, str]]:
    """List data, machine, command and revision by name."""
    data, minutes = table.data, table.budget_minutes
    own = {row.revision or "not from a checkout" for row in table.models if row.library != BROUGHT}
    revision = table.revision or "not from a checkout"
    changes = {table.uncommitted, *(row.uncommitted for row in table.models)} - {None}
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


def machine_facts(machine: Mapping[str, str]) -> dict[str, str]:
    """Describe the machine of `deftrec.benchmark.machine.machine` by name."""
    return {
        "processor": f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores, {machine.get('memory', '')}",
        "threads": machine.get("threads", "?"),
        "accelerator": machine.get("gpu", ""),
        "versions": ", ".join(f"{name} {machine[name]}" for name in ("deftrec", "python", "torch") if name in machine),
    }
