"""A recorded search for the options of a dataset, on validation; test targets are never used.

    python -m studies.search --data data/software --log studies/searches/software.jsonl --trials 60

Every trial trains one model and measures NDCG@10 of its latent term on validation. Optuna's TPE proposes the options
(extra `bench`); the first trial is the recipe, or the nearest point of the search space. Each finished trial is a line
of the log, and the same command continues from there. Text and collaborative vectors are computed once. One trial's
value is as noisy as its seed, so `--repeat 5` trains the best five with more seeds before one of them becomes a recipe.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from deftrec import Config, Interactions
from deftrec.config import NanoOptions
from deftrec.data import make_split
from deftrec.progress import Silent
from deftrec.recipe import load_recipe
from deftrec.training.cache import StageCache
from deftrec.training.fit import Training, resolve
from deftrec.training.loop import TrainingLog
from deftrec.training.workspace import Workspace

SPACE: dict[str, BaseDistribution] = {
    "tokenizer.drop_collaborative": FloatDistribution(0.0, 0.7),
    "tokenizer.mask_features": FloatDistribution(0.0, 0.3),
    "tokenizer.dropout": FloatDistribution(0.0, 0.5),
    "tokenizer.trainable_features": CategoricalDistribution([False, True]),
    "tokenizer.users": CategoricalDistribution(["none", "folded"]),
    "language.width": CategoricalDistribution([64, 128]),
    "language.layers": CategoricalDistribution([1, 2, 3]),
    "language.dropout": FloatDistribution(0.1, 0.6),
    "diffusion.pure_noise_share": FloatDistribution(0.25, 1.0),
    "objective.temperature": FloatDistribution(0.04, 0.15, log=True),
    "objective.error_weight": FloatDistribution(0.0, 1.0),
    "training.learning_rate": FloatDistribution(4e-4, 6e-3, log=True),
    "training.weight_decay": FloatDistribution(1e-3, 0.3, log=True),
    "training.batch_positions": CategoricalDistribution([512, 1024, 2048]),
    "training.epochs": IntDistribution(4, 40, log=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--trials", type=int, default=60, help="number of trials in the log when the search ends")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="minutes after which no trial begins")
    parser.add_argument(
        "--repeat", type=int, default=0, help="train the best N trials, and the recipe, with two more seeds"
    )
    parser.add_argument(
        "--shared", type=Path, default=Path("runs/search"), help="folder of text and collaborative vectors"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    interactions = Interactions.load(options.data)
    recipe = load_recipe(options.recipe)
    lines = read_log(options.log)
    # The seed depends on the log: a continued search must not draw its first trials again.
    sampler = optuna.samplers.TPESampler(seed=len(lines), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for line in lines:
        known = set(line["options"]) <= set(SPACE)  # a log may be older than an option, or hold one that went
        if known and line["seed"] == recipe.seed:
            space = {key: SPACE[key] for key in line["options"]}
            done = optuna.trial.create_trial(params=line["options"], distributions=space, value=line["validation"])
            study.add_trial(done)
    if not study.trials:
        study.enqueue_trial(starting_point(interactions, recipe))

    def train(chosen: dict[str, Any], seed: int) -> float:
        started = time.monotonic()
        value, epochs = validation(interactions, options.recipe, chosen, seed, options.shared)
        seconds = round(time.monotonic() - started, 1)
        line = {"seed": seed, "validation": round(value, 5), "epochs": epochs, "seconds": seconds, "options": chosen}
        lines.append(line)
        options.log.parent.mkdir(parents=True, exist_ok=True)
        with options.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        return value

    start = time.monotonic()
    complete = (optuna.trial.TrialState.COMPLETE,)
    while len(study.get_trials(states=complete)) < options.trials and time.monotonic() - start < 60 * options.minutes:
        trial = study.ask(SPACE)
        study.tell(trial, train(trial.params, recipe.seed))
    by_value = sorted(study.trials, key=lambda trial: -(trial.value or 0.0))
    again = [trial.params for trial in {trial.number: trial for trial in [study.trials[0], *by_value]}.values()]
    for chosen in again[: options.repeat + 1] if options.repeat else []:
        for seed in (recipe.seed + 1, recipe.seed + 2):
            if not any(line["seed"] == seed and line["options"] == chosen for line in lines):
                train(chosen, seed)
    print(best_of(lines))


def validation(
    interactions: Interactions, recipe: str, chosen: dict[str, Any], seed: int, shared: Path
) -> tuple[float, int]:
    """Validation NDCG@10 of one model trained with these options, and its epochs."""
    fixed = {"seed": seed, "training.ensemble_size": 1, "retrieval.prior": "none", "retrieval.trend": "false"}
    config = load_recipe(recipe, [f"{key}={value}" for key, value in {**chosen, **fixed}.items()])
    space = Workspace(None, StageCache(shared), TrainingLog(None), False, Silent())
    run = Training(interactions, config, torch.device("cpu"), space).run(refit=False)
    return run.info.validation, run.info.epochs["joint"]


def starting_point(interactions: Interactions, recipe: Config) -> dict[str, Any]:
    """The recipe's own values of the searched options, or the nearest values of the search space."""
    resolved = resolve(recipe, interactions, make_split(interactions, recipe.data.split))
    assert isinstance(resolved.language, NanoOptions)
    values = resolved.model_dump()
    point = {}
    for key, space in SPACE.items():
        group, name = key.split(".")
        point[key] = nearest(space, values[group][name])
    return point


def nearest(space: BaseDistribution, value: Any) -> Any:
    """A value inside a space, as near to the given one as it gets."""
    if isinstance(space, FloatDistribution | IntDistribution):
        return min(max(value, space.low), space.high)
    assert isinstance(space, CategoricalDistribution)
    if value in space.choices or not isinstance(value, int):
        return value
    return min(space.choices, key=lambda choice: abs(cast(int, choice) - value))


def read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def best_of(lines: list[dict[str, Any]]) -> str:
    """The options with the best mean over seeds, among those with the most seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        values[json.dumps(line["options"])].append(line["validation"])
    most = max(map(len, values.values()))
    best = max((key for key in values if len(values[key]) == most), key=lambda key: statistics.mean(values[key]))
    return f"best of {len(values)} over {most} seeds: {statistics.mean(values[best]):.4f}\n{best}"


if __name__ == "__main__":
    main()
