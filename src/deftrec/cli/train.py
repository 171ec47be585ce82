"""`deftrec train`: every stage on a data directory, then what it is worth."""

from pathlib import Path
from typing import Annotated

import typer

from deftrec.cli.console import Stopped, listening, output, working
from deftrec.cli.measure import METRICS_FILE, measure, report_if_possible
from deftrec.cli.options import DataFolder, Json, Overrides, Recipe, command_line
from deftrec.cli.tables import metrics_table


def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The run directory to write.", metavar="RUN")],
    recipe: Recipe = "default",
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; the recipe's unless said.", min=0)] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Train once more on train + validation, for the epochs that validation chose."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in RUN.")] = False,
    as_json: Json = False,
) -> None:
    """Train DeftRec and measure it on validation and test.

    Example: deftrec train --data data/ml-100k --recipe default --out runs/ml-100k --set training.epochs=10
    """
    from deftrec.recipe import load_recipe

    config = load_recipe(recipe, overrides)
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    try:
        with listening() as progress:
            with working(progress, f"reading {data}"):
                from deftrec.data import Interactions
                from deftrec.recommender import Recommender

                interactions = Interactions.load(data)
            recommender = Recommender.fit(interactions, config, out=out, refit=refit, resume=resume, progress=progress)
            results = measure(recommender, out, progress)
            report = report_if_possible(recommender, results, out, progress)
    except KeyboardInterrupt:
        if (out / "run.json").is_file() or not (out / "request.json").is_file():
            raise Stopped("interrupted") from None
        again = command_line("train", {}, data=data, recipe=recipe, out=out, set=overrides, seed=seed, refit=refit)
        raise Stopped(f"interrupted; go on with: {again} --resume") from None
    if as_json:
        print((out / METRICS_FILE).read_text(encoding="utf-8"), end="")
        return
    console = output()
    for split in ("validation", "test"):
        rows = [result for result in results if result.split == split]
        if rows:
            console.print(metrics_table(rows, console.width))
    console.print(f"run: {out}", markup=False)
    if report is not None:
        console.print(f"report: {report}", markup=False)
