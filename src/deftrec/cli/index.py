"""`deftrec benchmark index`: recall and latency of the service's indexes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from deftrec.cli.console import listening, output
from deftrec.cli.loading import load_recommender
from deftrec.cli.options import Json, RunFolder

if TYPE_CHECKING:
    from deftrec.serving.index.recall import IndexMeasurement


def index(
    run: RunFolder,
    items: Annotated[
        int | None,
        typer.Option(
            help="Number of latents to draw around the run's [default: the run's own latents].", min=10, metavar="N"
        ),
    ] = None,
    users: Annotated[
        int, typer.Option(help="Largest number of users whose histories serve as queries.", min=1, metavar="N")
    ] = 200,
    store: Annotated[
        str,
        typer.Option(help="PostgreSQL with pgvector, to measure pgvector too.", envvar="DEFTREC_STORE", metavar="URL"),
    ] = "",
    as_json: Json = False,
) -> None:
    """Measure recall and latency of every index of 'deftrec serve' against exact search.

    Example: deftrec benchmark index runs/ml-100k --items 100000
    """
    with listening() as progress:
        recommender = load_recommender(run, progress)
        from deftrec.serving.index.base import IndexKind
        from deftrec.serving.index.recall import measure_indexes

        kinds: list[IndexKind] = ["faiss", "faiss-ivfpq"]
        if store.startswith("postgresql"):
            kinds.append("pgvector")
        found = []
        progress.begin("indexes", 1 + len(kinds))
        for one in measure_indexes(recommender, kinds, items=items, users=users, store=store):
            found.append(one)
            progress.advance("indexes", 1)
        progress.end("indexes")
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    output().print(_table(found))


def _table(found: "Sequence[IndexMeasurement]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"{found[0].items:,} items", title_justify="left")
    table.add_column("index", no_wrap=True)
    for heading in ("recall@10", "ms a query", "built in"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        built = "" if one.index == "exact" else f"{one.built:.2f} s"
        table.add_row(one.index, f"{one.recall:.4f}", f"{1000 * one.query:.3f}", built)
    return table
