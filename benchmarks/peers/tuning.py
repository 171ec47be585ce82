"""Tuning of every peer: settings are tried on validation within a budget, and the best one is fitted and ranks.

A family gives its settings, best first, and a function that trains one of them. A training in epochs asks its
`Stopping` after each of them whether to go on, and takes the best state back at the end.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl
from exchange import Inputs, Scorer, mean_ndcg, write_rankings

Settings: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes:
        score: function that scores the catalogue.
        parameters: number of learnt numbers that ranking needs; None if unknown.
    """

    score: Scorer
    parameters: int | None


class Stopping(Protocol):
    """Decides when a training in epochs ends. Epochs are counted from its start and may be broken."""

    best_state: Any

    def within(self, epochs: float) -> bool:
        """Tell whether to stop within an epoch; cheap, called at every step."""

    def after(self, epochs: float, score: Scorer, state: Callable[[], Any]) -> bool:
        """Tell whether to stop after an epoch, complete or ended by `within`; `state` copies the model."""


@dataclass
class EarlyStopping:
    """Stops a search when NDCG@10 on validation has not risen `patience` times, or the time is over."""

    validate: Callable[[Scorer], float]
    patience: int
    deadline: float
    best: float = -1.0
    best_epochs: float = 0.0
    best_state: Any = None
    stale: int = 0
    late: bool = False

    def within(self, epochs: float) -> bool:
        self.late = time.perf_counter() >= self.deadline
        return self.late

    def after(self, epochs: float, score: Scorer, state: Callable[[], Any]) -> bool:
        value = self.validate(score)
        self.stale += 1
        if value > self.best:
            self.best, self.best_epochs, self.best_state, self.stale = value, epochs, state(), 0
        return self.stale >= self.patience or self.within(epochs)


@dataclass
class FixedEpochs:
    """Stops a refit, which has no validation items, after the best number of epochs."""

    epochs: float
    best_state: Any = None

    def within(self, epochs: float) -> bool:
        return epochs >= self.epochs - 1e-9

    def after(self, epochs: float, score: Scorer, state: Callable[[], Any]) -> bool:
        self.best_state = state()
        return self.within(epochs)


Train: TypeAlias = Callable[[Settings, pl.DataFrame, Stopping], Fitted]
"""Trains one of the settings on events (`user`, `item`, `position`)."""


@dataclass
class Tuned:
    """Result of the search.

    Attributes:
        settings: best settings.
        fitted: model of the best settings.
        epochs: best number of epochs; None for a model without epochs.
        value: its NDCG@10 on validation.
        seconds: seconds of its training.
        tried: every tried setting with its value, in order.
        cut: whether the budget ended a training, or the search before all settings were tried.
    """

    settings: Settings = field(default_factory=dict)
    fitted: Fitted | None = None
    epochs: float | None = None
    value: float = -1.0
    seconds: float = 0.0
    tried: list[Settings] = field(default_factory=list)
    cut: bool = False


def tune(
    settings: Iterable[Settings], train: Train, inputs: Inputs, patience: int, validation_users: int | None
) -> Tuned:
    """Try settings in turn, each trained on train, until all have been or the budget is spent; one always is."""
    start = time.perf_counter()
    deadline = start + (float("inf") if inputs.budget_seconds is None else inputs.budget_seconds)
    events, cases, targets = inputs.events(), inputs.cases("validation"), inputs.validation_targets()
    if validation_users is not None and validation_users < len(cases):
        drawn = np.sort(np.random.default_rng(inputs.seed).choice(len(cases), validation_users, replace=False))
        cases, targets = cases.select(drawn), targets[drawn]
    found = Tuned()

    def validate(score: Scorer) -> float:
        return mean_ndcg(score, cases, targets, inputs.items, inputs.tuned_on)

    for one in settings:
        begun = time.perf_counter()
        if found.tried and begun >= deadline:
            found.cut = True
            break
        stopping = EarlyStopping(validate, patience, deadline)
        fitted = train(one, events, stopping)
        in_epochs = stopping.best >= 0
        value = stopping.best if in_epochs else validate(fitted.score)
        epochs = {"epochs": stopping.best_epochs} if in_epochs else {}
        found.tried.append({**one, **epochs, "ndcg@10": value})
        found.cut |= stopping.late
        print(json.dumps(found.tried[-1]), flush=True)
        if value > found.value:
            found.settings, found.fitted, found.value = one, fitted, value
            found.epochs, found.seconds = epochs.get("epochs"), time.perf_counter() - begun
    return found


def run(
    description: str | None,
    models: Sequence[str],
    settings: Callable[[str, Inputs], Iterable[Settings]],
    train: Callable[[str, Inputs], Train],
    library: str,
    patience: int = 1,
    validation_users: int | None = None,
) -> None:
    """Run the command of a family: read the inputs, tune, refit if requested, write rankings and `settings.json`.

    Args:
        description: description of the command.
        models: names of the family's models.
        settings: settings of a model to try, best first.
        train: function that trains one setting of a model.
        library: library that trains, with its version.
        patience: number of validations in a row without improvement that ends a training in epochs.
        validation_users: number of users to validate on, drawn at random; None for all.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--outputs", type=Path, required=True)
    parser.add_argument("--model", choices=models, required=True)
    options = parser.parse_args()
    inputs = Inputs.read(options.inputs)
    options.outputs.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    training = train(options.model, inputs)
    found = tune(settings(options.model, inputs), training, inputs, patience, validation_users)
    seconds = {"tune": time.perf_counter() - start, "fit": found.seconds, "refit": 0.0, "rank": 0.0}
    speed, parameters = 0.0, 0
    for fit in inputs.fits:
        fitted = found.fitted
        if fit == "train+validation":
            start = time.perf_counter()
            fitted = training(found.settings, inputs.events(fit), FixedEpochs(found.epochs or 0.0))
            seconds["refit"] = time.perf_counter() - start
        assert fitted is not None
        start = time.perf_counter()
        ranked, ranking = write_rankings(fitted.score, inputs, options.outputs, fit)
        seconds["rank"] += time.perf_counter() - start
        speed = speed or ranked / ranking
        parameters = fitted.parameters
    report = {
        "model": options.model,
        "library": library,
        "settings": found.settings,
        "epochs": found.epochs,
        "parameters": parameters,
        "tuned_on": inputs.tuned_on,
        "validation": found.tried,
        "cut": found.cut,
        "seed": inputs.seed,
        "threads": inputs.threads,
        "budget_seconds": inputs.budget_seconds,
        "seconds": seconds,
        "users_ranked_per_second": speed,
    }
    (options.outputs / "settings.json").write_text(json.dumps(report, indent=2) + "\n")
