"""What `deftrec data import --preview` shows: how a file is read, before anything is written."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from deftrec.cli.console import give, output
from deftrec.cli.fitting import FittingTable
from deftrec.cli.flags import with_flags
from deftrec.data.catalogue import lacking
from deftrec.data.describe_signals import NO_ROLE, describe_kinds
from deftrec.data.interactions import Interactions
from deftrec.data.sequences import DAY
from deftrec.data.sources.roles import Reading

ROWS = 5  # first rows that are shown


def show_preview(interactions: Interactions, readings: Sequence[Reading], as_json: bool, file: Path | None) -> None:
    """Print the columns that were taken, the first interactions and items as understood, and warnings."""
    events, warnings = interactions.events().head(ROWS), import_warnings(interactions)
    about: dict[str, Any] = {
        "columns": [asdict(reading) for reading in readings],
        "counts": interactions.meta.counts,
        "interactions": _rows(events),
        "items": _rows(interactions.catalogue.head(ROWS)),
        "kinds": {kind: one.model_dump() for kind, one in describe_kinds(interactions).items()},
        "warnings": warnings,
    }
    if give(about, as_json, file):
        return
    console = output()
    for reading in readings:
        console.print(with_flags(str(reading)), highlight=False)
    for title, frame in (("first interactions", events), ("first items", interactions.catalogue.head(ROWS))):
        console.print(f"{title}:")
        table = FittingTable(*frame.columns)
        for row in _rows(frame):
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        console.print(table)
    for kind, one in describe_kinds(interactions).items():
        console.print(f"kind {kind!r}: {one.events:,} events, {one.role}", highlight=False)
    for warning in warnings:
        console.print(f"warning: {with_flags(warning)}", highlight=False)
    counts = interactions.meta.counts
    console.print(
        f"{counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions; "
        "nothing was written",
        highlight=False,
    )


def import_warnings(interactions: Interactions) -> list[str]:
    """What may be a mistake: kinds without a role, items without text, times that are no times, times to come."""
    found = []
    strange = [kind for kind, one in describe_kinds(interactions).items() if one.role == NO_ROLE]
    if strange:
        found.append(f"kinds without a default role: {', '.join(strange)}; training needs `data.kinds.KIND=ROLE`")
    catalogue = interactions.catalogue
    if not (catalogue["title"] != "").any():
        found.append("no item has a title; name their table with --items FILE, or the column with --title COL")
    if interactions.meta.times == "clock" and interactions.days is None:
        found.append("times have no known unit, so that gaps and ages are unknown")
    days = interactions.days
    if days is not None and (later := int((days > time.time() / DAY).sum())):
        found.append(f"{later:,} interactions lie in the future: check the unit and the zone of the times")
    if "value" in interactions.signals.columns and (missing := interactions.signals["value"].null_count()):
        found.append(f"{missing:,} interactions have no value")
    for column in interactions.attributes:
        empty = int(lacking(column).sum())
        if empty:
            found.append(f"attribute {column.name!r} is missing for {empty:,} of {len(column):,} items")
    return found


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in frame.to_dicts()
    ]
