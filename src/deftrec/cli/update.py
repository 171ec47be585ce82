"""`deftrec update`: add interactions to the histories of a run, without training."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from deftrec.cli.console import listening, working
from deftrec.cli.options import Json, RunFolder, TableForm, column, option


def update(
    run: RunFolder,
    events: Annotated[Path, option("Table of interactions: CSV, Parquet or JSON lines.", "FILE")],
    user: Annotated[str, column("user ids")] = "user",
    item: Annotated[str, column("item ids")] = "item",
    time: Annotated[str, column("times, in the unit of the run's data")] = "time",
    form: TableForm = None,
    as_json: Json = False,
) -> None:
    """Add interactions to the histories, also for new users. Known interactions are ignored.

    Example: deftrec update runs/shop --events today.csv
    """
    with listening() as progress, working(progress, f"reading {events}"):
        from deftrec.data.sources.tabular import Columns, read_events
        from deftrec.incremental.changes import add_events

        found, place = read_events(events, Columns(user=user, item=item, time=time), form=form)
        done = add_events(run, found, source=place.file, describe=place.describe)
    known = f", {done.known:,} were known already" if done.known else ""
    users = f", new users: {done.users:,}" if done.users else ""
    text = f"{run}: {done.added:,} interactions added{users}{known}; {done.interactions:,} in all"
    print(json.dumps(asdict(done)) if as_json else text)
