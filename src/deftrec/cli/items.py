"""`deftrec items`: add items to a finished run or remove them, without training."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import Json, RunFolder, TableForm, column, option, split_ids
from deftrec.errors import DataError

app = typer.Typer(help="Add items to a run or remove them, without training.", no_args_is_help=True)


@app.command()
def add(
    run: RunFolder,
    items: Annotated[Path, option("Table of items: CSV, Parquet or JSON lines.", "FILE")],
    item: Annotated[str, column("item ids")] = "item",
    title: Annotated[str | None, column("titles; default: title, if present")] = None,
    category: Annotated[str | None, column("categories; default: category, if present")] = None,
    text: Annotated[str | None, column("descriptions; default: text, if present")] = None,
    form: TableForm = None,
    as_json: Json = False,
) -> None:
    """Add items, which can be recommended at once by their title, category and text.

    Example: deftrec items add runs/shop --items new-goods.csv
    """
    with listening() as progress:
        with working(progress, f"reading {items}"):
            from deftrec.data.sources.tabular import Columns, format_of, read_items
            from deftrec.incremental.changes import add_items

            columns = Columns(item=item, title=title, category=category, text=text)
            found = read_items(items, columns, form=form or format_of(items), option="--item")
        progress.begin("texts", found.height)
        done = add_items(run, found, source=str(items), on_batch=lambda n: progress.advance("texts", n))
        progress.end("texts")
    if done.trained and not as_json:
        progress.say(f"warning: {done.trained:,} items of training have other texts here; they keep their texts")
    parts = {
        "added": done.added,
        "with new texts": done.updated,
        "restored": done.restored,
        "unchanged": done.unchanged,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "nothing to add"
    print(json.dumps(asdict(done)) if as_json else f"{run}: {said}; {done.items:,} items can be recommended")


@app.command()
def remove(
    run: RunFolder,
    items: Annotated[str, option("File of item ids, or ids with commas between them.", "FILE|A,B")],
    item: Annotated[str, column("item ids")] = "item",
    form: TableForm = None,
    as_json: Json = False,
) -> None:
    """Remove items from all recommendations. They stay in the histories of users.

    Example: deftrec items remove runs/shop --items lamp,desk
    """
    with listening() as progress, working(progress, f"removing {items}"):
        from deftrec.data.sources.tabular import SUFFIXES, Columns, format_of, read_items
        from deftrec.incremental.changes import remove_items

        path, is_file = Path(items), os.path.isfile(items)  # noqa: PTH113 - pathlib fails for a long list of ids
        if is_file:
            table = read_items(path, Columns(item=item), form=form or format_of(path), option="--item")
            ids = table["item"].to_list()
        elif path.suffix in SUFFIXES:
            raise DataError(f"--items {items!r}: no such file; write an id that looks like a file name into a file")
        else:
            ids = split_ids(items, "--items")
        if not ids:
            raise DataError(f"--items {items!r}: names no item; give at least one id")
        done = remove_items(run, ids, source=items if is_file else "--items")
    before = f", {done.before:,} were removed already" if done.before else ""
    text = f"{run}: {done.removed:,} removed{before}; {done.items:,} items can be recommended"
    print(json.dumps(asdict(done)) if as_json else text)
