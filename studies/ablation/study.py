"""Trains and measures the recipe and its variants, and keeps what is finished."""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from studies.ablation.variants import BASE, Variant, plain
from torch import Tensor

from deftrec.benchmark.machine import versions
from deftrec.benchmark.slices import UserSlice, slices
from deftrec.config import Config
from deftrec.data import Interactions, Part, make_split
from deftrec.errors import DataError, DeftRecError, in_a_line
from deftrec.evaluation import Result, accuracy
from deftrec.files import atomic_directory, recover
from deftrec.progress import Progress
from deftrec.recommender import Recommender
from deftrec.training.build import resolve
from deftrec.training.checkpoint import load_tensors, save_tensors

SPLITS: tuple[Part, ...] = ("test", "validation")
ABOUT, VALUES = "about.json", "values.safetensors"


@dataclass(frozen=True, eq=False)
class Measured:
    """One training of one variant, measured.

    Attributes:
        name: of the variant, or of the recipe.
        seed: of everything random.
        results: by part of the data.
        values: metrics of every user, by part and metric (`test ndcg@10`). Each `[N]` float64
        train_seconds: of all stages, also of those that other variants had made before.
        users_per_second: users of test ranked over the whole catalogue.
        parameters: of the model, all of them.
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
    """The recipe and its variants on one dataset.

    Args:
        interactions: the data.
        recipe: options of the base; its seed is the first.
        variants: by name.
        seeds: how many trainings of each.
        work: what is finished lies here, and stage results that variants share.
        progress: who is told.
        device: where to train; None: the first GPU, else the CPU.

    Attributes:
        failures: why a variant could not be trained, by name.

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
        self.failures: dict[str, str] = {}
        split = make_split(interactions, recipe.data.split)
        for part in SPLITS:
            if not len(split.cases(part)):
                raise DataError(f"{interactions.meta.name}: no user has a {part} target, so nothing can be compared")
        self.configs = {BASE: plain(recipe)}
        for name, variant in variants.items():
            try:
                self.configs[name] = variant.config(recipe)
            except DeftRecError as error:  # the recipe's other options do not go together with it
                self._fail(name, error)

    def run(self) -> dict[str, list[Measured]]:
        """Every variant with every seed, by name; one that fails leaves its reason in `failures`.

        Raises:
            DeftRecError: the recipe itself cannot be trained.
        """
        runs: dict[str, list[Measured]] = {}
        total = len(self.seeds) * len(self.configs)
        # Seed by seed: whoever stops early has every variant once, and stages are shared while they are warm.
        for number, (seed, name) in enumerate((seed, name) for seed in self.seeds for name in self.configs):
            if name in self.failures:
                continue
            self.progress.say(f"{number + 1}/{total} {name}, seed {seed}")
            try:
                measured = self._one(name, seed)
            except Exception as error:  # whatever goes wrong in one variant, the others are measured
                if name == BASE:
                    raise
                self._fail(name, error)
            else:
                runs.setdefault(name, []).append(measured)
        return runs

    def sliced_users(self) -> list[UserSlice]:
        """The users of test by history, popularity of the target and its novelty, for `compare_slices`."""
        split = make_split(self.interactions, self.configs[BASE].data.split)
        return slices(split.cases("test"), split.training("train"), self.interactions.n_items)

    def _fail(self, name: str, error: Exception) -> None:
        self.failures[name] = in_a_line(error)
        self.progress.say(f"{name} failed: {self.failures[name]}")

    def _one(self, name: str, seed: int) -> Measured:
        """What a variant came to with a seed; read where it is finished, and the recipe's where it is the recipe."""
        config = self.configs[name].model_copy(update={"seed": seed})
        resolved = resolve(config, self.interactions, make_split(self.interactions, config.data.split))
        # Costs are kept too, so that another machine measures anew.
        content = [resolved.model_dump(mode="json"), self.interactions.fingerprint, versions()]
        kept = self.work / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        if not recover(kept).is_dir():
            self._train(config, kept)
        return _read(kept, name, seed, resolved)

    def _train(self, config: Config, kept: Path) -> None:
        run = kept.with_suffix(".run")
        begun = (run / "request.json").is_file() and not (run / "run.json").is_file()
        if run.exists() and not begun:
            shutil.rmtree(run)
        recommender = Recommender.fit(
            self.interactions,
            config,
            out=run,
            resume=begun,
            device=self.device,
            progress=self.progress,
            shared=self.work / "shared",
        )
        results: dict[Part, dict[str, Any]] = {}
        values: dict[str, Tensor] = {}
        seconds = 0.0
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
        with atomic_directory(kept) as temporary:
            save_tensors(temporary / VALUES, values)
            (temporary / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(run, ignore_errors=True)


def _read(kept: Path, name: str, seed: int, config: Config) -> Measured:
    try:
        about = json.loads((kept / ABOUT).read_text(encoding="utf-8"))
        results = {part: Result.model_validate({**row, "name": name}) for part, row in about.pop("results").items()}
        values = load_tensors(kept / VALUES)
        return Measured(name, seed, results, values, settings=config.model_dump(mode="json"), **about)
    except (OSError, ValueError, TypeError, KeyError, DeftRecError) as error:
        raise DeftRecError(f"{kept}: damaged; delete it, and it is measured again") from error
