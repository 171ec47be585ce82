"""The command `python -m studies.cold_start`: users and items that no stage of the training has seen."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from deftrec.cli.console import Stopped, listening, output, page_if_possible, working
from deftrec.cli.options import DataFolder, Json, Overrides, Recipe
from deftrec.errors import ConfigError
from studies.command import command_line, run


def cold_start(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder of the report; finished results in it are kept.", metavar="REPORT")],
    recipe: Recipe = "default",
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option(help="Seed of the held-out users and items and of the trainings.", min=0)] = 0,
    rows: Annotated[
        str | None,
        typer.Option(help="Names of maskings, separated by commas, beside 'recipe'; default: all.", metavar="A,B,..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold 10 % of the users and 5 % of the items out of every stage, train, and evaluate both.

    The same command continues an interrupted study.

    Example: python -m studies.cold_start --data data/ml-100k --out reports/cold-start
    """
    from deftrec.recipe import load_recipe

    command = command_line(
        "studies.cold_start", data=data, out=out, recipe=recipe, set=overrides, seed=seed or None, rows=rows
    )
    config = load_recipe(recipe, overrides).model_copy(update={"seed": seed})
    chosen = None if rows is None else [name.strip() for name in rows.split(",") if name.strip()]
    if chosen == []:
        raise ConfigError("--rows names none; leave it out for all of them")
    try:
        with listening() as progress:
            with working(progress, f"reading {data}"):
                from deftrec.data import Interactions
                from studies.cold_start import ROWS, ColdStartStudy, hold_out
                from studies.cold_start.report import COLUMNS, row_cells, summary, write_cold_start

                holdout = hold_out(Interactions.load(data), seed)
            result = ColdStartStudy(holdout, config, chosen or list(ROWS), out / "work", progress).run()
            page = page_if_possible(lambda: write_cold_start(out, result, command), progress)
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command continues with what is not finished") from None
    if as_json:
        print((out / "results.json").read_text(encoding="utf-8"), end="")
        return
    console = output()
    console.print(summary(result), markup=False)
    table = Table(box=box.SIMPLE_HEAD)
    for number, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="right" if number else "left")
    for row in result.rows:
        table.add_row(*map(Text, row_cells(row)))
    console.print(table)
    for one in result.baselines:
        console.print(f"{one.name}: HR@50 of unseen items {one.hr50:.4f}", markup=False)
    console.print(f"trained with all items: NDCG@10 of seen items {result.reference:.4f}", markup=False)
    for verdict in result.verdicts:
        holds = "met" if verdict.holds else "not met"
        console.print(f"{verdict.asked}: {verdict.found:.3f}, at least {verdict.bar:g} required: {holds}", markup=False)
    console.print(f"results: {out / 'results.json'}", markup=False)
    if page is not None:
        console.print(f"report: {page}", markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(cold_start, "studies.cold_start", arguments)


if __name__ == "__main__":
    sys.exit(main())
