"""`deftrec items`: add items to a finished run or remove them, without training."""

import os
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
    column,
    command_group,
    option,
    said_to,
    split_ids,
    split_names,
)
from deftrec.cli.threads import settle_threads
from deftrec.errors import DataError

app = command_group(help="Add items to a run or remove them, without training.")


@app.command()
def add(
    run: RunFolder,
    items: Annotated[Path, option("Table of items: CSV, Parquet or JSON lines.", "FILE")],
    item: Annotated[str | None, column("item ids; default: recognised")] = None,
    title: Annotated[str | None, column("titles; default: recognised")] = None,
    category: Annotated[str | None, column("categories; default: recognised")] = None,
    text: Annotated[str | None, column("descriptions; default: recognised")] = None,
    columns: ColumnNames = None,
    form: TableForm = None,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Add items, which can be recommended at once by their title, category, text and attributes.

    Known items get the attributes (price, stock) that are given; rules see them at once.

    Example: deftrec items add runs/shop --items new-goods.csv
    """
    with listening() as progress:
        with working(progress, f"reading {items}"):
            from deftrec.data.sources.tabular import SAY_FORMAT, Columns, read_items
            from deftrec.data.stored import stored_attributes
            from deftrec.incremental.changes import add_items

            wanted = Columns(
                title=title,
                category=category,
                text=text,
                catalogue_item=item,
                item_names=split_names(columns),
                attributes=(),
            )
            found = read_items(
                items,
                wanted,
                form=form,
                option="--item",
                mend=SAY_FORMAT,
                known=stored_attributes(run / "data"),
                on_reading=said_to(progress),
            )
        settle_threads(progress)
        progress.begin("texts", found.height)
        done = add_items(run, found, source=str(items), on_batch=lambda n: progress.advance("texts", n))
        progress.end("texts")
    if done.trained and not as_json:
        progress.say(f"warning: {done.trained:,} items of training have other texts here; they keep their texts")
    parts = {
        "added": done.added,
        "changed": done.updated,
        "restored": done.restored,
        "unchanged": done.unchanged,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "nothing to add"
    if not give(asdict(done), as_json, json_file):
        print(f"{run}: {said}; {done.items:,} items can be recommended")


@app.command()
def remove(
    run: RunFolder,
    items: Annotated[str, option("File of item ids, or ids with commas between them.", "FILE|A,B")],
    item: Annotated[str | None, column("item ids; default: recognised")] = None,
    form: TableForm = None,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Remove items from all recommendations. They stay in the histories of users.

    Example: deftrec items remove runs/shop --items lamp,desk
    """
    with listening() as progress, working(progress, f"removing {items}"):
        from deftrec.data.sources.tabular import SAY_FORMAT, SUFFIXES, Columns, read_items
        from deftrec.incremental.changes import remove_items

        is_file = os.path.isfile(items)  # noqa: PTH113 - pathlib fails for a long list of ids
        if is_file:
            wanted = Columns(catalogue_item=item)
            ids = read_items(items, wanted, form=form, option="--item", mend=SAY_FORMAT)["item"].to_list()
        elif Path(items).suffix in SUFFIXES:
            raise DataError(f"--items {items!r}: no such file; write an id that looks like a file name into a file")
        else:
            ids = split_ids(items, "--items")
        if not ids:
            raise DataError(f"--items {items!r}: names no item; give at least one id")
        done = remove_items(run, ids, source=items if is_file else "--items")
    before = f", {done.before:,} were removed already" if done.before else ""
    text = f"{run}: {done.removed:,} removed{before}; {done.items:,} items can be recommended"
    if not give(asdict(done), as_json, json_file):
        print(text)
