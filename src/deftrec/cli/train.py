"""`deftrec train`: train every stage on a data directory, then evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deftrec.cli.announce import announce
from deftrec.cli.console import Stopped, listening, output, working
from deftrec.cli.loading import load_recommender
from deftrec.cli.measure import METRICS_FILE, measure, report_if_possible
from deftrec.cli.options import DataFolder, Json, OptionalRecipe, Overrides, command_line
from deftrec.cli.tables import metrics_table
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from deftrec.config import Config


def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The run directory to write.", metavar="RUN")],
    recipe: OptionalRecipe = None,
    overrides: Overrides = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Continue from the weights of this run, with its options and the epochs of fine_tuning.",
            metavar="RUN",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random draw; default: the recipe's.", min=0)] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Train again on train + validation, for the number of epochs chosen on validation."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in RUN.")] = False,
    as_json: Json = False,
) -> None:
    """Train DeftRec from the start, or from the weights of a run (--from), and evaluate it on validation and test.

    Example: deftrec train --data data/ml-100k --recipe default --out runs/ml-100k --set training.epochs=10
    """
    config = _config(recipe, start, overrides)
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    try:
        with listening() as progress:
            with working(progress, f"reading {data}"):
                from deftrec.data import Interactions
                from deftrec.hardware import default_device
                from deftrec.recommender import Recommender
                from deftrec.training.distributed import Team

                interactions = Interactions.load(data)
            if start is None and not resume and Team.on(default_device()).size == 1:
                announce(interactions, config, refit, progress)
            before = None if start is None else load_recommender(start, progress)
            recommender = Recommender.fit(
                interactions, config, out=out, refit=refit, resume=resume, progress=progress, start=before
            )
            team = Team.on(default_device())
            team.shutdown()
            if not team.is_main:
                return  # the first process evaluates for all
            results = measure(recommender, out, progress)
            tested = any(result.split == "test" for result in results)
            report = report_if_possible(recommender, results, out, progress) if tested else None
    except KeyboardInterrupt:
        if (out / "run.json").is_file() or not (out / "request.json").is_file():
            raise Stopped("interrupted") from None
        again = command_line(
            "train", {}, data=data, recipe=recipe, out=out, set=overrides, seed=seed, refit=refit, **{"from": start}
        )
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


def _config(recipe: str | None, start: Path | None, overrides: list[str] | None) -> "Config":
    """The options of a recipe, or of the run to start from, changed by `--set`; both together are a `ConfigError`."""
    from deftrec.recipe import load_recipe, overridden

    if start is None:
        return load_recipe(recipe or "default", overrides)
    if recipe is not None:
        raise ConfigError("--from goes on with the options of that run: leave --recipe out, or change some with --set")
    from deftrec.run import read_run

    for override in overrides or []:
        if override.startswith(("size=", "collaborative.")):
            raise ConfigError(
                f"--set {override}: has no effect with --from, whose model and collaborative vectors are kept; leave "
                "it out, or train from scratch"
            )
    return overridden(read_run(start)[1], overrides)
