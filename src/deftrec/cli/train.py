"""`deftrec train`: train every stage on a data directory, then evaluate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from deftrec.cli.baselines import measure_baselines, verdict
from deftrec.cli.console import Stopped, give, listening, output, working
from deftrec.cli.measure import METRICS_FILE, load_recommender, measure, report_if_possible
from deftrec.cli.options import (
    LARGEST_SEED,
    DataFolder,
    Json,
    JsonFile,
    OptionalRecipe,
    Overrides,
    command_line,
    flag,
    option,
)
from deftrec.cli.remaining import plan
from deftrec.cli.tables import metrics_table
from deftrec.cli.threads import settle_threads
from deftrec.errors import ConfigError
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.config import Config
    from deftrec.data import Interactions
    from deftrec.recommender import Recommender


def train(
    data: DataFolder,
    out: Annotated[Path, option("The run directory to write.", "RUN")],
    recipe: OptionalRecipe = None,
    overrides: Overrides = None,
    start: Annotated[
        Path | None,
        option("Continue from this run's weights, with its options and the epochs of fine_tuning.", "RUN", "--from"),
    ] = None,
    beside: Annotated[
        Path | None,
        option("Train the recipe's reasoner beside this finished run, whose model stays as it is.", "RUN"),
    ] = None,
    seed: Annotated[
        int | None, option("Seed of every random draw; default: the recipe's.", min=0, max=LARGEST_SEED)
    ] = None,
    refit: Annotated[
        bool, flag("--refit", "Train again on train + validation, for the number of epochs chosen on validation.")
    ] = False,
    resume: Annotated[bool, flag("--resume", "Continue an interrupted run in RUN.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a run that is in RUN.")] = False,
    no_baselines: Annotated[
        bool, flag("--no-baselines", "Leave out popularity, item-KNN and EASE with recency, measured beside the run.")
    ] = False,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Train DeftRec from the start, or from the weights of a run (--from), and evaluate it on validation and test.

    On test it stands beside popularity, item-KNN and EASE with recency, which take seconds more.

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
            settle_threads(progress, out if resume else None)
            if start is None and beside is None and not resume and Team.on(default_device()).size == 1:
                _announce(interactions, config, refit, progress)
            before = None if start is None else load_recommender(start, progress)
            if beside is not None:
                small = load_recommender(beside, progress)
                _check_beside(small, interactions, config, refit=refit, start=start, seed=seed, overrides=overrides)
                recommender = small.with_reasoner(
                    config.reasoner, out=out, resume=resume, progress=progress, overwrite=overwrite
                )
            else:
                recommender = Recommender.fit(
                    interactions,
                    config,
                    out=out,
                    refit=refit,
                    resume=resume,
                    progress=progress,
                    start=before,
                    overwrite=overwrite,
                )
            team = Team.on(default_device())
            team.shutdown()
            if not team.is_main:
                return  # the first process evaluates for all
            results = measure(recommender, out, progress)
            tested = [result for result in results if result.split == "test"]
            wanted = tested and not no_baselines
            baselines = measure_baselines(recommender, out, progress) if wanted else []
            report = report_if_possible(recommender, results + baselines, out, progress) if tested else None
    except KeyboardInterrupt:
        if (out / "run.json").is_file() or not (out / "request.json").is_file():
            raise Stopped("interrupted") from None
        again = command_line(
            "train",
            {},
            data=data,
            recipe=recipe,
            out=out,
            set=overrides,
            beside=beside,
            seed=seed,
            refit=refit,
            no_baselines=no_baselines,
            **{"from": start},
        )
        raise Stopped(f"interrupted; go on with: {again} --resume") from None
    if give(json.loads((out / METRICS_FILE).read_text(encoding="utf-8")), as_json, json_file):
        return
    console = output()
    for split in ("validation", "test"):
        rows = [result for result in results + baselines if result.split == split]
        if rows:
            console.print(metrics_table(rows))
    if baselines:
        console.print(verdict(tested[0], baselines), markup=False)
    console.print(f"run: {out}", markup=False)
    if report is not None:
        console.print(f"report: {report}", markup=False)


def _check_beside(
    small: "Recommender",
    interactions: "Interactions",
    config: "Config",
    *,
    refit: bool,
    start: Path | None,
    seed: int | None,
    overrides: list[str] | None,
) -> None:
    """Refuse what a reasoner beside a finished run cannot do."""
    other = [override for override in overrides or [] if not override.startswith("reasoner.")]
    if start is not None or seed is not None or other:
        named = "--from" if start is not None else "--seed" if seed is not None else f"--set {other[0]}"
        raise ConfigError(f"--beside keeps the options of that run but those of the reasoner: leave {named} out")
    if config.reasoner is None:
        raise ConfigError("--beside trains a reasoner, and this recipe has none: give --recipe deftrec")
    if refit:
        raise ConfigError("--beside keeps the model of that run: leave --refit out")
    if small.fitted_on.fingerprint != interactions.fingerprint:
        raise ConfigError("--beside: that run was trained on other data; give the same --data")


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


def _announce(interactions: "Interactions", config: "Config", refit: bool, progress: Progress) -> None:
    """Say which stages a training has and how long each takes here, from a probe of this machine, and expect them."""
    with working(progress, "timing a training step on this machine"):
        from deftrec.training.forecast import forecast

        ahead = forecast(interactions, config, refit=refit)
    progress.say(f"{plan(ahead.seconds)}, with {ahead.machine}")
    progress.expect(ahead.seconds)
