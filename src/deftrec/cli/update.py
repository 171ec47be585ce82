"""`deftrec update`: add interactions to the histories of a run, without training."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from deftrec.cli.console import give, listening, working
from deftrec.cli.options import (
    ColumnNames,
    Json,
    JsonFile,
    RunFolder,
    TableForm,
    TimeFormat,
    column,
    option,
    said_to,
    split_names,
)


def update(
    run: RunFolder,
    events: Annotated[Path, option("Table of interactions, or directory of parts.", "PATH")],
    user: Annotated[str | None, column("user ids; default: recognised")] = None,
    item: Annotated[str | None, column("item ids; default: recognised")] = None,
    time: Annotated[str | None, column("times, in the unit of the run's data; default: recognised")] = None,
    kind: Annotated[str | None, column("kinds of events, where the run has them; default: recognised")] = None,
    value: Annotated[str | None, column("ratings or amounts, where the run has them; default: recognised")] = None,
    columns: ColumnNames = None,
    time_format: TimeFormat = None,
    form: TableForm = None,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Add interactions to the histories, also for new users. Known interactions are ignored.

    Example: deftrec update runs/shop --events today.csv
    """
    with listening() as progress, working(progress, f"reading {events}"):
        from deftrec.data.sources.tabular import Columns, read_events
        from deftrec.data.stored import stored_signals
        from deftrec.incremental.changes import add_events

        signals = stored_signals(run / "data")
        wanted = Columns(
            user or "",
            item or "",
            time or "",
            kind=(kind or "") if "kind" in signals else None,
            value=(value or "") if "value" in signals else None,
            names=split_names(columns),
            time_format=time_format,
        )
        found, place = read_events(events, wanted, form=form, on_reading=said_to(progress))
        done = add_events(run, found, source=place.file, describe=place.describe)
    known = f", {done.known:,} were known already" if done.known else ""
    users = f", new users: {done.users:,}" if done.users else ""
    text = f"{run}: {done.added:,} interactions added{users}{known}; {done.interactions:,} in all"
    if not give(asdict(done), as_json, json_file):
        print(text)
