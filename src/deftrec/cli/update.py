"""`deftrec update`: new interactions count at once, without training."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import Json, RunFolder


def update(
    run: RunFolder,
    events: Annotated[Path, typer.Option(help="CSV, Parquet or JSON lines, one row an interaction.", metavar="FILE")],
    user: Annotated[str, typer.Option(help="Column of the user ids.", metavar="COL")] = "user",
    item: Annotated[str, typer.Option(help="Column of the item ids.", metavar="COL")] = "item",
    time: Annotated[str, typer.Option(help="Column of the times, in the unit of the run's data.", metavar="COL")] = (
        "time"
    ),
    as_json: Json = False,
) -> None:
    """Let new interactions count in histories, those of unknown users too. What is there already counts once.

    Example: deftrec update runs/shop --events today.csv
    """
    with listening() as progress, working(progress, f"reading {events}"):
        from deftrec.data.sources.tabular import Columns, read_events
        from deftrec.incremental.changes import add_events

        found, place = read_events(events, Columns(user=user, item=item, time=time))
        done = add_events(run, found, source=place.file, describe=place.describe)
    known = f", {done.known:,} were there already" if done.known else ""
    users = f" of {done.users:,} new users" if done.users else ""
    print(
        json.dumps(asdict(done))
        if as_json
        else f"{run}: {done.added:,} interactions added{users}{known}; {done.interactions:,} count now"
    )
