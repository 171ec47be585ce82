"""`deftrec items`: add items to a finished run and remove them, without training."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deftrec.cli.console import listening, working
from deftrec.cli.options import Json, RunFolder, split_ids
from deftrec.errors import DataError

app = typer.Typer(help="Add items to a run, or remove them, without training.", no_args_is_help=True)

ItemColumn = Annotated[str, typer.Option(help="Column of the item ids.", metavar="COL")]
Column = Annotated[str | None, typer.Option(help="Column of that name unless said.", metavar="COL")]


@app.command()
def add(
    run: RunFolder,
    items: Annotated[Path, typer.Option(help="CSV, Parquet or JSON lines, one row an item.", metavar="FILE")],
    item: ItemColumn = "item",
    title: Column = None,
    category: Column = None,
    text: Column = None,
    as_json: Json = False,
) -> None:
    """Make items recommendable at once, by their title, category and text.

    Example: deftrec items add runs/shop --items new-goods.csv
    """
    with listening() as progress:
        with working(progress, f"reading {items}"):
            from deftrec.data.sources.tabular import Columns, read_items
            from deftrec.incremental.changes import add_items

            columns = Columns(item=item, title=title, category=category, text=text)
            found = read_items(items, columns, option="--item")
        progress.begin("texts", found.height)
        done = add_items(run, found, source=str(items), on_batch=lambda n: progress.advance("texts", n))
        progress.end("texts")
    if done.trained and not as_json:
        progress.say(f"warning: {done.trained:,} items of training have other words here; they keep those they had")
    parts = {"added": done.added, "with new words": done.updated, "restored": done.restored, "there": done.unchanged}
    said = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "nothing to add"
    print(json.dumps(asdict(done)) if as_json else f"{run}: {said}; {done.items:,} items can be recommended")


@app.command()
def remove(
    run: RunFolder,
    items: Annotated[
        str,
        typer.Option(help="A file with their ids, or the ids: one with a comma in double quotes.", metavar="FILE|A,B"),
    ],
    item: ItemColumn = "item",
    as_json: Json = False,
) -> None:
    """Recommend items no more. Whoever took them keeps them in the history.

    Example: deftrec items remove runs/shop --items lamp,desk
    """
    with listening() as progress, working(progress, f"reading {items}"):
        from deftrec.data.sources.tabular import SUFFIXES, Columns, read_items
        from deftrec.incremental.changes import remove_items

        path = Path(items)
        if path.is_file():
            ids = read_items(path, Columns(item=item), option="--item")["item"].to_list()
        elif path.suffix in SUFFIXES:
            raise DataError(f"--items {items!r}: no such file; an id that looks like one goes in a file")
        else:
            ids = split_ids(items, "--items")
        if not ids:
            raise DataError(f"--items {items!r}: names no item")
        done = remove_items(run, ids, source=items if path.is_file() else "--items")
    before = f", {done.before:,} were removed before" if done.before else ""
    print(
        json.dumps(asdict(done))
        if as_json
        else f"{run}: {done.removed:,} removed{before}; {done.items:,} items can be recommended"
    )
