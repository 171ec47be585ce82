"""`deftrec data`: list, download, import and describe data sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import polars as pl
from rich.table import Column

from deftrec.cli.console import Listener, give, listening, output, working
from deftrec.cli.description import draw
from deftrec.cli.fitting import FittingTable
from deftrec.cli.options import Json, JsonFile, argument, column, command_group, flag, option
from deftrec.data.describe import describe as describe_interactions
from deftrec.data.interactions import CATALOGUE_COLUMNS, Interactions, check_target
from deftrec.data.prepare import Raw, prepare
from deftrec.data.sources.base import About
from deftrec.data.sources.columns import same_ids
from deftrec.data.sources.recbole import read_recbole
from deftrec.data.sources.reference import TEST, read_reference
from deftrec.data.sources.registry import source_named, sources
from deftrec.data.sources.tabular import Columns, format_of, read_tabular
from deftrec.errors import DataError

app = command_group(help="List, download, import and describe data sets.")

Format: TypeAlias = Literal["csv", "parquet", "jsonl", "recbole", "reference"]
MinRating = Annotated[float | None, option("Minimum rating of an interaction that is kept.", "R")]
KCore = Annotated[int | None, option("Minimum number of interactions of every kept user and item.", "N", min=1)]
TieSeed = Annotated[int, option("Seed of the order of interactions of one user at one time.", min=0)]
To = Annotated[Path, option("Data directory to write.", "DIR")]


@app.command("list")
def list_(as_json: Json = False, json_file: JsonFile = None) -> None:
    """List the data sets that can be downloaded: size, licence, citation.

    Example: deftrec data list
    """
    known = [source.about for source in sources()]
    if give([about.model_dump() for about in known], as_json, json_file):
        return
    amazon: dict[str, list[About]] = {}
    table = FittingTable(Column("name", no_wrap=True), "size", "checksum", "licence", "citation")
    for about in known:
        release, _, category = about.name.partition("/")
        if category:
            amazon.setdefault(release, []).append(about)
        if not category or len(amazon[release]) == 1:
            published = about.files[0].checksum
            checksum = published.partition(":")[0] if published else "recorded"
            name = f"{release}/CATEGORY" if category else about.name
            table.add_row(name, about.size, checksum, about.licence, about.citation)
    console = output()
    console.print(table)
    console.print("An Amazon CATEGORY is its published 5-core; CATEGORY/raw is unfiltered. The categories:")
    for release, group in amazon.items():
        names = [about.name.split("/")[1] for about in group if not about.name.endswith("/raw")]
        console.print(f"  {release}: {', '.join(names)}", highlight=False)


@app.command()
def fetch(
    name: Annotated[str, argument("Name of a data set, from 'deftrec data list'.", "NAME")],
    to: To,
    min_rating: MinRating = None,
    k_core: KCore = None,
    tie_seed: TieSeed = 0,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Download a data set from its publisher, check it, and write a data directory.

    Example: deftrec data fetch ml-100k --to data/ml-100k
    """
    with listening() as progress:
        interactions = fetch_data(name, to, progress, min_rating=min_rating, k_core=k_core, tie_seed=tie_seed)
    _report(interactions, to, as_json, json_file)


@app.command("import")
def import_(
    path: Annotated[Path, argument("File with interactions, or directory of files.", "PATH")],
    to: To,
    form: Annotated[Format | None, option("Format of PATH; default: from its name.", None, "--format")] = None,
    user: Annotated[str | None, column("user ids")] = None,
    item: Annotated[str | None, column("item ids")] = None,
    time_: Annotated[str | None, column("times: numbers or ISO dates", "--time")] = None,
    rating: Annotated[str | None, column("ratings")] = None,
    order_as_given: Annotated[bool, flag("--order-as-given", "Data without times: rows in order of events.")] = False,
    min_rating: MinRating = None,
    k_core: KCore = None,
    items: Annotated[Path | None, option("Table of items with titles, categories and texts.", "FILE")] = None,
    items_id: Annotated[str | None, column("item ids in the table of items")] = None,
    title: Annotated[str | None, column("titles in the table of items")] = None,
    category: Annotated[str | None, column("categories in the table of items")] = None,
    text: Annotated[str | None, column("descriptions in the table of items")] = None,
    separator: Annotated[str | None, option("Separator of a CSV file; default: found.", "CHAR")] = None,
    domain: Annotated[str, option("Kind of the items in a word, for prompts.", "WORD")] = "items",
    name: Annotated[str | None, option("Short name for tables; default: the name of PATH.")] = None,
    tie_seed: TieSeed = 0,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Write a data directory from your own interactions.

    Example: deftrec data import clicks.csv --user uid --item sku --time ts --items goods.csv --to data/shop
    """
    check_target(to)
    form = form or _guess(path)
    names = {"user": user, "item": item, "time": time_, "rating": rating}
    of_events = {**names, "min-rating": min_rating, "order-as-given": order_as_given or None}
    of_items = {"items-id": items_id, "title": title, "category": category, "text": text}
    if form == "reference":
        reason = "the reference format has no columns to name, no ratings, and its own list of items"
        _refuse({**of_events, "items": items, **of_items, "separator": separator}, reason)
    elif form == "recbole":
        reason = "the recbole format is tab-separated and has its items in a .item file of the same directory"
        _refuse({"items": items, **of_items, "separator": separator}, reason)
    elif items is None:
        _refuse(of_items, "without --items FILE there is no table of items with such columns")
    if time_ is not None and order_as_given:
        raise DataError("give either --time COL or --order-as-given")
    with listening() as progress:
        with working(progress, f"reading {path}"):
            if form == "reference":
                raw = read_reference(path)
            elif form == "recbole":
                raw = read_recbole(path, {role: name for role, name in names.items() if name}, order_as_given)
            else:
                order = None if order_as_given else time_ or "time"
                rated = rating or ("rating" if min_rating is not None else None)
                texts = {"title": title, "category": category, "text": text, "catalogue_item": items_id}
                columns = Columns(user or "user", item or "item", order, rated, **texts, separator=separator)
                raw = read_tabular(path, columns, form=form, items=items)
        short_name = name or (path.resolve().name if path.is_dir() else path.name.split(".")[0])
        how = {"name": short_name, "domain": domain, "min_rating": min_rating, "k_core": k_core, "tie_seed": tie_seed}
        interactions = _write(raw, to, progress, items, **how)
    _report(interactions, to, as_json, json_file, items is not None)


@app.command()
def describe(
    directory: Annotated[Path, argument("Data directory.", "DIR")], as_json: Json = False, json_file: JsonFile = None
) -> None:
    """Describe a data set: long tail, history lengths, clones, repeats, cold targets.

    Example: deftrec data describe data/ml-100k
    """
    with listening() as progress, working(progress, f"reading {directory}"):
        description = describe_interactions(Interactions.load(directory))
    if not give(description.model_dump(mode="json"), as_json, json_file):
        output().print(draw(description))


def fetch_data(name: str, to: Path, progress: Listener, **how: Any) -> Interactions:
    """Download a data set and write the data directory `to`; `how` are further arguments of `prepare`."""
    source = source_named(name)
    check_target(to)
    raw = source.fetch(on_progress=progress.bytes, say=progress.say)
    return _write(raw, to, progress, None, name=source.about.name, domain=source.about.domain, **how)


def _write(raw: Raw, to: Path, progress: Listener, items: Path | None, **how: Any) -> Interactions:
    """Prepare a source, with its table of `items` if it was named, and write the data directory `to`."""
    with working(progress, f"preparing {raw.events.height:,} interactions"):
        interactions = prepare(raw, **how)
        if items is not None and raw.items is not None:
            _check_items(items, raw.items, interactions.catalogue)
        interactions.save(to)
    return interactions


def _guess(path: Path) -> Format:
    if not path.exists():
        raise DataError(f"{path}: no such file or directory")
    if path.is_dir():
        if (path / TEST).is_file():
            return "reference"
        if any(path.glob("*.inter")):
            return "recbole"
        raise DataError(f"{path}: a directory with neither {TEST} nor a .inter file; give the file itself")
    return "recbole" if path.suffix == ".inter" else format_of(path)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Refuse options that would have no effect."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise DataError(f"{reason}; leave out {', '.join(given)}")


def _check_items(file: Path, items: pl.DataFrame, catalogue: pl.DataFrame) -> None:
    """Refuse a table of items that holds none of the items of the interactions."""
    listed = items.select(same_ids(items["item"], catalogue["item"].dtype))
    if catalogue.join(listed, on="item", how="semi").is_empty():
        known = f"the {catalogue.height:,} items of the interactions, such as {catalogue['item'][0]!r}"
        raise DataError(f"{file}: none of its ids is one of {known}; name the column of ids with --items-id COL")


def _report(interactions: Interactions, to: Path, as_json: bool, file: Path | None, with_table: bool = False) -> None:
    meta = interactions.meta
    if give({"directory": str(to), **meta.model_dump()}, as_json, file):
        return
    counts = meta.counts
    untitled = int((interactions.catalogue["title"] == "").sum())
    notes = [f"{counts['duplicates']:,} duplicates dropped"] if counts.get("duplicates") else []
    notes += [f"{untitled:,} items without title"] if untitled else []
    if with_table:
        with_text = int(interactions.catalogue.select(pl.any_horizontal(pl.col(*CATALOGUE_COLUMNS) != "")).sum().item())
        notes.append(f"texts for {with_text:,} of {counts['items']:,} items")
    print(
        f"{to}: {counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions"
        + (f" ({', '.join(notes)})" if notes else "")
    )
