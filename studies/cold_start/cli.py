"""`deftrec unseen`: how a recipe serves users and items that no stage of its training has seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from deftrec.cli.console import Stopped, listening, output, working
from deftrec.cli.options import DataFolder, Json, Overrides, Recipe, command_line
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from studies.cold_start import UnseenResult

HEADINGS = (
    "unseen users\nNDCG@10",
    "/ seen users\n(95 %)",
    "unseen items\nHR@50 (95 %)",
    "latent\nalone",
    "seen items\nNDCG@10",
    "before\nadding",
)
UNBOUNDED = 1e6
"""A ratio past it was divided by next to nothing."""


def unseen(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder of results; what is finished in it is kept.", metavar="REPORT")],
    recipe: Recipe = "default",
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option(help="Of what is held out, and of everything random.", min=0)] = 0,
    rows: Annotated[
        str | None, typer.Option(help="Maskings to train; all unless said, 'recipe' is the first.", metavar="A,B,...")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold 10 % of the users and 5 % of the items out from every stage, train, and ask about both.

    Called again after an interruption, it goes on with the trainings that are not finished.

    Example: deftrec unseen --data data/ml-100k --out reports/unseen
    """
    from deftrec.recipe import load_recipe

    command = command_line(
        "unseen", {"seed": 0}, data=data, out=out, recipe=recipe, set=overrides, seed=seed, rows=rows
    )
    config = load_recipe(recipe, overrides).model_copy(update={"seed": seed})
    asked = None if rows is None else [name.strip() for name in rows.split(",") if name.strip()]
    if asked == []:
        raise ConfigError("--rows names none; leave it out for all of them")
    try:
        with listening() as progress:
            with working(progress, f"reading {data}"):
                from studies.cold_start import ROWS, UnseenStudy, hold_out

                from deftrec.data import Interactions

                holdout = hold_out(Interactions.load(data), seed)
            study = UnseenStudy(holdout, config, asked or list(ROWS), out, progress)
            result = study.run(command)
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command goes on with what is not finished") from None
    if as_json:
        print((out / "results.json").read_text(encoding="utf-8"), end="")
        return
    console = output()
    console.print(_title(result), markup=False)
    console.print(_table(result))
    for one in result.baselines:
        console.print(f"{one.name}: HR@50 of unseen items {one.hr50:.4f}", markup=False)
    console.print(f"trained with all items: NDCG@10 of seen items {result.reference:.4f}", markup=False)
    for verdict in result.verdicts:
        holds = "holds" if verdict.holds else "does not hold"
        console.print(f"{verdict.asked}: {verdict.found:.3f}, {verdict.bar:g} was asked: {holds}", markup=False)
    console.print(f"results: {out / 'results.json'}", markup=False)


def _title(result: "UnseenResult") -> str:
    counts = ", ".join(f"{count:,} about {name.replace('_', ' ')}" for name, count in result.questions.items())
    return (
        f"{result.dataset}: {result.held_users:,} users and {result.held_items:,} items held out of every stage; "
        f"questions: {counts}"
    )


def _table(result: "UnseenResult") -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("masking", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        low, high = row.users.ci95
        table.add_row(
            Text(row.name),
            f"{row.users.first:.4f}",
            f"{row.users.value:.3f} ({low:.2f}{f' to {high:.2f}' if high < UNBOUNDED else ', no upper bound'})",
            f"{row.items_hr50:.4f} ({row.items_ci95[0]:.3f} to {row.items_ci95[1]:.3f})",
            f"{row.items_hr50_latent:.4f}",
            f"{row.seen_items:.4f}",
            f"{row.seen_items_alone:.4f}",
        )
    return table
