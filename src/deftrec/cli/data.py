"""`deftrec data`: list, fetch, import and describe data sets."""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from deftrec.cli.console import listening, output, working
from deftrec.cli.options import Json
from deftrec.data.describe import describe as describe_interactions
from deftrec.data.draw import draw
from deftrec.data.interactions import CATALOGUE_COLUMNS, Interactions, check_target
from deftrec.data.prepare import Raw, prepare
from deftrec.data.sources.base import About
from deftrec.data.sources.columns import same_ids
from deftrec.data.sources.recbole import read_recbole
from deftrec.data.sources.reference import TEST, read_reference
from deftrec.data.sources.registry import abouts, source_named
from deftrec.data.sources.tabular import Columns, TableFormat, format_of, read_tabular
from deftrec.errors import DataError

app = typer.Typer(help="List, fetch, import and describe data sets.", no_args_is_help=True)


class Format(StrEnum):
    """What `import` reads."""

    csv = "csv"
    parquet = "parquet"
    jsonl = "jsonl"
    recbole = "recbole"
    reference = "reference"


MinRating = Annotated[float | None, typer.Option(help="Keep interactions with at least this rating.", metavar="R")]
KCore = Annotated[
    int | None, typer.Option(help="Keep users and items with at least N interactions, repeatedly.", metavar="N", min=1)
]
TieSeed = Annotated[int, typer.Option(help="Seed that orders interactions of one user at one time.", min=0)]
To = Annotated[Path, typer.Option(help="The data directory to write.", metavar="DIR")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Show the data sets that can be fetched: size, licence, citation.

    Example: deftrec data list
    """
    known = list(abouts())
    if as_json:
        print(json.dumps([about.model_dump() for about in known], indent=2))
        return
    table = Table(box=box.SIMPLE)
    table.add_column("name", no_wrap=True)
    for heading in ("size", "checksum", "licence", "citation"):
        table.add_column(heading)
    for about in known:
        if not about.name.startswith("amazon-"):
            table.add_row(about.name, about.size, _checksum(about), about.licence, about.citation)
    by_release: dict[str, list[About]] = {}
    for about in known:
        if about.name.startswith("amazon-"):
            by_release.setdefault(about.name.partition("/")[0], []).append(about)
    for release, group in by_release.items():
        first = group[0]
        table.add_row(f"{release}/CATEGORY", first.size, _checksum(first), first.licence, first.citation)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print("Amazon categories are the published 5-core; CATEGORY/raw is unfiltered. The categories:")
    for release, group in by_release.items():
        names = [about.name.split("/")[1] for about in group if not about.name.endswith("/raw")]
        console.print(f"  {release}: {', '.join(names)}", highlight=False)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name from 'deftrec data list'.", metavar="NAME")],
    to: To,
    min_rating: MinRating = None,
    k_core: KCore = None,
    tie_seed: TieSeed = 0,
    as_json: Json = False,
) -> None:
    """Download a data set from its publisher, check it, and write it as a data directory.

    Example: deftrec data fetch ml-100k --to data/ml-100k
    """
    source = source_named(name)
    check_target(to)
    with listening() as progress:
        raw = source.fetch(on_progress=progress.bytes, say=progress.say)
        about = source.about
        with working(progress, f"preparing {raw.events.height:,} interactions"):
            interactions = prepare(
                raw, name=about.name, domain=about.domain, min_rating=min_rating, k_core=k_core, tie_seed=tie_seed
            )
            interactions.save(to)
    _report(interactions, to, as_json)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file, or a directory of files.", metavar="PATH")],
    to: To,
    form: Annotated[Format | None, typer.Option("--format", help="By the name of PATH unless said.")] = None,
    user: Annotated[str | None, typer.Option(help="Column of the user ids.", metavar="COL")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the item ids.", metavar="COL")] = None,
    time_: Annotated[str | None, typer.Option("--time", help="Column of the times.", metavar="COL")] = None,
    rating: Annotated[str | None, typer.Option(help="Column of the ratings.", metavar="COL")] = None,
    order_as_given: Annotated[
        bool, typer.Option("--order-as-given", help="There are no times: the rows are in order.")
    ] = False,
    min_rating: MinRating = None,
    k_core: KCore = None,
    items: Annotated[Path | None, typer.Option(help="Table of the items.", metavar="FILE")] = None,
    items_id: Annotated[str | None, typer.Option(help="Its column of item ids.", metavar="COL")] = None,
    title: Annotated[str | None, typer.Option(help="Its column of titles.", metavar="COL")] = None,
    category: Annotated[str | None, typer.Option(help="Its column of categories.", metavar="COL")] = None,
    text: Annotated[str | None, typer.Option(help="Its column of descriptions.", metavar="COL")] = None,
    separator: Annotated[str | None, typer.Option(help="Of a CSV file, found unless said.", metavar="CHAR")] = None,
    domain: Annotated[str, typer.Option(help="What the items are, for prompts.", metavar="WORD")] = "items",
    name: Annotated[str | None, typer.Option(help="What tables call the data; PATH's name unless said.")] = None,
    tie_seed: TieSeed = 0,
    as_json: Json = False,
) -> None:
    """Turn your own interactions into a data directory.

    Example: deftrec data import clicks.csv --user uid --item sku --time ts --items goods.csv --to data/shop
    """
    check_target(to)
    form = form or _guess(path)
    of_items = {"items-id": items_id, "title": title, "category": category, "text": text}
    if form is Format.reference:
        columns_of_events = {"user": user, "item": item, "time": time_, "rating": rating, "min-rating": min_rating}
        in_order = {"order-as-given": order_as_given or None}
        _refuse(
            {**columns_of_events, **in_order, "items": items, **of_items, "separator": separator},
            "the reference format has no columns to name, no ratings, and a list of items of its own",
        )
    elif form is Format.recbole:
        _refuse(
            {"items": items, **of_items, "separator": separator},
            "the recbole format is separated by tabs and has its items in a .item file beside it",
        )
    elif items is None:
        _refuse(of_items, "without --items FILE there are no columns of items to name")
    if time_ is not None and order_as_given:
        raise DataError("give either --time COL or --order-as-given")
    wants_rating = rating or ("rating" if min_rating is not None else None)
    raw: Raw
    with listening() as progress:
        with working(progress, f"reading {path}"):
            if form is Format.reference:
                raw = read_reference(path)
            elif form is Format.recbole:
                raw = read_recbole(
                    path,
                    user=user or "user_id",
                    item=item or "item_id",
                    time=time_ or "timestamp",
                    rating=rating or "rating",
                    as_given=order_as_given,
                )
            else:
                columns = Columns(
                    user=user or "user",
                    item=item or "item",
                    time=None if order_as_given else time_ or "time",
                    rating=wants_rating,
                    title=title,
                    category=category,
                    text=text,
                    catalogue_item=items_id,
                    separator=separator,
                )
                table: TableFormat = form.value  # type: ignore[assignment]
                raw = read_tabular(path, columns, form=table, items=items)
        called = name or (path.resolve().name if path.is_dir() else path.name.split(".")[0])
        with working(progress, f"preparing {raw.events.height:,} interactions"):
            interactions = prepare(
                raw, name=called, domain=domain, min_rating=min_rating, k_core=k_core, tie_seed=tie_seed
            )
            if items is not None and raw.items is not None:
                _check_items(items, raw.items, interactions.catalogue)
            interactions.save(to)
    _report(interactions, to, as_json, items is not None)


@app.command()
def describe(
    directory: Annotated[Path, typer.Argument(help="A data directory.", metavar="DIR")], as_json: Json = False
) -> None:
    """Show what a data set is like: its tail, lengths, clones, repeats, cold targets.

    Example: deftrec data describe data/ml-100k
    """
    with listening() as progress, working(progress, f"reading {directory}"):
        description = describe_interactions(Interactions.load(directory))
    if as_json:
        print(description.model_dump_json(indent=2))
        return
    output().print(draw(description))


# -- helpers ---------------------------------------------------------------------------------------------------------


def _guess(path: Path) -> Format:
    if not path.exists():
        raise DataError(f"{path}: no such file or directory")
    if path.is_dir():
        if (path / TEST).is_file():
            return Format.reference
        if any(path.glob("*.inter")):
            return Format.recbole
        raise DataError(f"{path}: a directory with neither {TEST} nor a .inter file; give the file itself")
    return Format.recbole if path.suffix == ".inter" else Format(format_of(path))


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Options that would be ignored are mistakes."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise DataError(f"{reason}; leave out {', '.join(given)}")


def _check_items(file: Path, items: pl.DataFrame, catalogue: pl.DataFrame) -> None:
    """Refuse a table of other items than those that were taken."""
    listed = items.select(same_ids(items["item"], catalogue["item"].dtype))
    if catalogue.join(listed, on="item", how="semi").is_empty():
        raise DataError(
            f"{file}: none of its ids is one of the {catalogue.height:,} items of the interactions, such as "
            f"{catalogue['item'][0]!r}; name the column of ids with --items-id COL"
        )


def _checksum(about: About) -> str:
    published = about.files[0].checksum
    return published.partition(":")[0] if published else "recorded"


def _report(interactions: Interactions, to: Path, as_json: bool, with_table: bool = False) -> None:
    meta = interactions.meta
    if as_json:
        print(json.dumps({"directory": str(to), **meta.model_dump()}, indent=2))
        return
    counts = meta.counts
    untitled = int((interactions.catalogue["title"] == "").sum())
    notes = [f"{counts['duplicates']:,} duplicates dropped"] if counts.get("duplicates") else []
    notes += [f"{untitled:,} items without title"] if untitled else []
    if with_table:
        worded = int(interactions.catalogue.select(pl.any_horizontal(pl.col(*CATALOGUE_COLUMNS) != "")).sum().item())
        notes.append(f"words for {worded:,} of {counts['items']:,} items")
    print(
        f"{to}: {counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions"
        + (f" ({', '.join(notes)})" if notes else "")
    )
