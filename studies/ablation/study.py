"""Trains and measures a recipe and its variants, and keeps what is finished."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deftrec.benchmark.slices import slices
from deftrec.config import Config
from deftrec.data import Interactions, Part, make_split
from deftrec.errors import DataError, DeftRecError, in_a_line
from deftrec.evaluation import Result, accuracy
from deftrec.progress import Progress
from deftrec.training.cache import StageResult
from deftrec.training.fit import resolve
from studies.ablation.variants import BASE, Variant, plain
from studies.comparison import UserGroup
from studies.results_cache import ResultKey, ResultsCache
from studies.training import trained_in

SPLITS: tuple[Part, ...] = ("test", "validation")


@dataclass(frozen=True, eq=False)
class Measured:
    """One training of one variant, measured.

    Attributes:
        name: name of the variant or of the recipe.
        seed: seed of every random draw.
        results: metrics by part of the data.
        values: metric of every user, by part and metric (`test ndcg@10`). Each `[N]` float64
        train_seconds: seconds of all stages, those that other variants had computed included.
        users_per_second: test users ranked over the whole catalogue per second.
        parameters: number of parameters of the model.
        settings: every option, resolved.
    """

    name: str
    seed: int
    results: dict[Part, Result]
    values: dict[str, Tensor]
    train_seconds: float
    users_per_second: float
    parameters: int
    settings: dict[str, Any]


class Study:
    """A recipe and its variants on one dataset.

    Args:
        interactions: the data.
        recipe: options of the base; its seed is the first.
        variants: variants by name.
        seeds: number of trainings of each.
        work: folder of finished results and of stage results that variants share.
        progress: receiver of progress.
        device: device of the trainings; None: the first GPU, else the CPU.

    Attributes:
        failures: reason by variant that could not be trained.

    Raises:
        DataError: nobody has a validation or a test target.
    """

    def __init__(
        self,
        interactions: Interactions,
        recipe: Config,
        variants: Mapping[str, Variant],
        *,
        seeds: int,
        work: Path,
        progress: Progress,
        device: torch.device | None = None,
    ) -> None:
        self.interactions, self.work, self.progress, self.device = interactions, work, progress, device
        self.seeds = range(recipe.seed, recipe.seed + seeds)
        self.cache = ResultsCache(work)
        self.failures: dict[str, str] = {}
        split = make_split(interactions, recipe.data.split)
        for part in SPLITS:
            if not len(split.cases(part)):
                raise DataError(f"{interactions.meta.name}: no user has a {part} target, so nothing can be compared")
        self.variants = {BASE: Variant(about="the recipe itself"), **variants}
        self.configs = {BASE: plain(recipe)}
        for name, variant in variants.items():
            try:
                self.configs[name] = variant.config(recipe)
            except DeftRecError as error:  # the recipe's other options exclude the change
                self._fail(name, error)

    def run(self) -> dict[str, list[Measured]]:
        """Every variant with every seed, by name; one that fails leaves its reason in `failures`.

        Raises:
            DeftRecError: the recipe itself cannot be trained.
        """
        runs: dict[str, list[Measured]] = {}
        total = len(self.seeds) * len(self.configs)
        # Seed by seed: an interrupted study has every variant once, and shared stages are used while they are there.
        for number, (seed, name) in enumerate((seed, name) for seed in self.seeds for name in self.configs):
            if name in self.failures:
                continue
            self.progress.say(f"{number + 1}/{total} {name}, seed {seed}")
            try:
                measured = self._one(name, seed)
            except Exception as error:  # a failure in one variant must not stop the others
                if name == BASE:
                    raise
                self._fail(name, error)
            else:
                runs.setdefault(name, []).append(measured)
        return runs

    def user_groups(self) -> list[UserGroup]:
        """Groups of the test users by history length, popularity of the target and its novelty."""
        split = make_split(self.interactions, self.configs[BASE].data.split)
        return list(slices(split.cases("test"), split.training("train"), self.interactions.n_items))

    def _fail(self, name: str, error: Exception) -> None:
        self.failures[name] = in_a_line(error)
        self.progress.say(f"{name} failed: {self.failures[name]}")

    def _one(self, name: str, seed: int) -> Measured:
        """The result of a variant with a seed. A variant that changes nothing shares the recipe's result."""
        variant = self.variants[name]
        config = self.configs[name].model_copy(update={"seed": seed})
        resolved = resolve(config, self.interactions, make_split(self.interactions, config.data.split))
        patch, random = variant.patch, variant.random_language
        key = ResultKey.of("ablation", self.interactions.fingerprint, resolved, patch=patch, random_language=random)
        found = self.cache.get(key, partial(self._measure, variant, config))
        about = dict(found.about)
        results = {part: Result.model_validate({**row, "name": name}) for part, row in about.pop("results").items()}
        return Measured(name, seed, results, found.tensors, settings=resolved.model_dump(mode="json"), **about)

    def _measure(self, variant: Variant, config: Config, folder: Path) -> StageResult:
        """Train a variant in a run folder and measure it."""
        config = variant.with_random_language(config, self.work)
        results: dict[Part, dict[str, Any]] = {}
        values: dict[str, Tensor] = {}
        seconds = 0.0
        with variant.patched():
            recommender = trained_in(
                folder,
                self.interactions,
                config,
                progress=self.progress,
                shared=self.work / "shared",
                device=self.device,
            )
            for split in SPLITS:
                started = time.monotonic()
                examined = recommender.examine(split)
                ranked = examined.rank(config.retrieval.seen)
                if split == "test":
                    seconds = time.monotonic() - started
                values |= {f"{split} {key}": tensor for key, tensor in accuracy(ranked[0], (10,)).items()}
                results[split] = examined.measure(ranked, config.retrieval.seen).to_json_dict()
        about = {
            "results": results,
            "train_seconds": round(sum(recommender.info.seconds.values()), 3),
            "users_per_second": round(results["test"]["users"] / max(seconds, 1e-9), 1),
            "parameters": recommender.info.parameters,
        }
        return StageResult(values, about)
