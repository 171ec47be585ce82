"""What is compared: peers in environments of their own, DeftRec with its parts, and its collaborative encoder alone."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch

from deftrec.benchmark.machine import library, threads
from deftrec.benchmark.peers import DEPTH, PEERS, run_peer
from deftrec.benchmark.tables import DEFTREC
from deftrec.benchmark.work import Lists, Run
from deftrec.config import Config, TrainingOptions
from deftrec.data import Cases, Fit, Interactions, Split
from deftrec.errors import ConfigError
from deftrec.evaluation import Seen, ranking_frame, write_rankings
from deftrec.formatting import peer_said
from deftrec.hardware import default_device
from deftrec.progress import Progress
from deftrec.recommender import Recommender
from deftrec.retrieval import (
    CollaborativePrior,
    ExcludeHistory,
    Found,
    Queries,
    Ranker,
    ScorePart,
    inner_products,
)
from deftrec.run import RunInfo, git_revision
from deftrec.training.cache import StageCache
from deftrec.training.fit import Training
from deftrec.training.log import TrainingLog
from deftrec.training.workspace import Workspace

LIGHTGCN = "lightgcn"
DETERMINISTIC = "classic"
"""The folder of peers without anything random in them: one seed says all."""


@dataclass(frozen=True, eq=False)
class Task:
    """What every system is given.

    Attributes:
        interactions, split: the data, and what may be fitted of them.
        fits, seens: rankings are wanted for each pair of them.
        budget_seconds: most time of a peer's search, and of DeftRec's joint stage, under one seed; None: no limit.
        config: of DeftRec; each seed is put into it.
        shared: folder of stages that DeftRec and its encoder alone have in common; None keeps nothing.
    """

    interactions: Interactions
    split: Split
    fits: tuple[Fit, ...]
    seens: tuple[Seen, ...]
    budget_seconds: float | None
    config: Config
    shared: Path | None = None

    def config_of(self, seed: int, seen: Seen) -> Config:
        """DeftRec's options for one table; the budget limits its joint stage where the recipe has no limit."""
        data = self.config.data.model_copy(update={"split": self.split.name})
        training = self.config.training
        if training.minutes is None and self.budget_seconds is not None:
            training = training.model_copy(update={"minutes": self.budget_seconds / 60})
        retrieval = self.config.retrieval.model_copy(update={"seen": seen})
        return self.config.model_copy(update={"seed": seed, "data": data, "training": training, "retrieval": retrieval})


class System(ABC):
    """Something that is trained on a task and leaves rankings.

    Attributes:
        name: as the report calls it.
        seeds_matter: whether another seed gives another result.
    """

    name: str
    seeds_matter: bool = True

    @abstractmethod
    def run(self, task: Task, seed: int, folder: Path, progress: Progress) -> tuple[Run, ...]:
        """Train, and leave rankings of the test users in `folder`; one `Run` a row of the report."""


class PeerSystem(System):
    """Another recommender, in its own process and environment.

    Args:
        name: out of `deftrec.benchmark.peers.PEERS`.
    """

    def __init__(self, name: str) -> None:
        self.name, self.seeds_matter = name, PEERS[name] != DETERMINISTIC

    def run(self, task: Task, seed: int, folder: Path, progress: Progress) -> tuple[Run, ...]:
        """See `System.run`."""
        done = run_peer(
            task.interactions,
            task.split,
            self.name,
            folder,
            fits=task.fits,
            seens=task.seens,
            seed=seed,
            budget_seconds=task.budget_seconds,
            threads=threads(),
            on_progress=lambda line: progress.say(peer_said(line).removeprefix(f"{self.name}: ")),
        )
        lists = tuple(
            Lists(fit=fit, seen=seen, file=str(path.relative_to(folder))) for (fit, seen), path in done.rankings.items()
        )
        run = Run(
            name=self.name,
            seed=seed,
            lists=lists,
            settings=done.settings,
            parameters=done.parameters,
            library=done.library,
            train_seconds=done.train_seconds,
            users_per_second=done.users_per_second,
            budget_cut=bool(done.settings.get("cut", False)),
            revision=git_revision(),
        )
        return (run,)


class DeftRecSystem(System):
    """DeftRec by its whole score, by its latent alone and by its prior alone: up to three rows of one training.

    It is told in training whether seen items are to be recommended (`retrieval.seen`), so each rule has a training of
    its own, whose run directory stays in `run-RULE`. There is a row for the prior only where validation chose one.
    """

    name = DEFTREC

    def run(self, task: Task, seed: int, folder: Path, progress: Progress) -> tuple[Run, ...]:
        """See `System.run`."""
        runs: list[Run] = []
        for seen in task.seens:
            parts = _Parts(task, seen, folder)
            recommender = Recommender.fit(
                task.interactions,
                task.config_of(seed, seen),
                out=folder / f"run-{seen}",
                refit="train+validation" in task.fits,
                progress=progress,
                shared=task.shared,
                on_train=parts.rank if "train" in task.fits else None,
            )
            parts.rank(recommender)
            runs += parts.runs(seed, recommender)
        return tuple(runs)


class _Parts:
    """What a training of DeftRec leaves: rankings by every part of its score, as the task's fits come by."""

    def __init__(self, task: Task, seen: Seen, folder: Path) -> None:
        self.task, self.seen, self.folder = task, seen, folder
        self.lists: dict[ScorePart, list[Lists]] = {}
        self.speed: dict[ScorePart, float] = {}
        self.seconds: dict[Fit, float] = {}

    def rank(self, recommender: Recommender) -> None:
        """Rank the test users by the whole score and by each part."""
        fit = recommender.info.fit
        self.seconds[fit] = sum(recommender.info.seconds.values())
        cases = self.task.split.cases("test")
        parts: tuple[ScorePart, ...] = ("hybrid", "latent", "prior")
        for part in parts if recommender.ranker.term("collaborative_prior") is not None else parts[:2]:
            started = time.monotonic()
            _, found = recommender.examine("test", part).rank(self.seen, part, DEPTH)
            self.speed.setdefault(part, len(cases) / (time.monotonic() - started))
            written = _write(self.folder, f"{part}-", fit, self.seen, self.task.interactions, cases, found)
            self.lists.setdefault(part, []).append(written)

    def runs(self, seed: int, recommender: Recommender) -> tuple[Run, ...]:
        """A record of each part."""
        info, prior = recommender.info, recommender.ranker.term_of(CollaborativePrior)
        of_prior = 0 if prior is None else prior.linear.weights.numel()
        parameters = {"hybrid": info.parameters + of_prior, "latent": info.parameters, "prior": of_prior}
        chosen = {"epochs": info.epochs, "terms": info.terms}
        settings = {**chosen, **recommender.config.model_dump(mode="json")}
        return tuple(
            Run(
                name=DEFTREC if part == "hybrid" else f"{DEFTREC}/{part}",
                seed=seed,
                lists=tuple(lists),
                settings=settings,
                parameters=parameters[part],
                library=library(),
                train_seconds=self.seconds,
                users_per_second=self.speed[part],
                budget_cut=out_of_time(info, recommender.config.training),
                revision=info.revision,
            )
            for part, lists in self.lists.items()
        )


class LightGCNSystem(System):
    """DeftRec's collaborative encoder alone: users and items by the inner product of their vectors."""

    name = LIGHTGCN

    def run(self, task: Task, seed: int, folder: Path, progress: Progress) -> tuple[Run, ...]:
        """See `System.run`."""
        space = Workspace(None, StageCache(task.shared), TrainingLog(None), False, progress)
        config = task.config_of(seed, "exclude" if "exclude" in task.seens else "keep")
        training = Training(task.interactions, config, default_device(), space)
        cases = task.split.cases("test")
        lists: list[Lists] = []
        seconds: dict[Fit, float] = {}
        speed, chosen = 0.0, None
        # Validation chooses the epochs on train, and a refit needs them whether or not train itself is asked for.
        fits: tuple[Fit, ...] = ("train", "train+validation") if "train+validation" in task.fits else ("train",)
        for fit in fits:
            chosen, vectors = training.collaborative_vectors(fit, chosen)
            if chosen is None or vectors is None:
                raise ConfigError("collaborative.encoder is none in this recipe, so there is no LightGCN to measure")
            if fit not in task.fits:
                continue
            seconds[fit] = sum(space.seconds.values())
            for seen in task.seens:
                started = time.monotonic()
                queries = Queries(cases.histories, vectors.users[torch.from_numpy(cases.users)])
                ranker = Ranker(len(vectors.items), (inner_products(vectors.items),))
                found = ranker.search(queries, DEPTH, (ExcludeHistory(),) if seen == "exclude" else ())
                speed = speed or len(cases) / (time.monotonic() - started)
                lists.append(_write(folder, "", fit, seen, task.interactions, cases, found))
        assert chosen is not None
        assert vectors is not None
        run = Run(
            name=self.name,
            seed=seed,
            lists=tuple(lists),
            settings={"epochs_kept": chosen.epochs, **training.config.collaborative.model_dump(mode="json")},
            parameters=vectors.users.numel() + vectors.items.numel(),
            library=library(),
            train_seconds=seconds,
            users_per_second=speed,
            revision=git_revision(),
        )
        return (run,)


def all_systems() -> dict[str, System]:
    """Every system there is, by name, DeftRec first."""
    systems = [DeftRecSystem(), LightGCNSystem(), *map(PeerSystem, PEERS)]
    return {system.name: system for system in systems}


def out_of_time(info: RunInfo, options: TrainingOptions) -> bool:
    """Whether time ended the joint stage of any member, and neither its last epoch nor its patience did."""
    if options.minutes is None:
        return False
    joint = {name: len(rows) for name, rows in info.history.items() if name.startswith("joint")}
    return any(
        trained < int(options.epochs) and trained - info.epochs[name] < options.patience
        for name, trained in joint.items()
    )


def _write(
    folder: Path, prefix: str, fit: Fit, seen: Seen, interactions: Interactions, cases: Cases, found: Found
) -> Lists:
    """Leave rankings under external ids, as a peer does."""
    file = f"{prefix}{fit.replace('+', '-')}-{seen}.parquet"
    users = interactions.users.gather(cases.users).to_list()
    frame = ranking_frame(interactions, users, found.items.cpu().numpy(), found.scores.cpu().numpy())
    write_rankings(folder / file, [frame])
    return Lists(fit=fit, seen=seen, file=file)
