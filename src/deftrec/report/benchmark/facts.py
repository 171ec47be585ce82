"""Where a benchmark's numbers come from, for the page and for Markdown alike."""

from collections.abc import Mapping

from deftrec.benchmark.tables import Table


def table_title(table: Table) -> str:
    """A table's name: what was fitted, and whether seen items may be recommended."""
    fit = "train" if table.fit == "train" else "train + validation"
    return f"Fitted on {fit}, seen items {'excluded' if table.seen == 'exclude' else 'kept'}"


def facts(table: Table) -> dict[str, str]:
    """Data, machine, command and revision, by name."""
    data = table.data
    own = {row.revision or "not from a checkout" for row in table.models if row.library != "brought as a file"}
    revision = table.revision or "not from a checkout"
    minutes = table.budget_minutes
    budget = (
        "none" if minutes is None else f"{minutes:g} minutes of a peer's search, and of DeftRec's joint stage, a seed"
    )
    found = {
        "command": table.command,
        "data": f"{table.dataset}: {data.users:,} users, {data.items:,} items, {data.interactions:,} interactions",
        "fingerprint": data.fingerprint,
        "source": data.source,
        "filters": "; ".join(f"{name}: {value}" for name, value in data.filters.items()),
        "split": f"{table.split}, test targets",
        "budget": budget,
        **machine_facts(table.machine),
        "git revision": revision if own <= {revision} else f"{revision}; systems were run at {', '.join(sorted(own))}",
        "request": table.fingerprint,
    }
    return {name: value for name, value in found.items() if value}


def machine_facts(machine: Mapping[str, str]) -> dict[str, str]:
    """What `machine()` says, in words."""
    return {
        "processor": f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores, {machine.get('memory', '')}",
        "threads": machine.get("threads", "?"),
        "accelerator": machine.get("gpu", ""),
        "versions": ", ".join(f"{name} {machine[name]}" for name in ("deftrec", "python", "torch") if name in machine),
    }
