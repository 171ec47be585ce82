"""`deftrec data`: list, download, import and describe data sets."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import polars as pl
from rich.table import Column

from deftrec.cli.console import Listener, give, listening, output, working
from deftrec.cli.description import draw
from deftrec.cli.fitting import FittingTable
from deftrec.cli.flags import with_flags
from deftrec.cli.options import (
    ColumnNames,
    Json,
    JsonFile,
    TimeFormat,
    argument,
    column,
    command_group,
    flag,
    option,
    split_ids,
    split_names,
)
from deftrec.cli.preview import show_preview
from deftrec.data.catalogue import CATALOGUE_COLUMNS
from deftrec.data.describe import describe as describe_interactions
from deftrec.data.interactions import SKIPPED_FILE, Interactions, check_target
from deftrec.data.prepare import Raw, prepare
from deftrec.data.sources.base import About
from deftrec.data.sources.columns import same_ids
from deftrec.data.sources.faults import MAX_SHARE, Faults
from deftrec.data.sources.opening import is_pattern
from deftrec.data.sources.recbole import read_recbole
from deftrec.data.sources.reference import TEST, read_reference
from deftrec.data.sources.registry import source_named, sources
from deftrec.data.sources.roles import Reading
from deftrec.data.sources.tabular import Columns, read_tabular
from deftrec.errors import ConfigError, DataError
from deftrec.files import atomic_path

app = command_group(help="List, download, import and describe data sets.")

Format: TypeAlias = Literal["csv", "parquet", "jsonl", "recbole", "reference"]
OnError: TypeAlias = Literal["stop", "skip"]
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
    paths: Annotated[list[Path], argument("File with interactions, directory of files, or pattern.", "PATH...")],
    to: Annotated[Path | None, option("Data directory to write.", "DIR")] = None,
    form: Annotated[Format | None, option("Format of PATH; default: from its name.", None, "--format")] = None,
    user: Annotated[str | None, column("user ids; default: recognised")] = None,
    item: Annotated[str | None, column("item ids; default: recognised")] = None,
    time_: Annotated[str | None, column("times: numbers or dates; default: recognised", "--time")] = None,
    kind: Annotated[
        str | None, column("kinds of events (view, purchase); 'none' for none; default: recognised")
    ] = None,
    value: Annotated[
        str | None, column("ratings or amounts; 'none' for none; default: recognised", "--value", "--rating")
    ] = None,
    columns: ColumnNames = None,
    time_format: TimeFormat = None,
    order_as_given: Annotated[bool, flag("--order-as-given", "Data without times: rows in order of events.")] = False,
    where: Annotated[list[str] | None, option("Rows with one of these values; repeatable.", "COL=A,B")] = None,
    on_error: Annotated[OnError, option("Bad rows: stop at the first, or skip and list them.")] = "stop",
    max_errors: Annotated[
        float | None, option(f"Greatest share of rows to skip; default: {MAX_SHARE}.", "SHARE", min=0, max=1)
    ] = None,
    min_rating: MinRating = None,
    k_core: KCore = None,
    items: Annotated[Path | None, option("Table of items with titles, categories and texts.", "FILE")] = None,
    items_id: Annotated[str | None, column("item ids in the table of items")] = None,
    items_columns: Annotated[
        str | None, option("Columns of items without header; '-' for one to ignore.", "A,B,C")
    ] = None,
    title: Annotated[str | None, column("titles in the table of items")] = None,
    category: Annotated[str | None, column("categories in the table of items")] = None,
    text: Annotated[str | None, column("descriptions in the table of items")] = None,
    attributes: Annotated[
        str | None, option("Columns of attributes (price, brand); 'none' for none; default: recognised.", "A,B,C")
    ] = None,
    separator: Annotated[str | None, option("Separator of a CSV file; default: found.", "CHAR")] = None,
    domain: Annotated[str, option("Kind of the items in a word, for prompts.", "WORD")] = "items",
    preview: Annotated[bool, flag("--preview", "Show how the file is read, and write nothing.")] = False,
    name: Annotated[str | None, option("Short name for tables; default: the name of PATH.")] = None,
    tie_seed: TieSeed = 0,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Write a data directory from your own interactions.

    Example: deftrec data import clicks.csv --items goods.csv --to data/shop
    """
    if to is None and not preview:
        raise ConfigError("name the data directory to write with --to DIR, or give --preview")
    if to is not None:
        check_target(to)
    form = form or _guess(paths)
    names = {"user": user, "item": item, "time": time_, "value": value}
    of_table = {"separator": separator, "columns": columns, "where": where or None}
    of_items = {"items-id": items_id, "items-columns": items_columns}
    described = {"title": title, "category": category, "text": text, "attributes": attributes, "kind": kind}
    skip = on_error == "skip" or None
    of_values = {"time-format": time_format, "on-error": skip}
    of_events = {**names, "min-rating": min_rating, "order-as-given": order_as_given or None}
    if form == "reference":
        reason = "the reference format has no columns to name, no ratings, and its own list of items"
        _refuse({**of_events, **of_values, "items": items, **of_items, **described, **of_table}, reason)
    elif form == "recbole":
        reason = "the recbole format is tab-separated and has its items in a .item file of the same directory"
        _refuse({"items": items, **of_items, **described, **of_table}, reason)
    elif items is None:
        _refuse(of_items, "without --items FILE there is no table of items with such columns")
    if order_as_given and (time_ is not None or time_format is not None):
        raise DataError("give either --time COL or --order-as-given")
    if max_errors is not None:
        _refuse({"max-errors": None if skip else max_errors}, "without --on-error skip no row is skipped")
    faults = Faults(MAX_SHARE if max_errors is None else max_errors) if skip else None
    readings = list[Reading]()
    with listening() as progress:
        with working(progress, f"reading {_named(paths)}"):
            if form == "reference":
                raw = read_reference(_one(paths, form))
            elif form == "recbole":
                given = {role: name for role, name in names.items() if name}
                raw = read_recbole(
                    _one(paths, form),
                    given,
                    order_as_given,
                    time_format=time_format,
                    faults=faults,
                    on_reading=readings.append,
                )
            else:
                wanted = Columns(
                    user=user or "",
                    item=item or "",
                    time=None if order_as_given else time_ or "",
                    value=_named_or_none(value),
                    needs_value=min_rating is not None,
                    kind=_named_or_none(kind),
                    attributes=_names_or_none(attributes),
                    **{"title": title, "category": category, "text": text, "catalogue_item": items_id},
                    separator=separator,
                    names=split_names(columns),
                    item_names=split_names(items_columns),
                    time_format=time_format,
                )
                raw = read_tabular(
                    paths,
                    wanted,
                    form=form,
                    items=items,
                    describes_items=True,
                    where=_chosen(where),
                    faults=faults,
                    on_reading=readings.append,
                )
        how: dict[str, Any] = {"domain": domain, "min_rating": min_rating, "k_core": k_core, "tie_seed": tie_seed}
        if preview or to is None:
            with working(progress, f"preparing {raw.events.height:,} interactions"):
                interactions = prepare(raw, name=name or _short_name(paths), **how)
            show_preview(interactions, readings, as_json, json_file)
            return
        interactions = _write(raw, to, progress, items, name=name or _short_name(paths), **how)
        if faults is not None and faults.table.height:
            with atomic_path(to / SKIPPED_FILE) as temporary, temporary.open("wb") as file:
                faults.table.write_csv(file)
            reasons = [f"{count:,} x {reason}" for reason, count in faults.counts.items()]
            for line in (*faults.lines(), *reasons, f"all rows left out: {to / SKIPPED_FILE}"):
                progress.say(line)
    _report(interactions, to, as_json, json_file, items is not None, readings)


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


def _named_or_none(column: str | None) -> str | None:
    """A column that is named, "" for one to recognise, None for none."""
    return "" if column is None else None if column == "none" else column


def _names_or_none(columns: str | None) -> tuple[str, ...] | None:
    """Columns that are named; None: to recognise."""
    return () if columns == "none" else split_names(columns)


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


def _guess(paths: list[Path]) -> Format | None:
    """The format of a directory or a file of another program, by the names of files; None for tables."""
    path = paths[0]
    if path.is_dir() and (path / TEST).is_file():
        return "reference"
    return "recbole" if path.suffix == ".inter" or (path.is_dir() and any(path.glob("*.inter"))) else None


def _one(paths: list[Path], form: str) -> Path:
    if len(paths) > 1:
        raise DataError(f"{paths[1]}: the {form} format is one directory or file; leave out the further paths")
    return paths[0]


def _named(paths: list[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _short_name(paths: list[Path]) -> str:
    """The name of a file without its endings, or that of the directory of several files."""
    path = paths[0].resolve()
    if path.is_dir():
        return path.name
    return path.parent.name if len(paths) > 1 or is_pattern(path) else path.name.split(".")[0]


def _chosen(where: list[str] | None) -> dict[str, list[str]]:
    """The values of each column of `--where`."""
    chosen = dict[str, list[str]]()
    for one in where or ():
        column, _, values = one.partition("=")
        if not column or not values:
            raise ConfigError(f"--where {one!r}: not of the form COL=A,B; name a column and the values to keep")
        chosen[column] = [*chosen.get(column, []), *split_ids(values, "--where")]
    return chosen


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
        its = f"none of its ids, such as {items['item'][0]!r}, is one of" if items.height else "it has none of"
        mend = "write the ids alike in both tables, or name the column of ids with --items-id COL"
        raise DataError(f"{file}: {its} {known}; {mend}")


def _report(
    interactions: Interactions,
    to: Path,
    as_json: bool,
    file: Path | None,
    with_table: bool = False,
    readings: Sequence[Reading] = (),
) -> None:
    meta = interactions.meta
    columns = {"columns": [asdict(reading) for reading in readings]} if readings else {}
    if give({"directory": str(to), **meta.model_dump(), **columns}, as_json, file):
        return
    counts = meta.counts
    untitled = int((interactions.catalogue["title"] == "").sum())
    parts = {
        "duplicates dropped": "duplicates",
        "bad rows left out": "skipped",
        "rows left out by --where": "not_selected",
    }
    notes = [f"{counts[key]:,} {what}" for what, key in parts.items() if counts.get(key)]
    notes += [f"{untitled:,} items without title"] if untitled else []
    if with_table:
        with_text = int(interactions.catalogue.select(pl.any_horizontal(pl.col(*CATALOGUE_COLUMNS) != "")).sum().item())
        notes.append(f"texts for {with_text:,} of {counts['items']:,} items")
    if interactions.days is not None:
        with suppress(OverflowError):  # years that a date has not
            edges = (float(edge(interactions.days)) for edge in (np.min, np.max))
            notes.append(" to ".join(f"{date(1970, 1, 1) + timedelta(days)}" for days in edges))
    print(
        f"{to}: {counts['users']:,} users, {counts['items']:,} items, {counts['interactions']:,} interactions"
        + (f" ({', '.join(notes)})" if notes else "")
    )
    for reading in readings:
        print(with_flags(str(reading)))
