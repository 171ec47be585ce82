"""The compared systems: peers in environments of their own, DeftRec with its parts, and its collaborative encoder."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deftrec import __version__
from deftrec.benchmark.peers import DEPTH, PEERS, STEMS, PeerRequest, run_peer
from deftrec.benchmark.request import BenchmarkRequest
from deftrec.benchmark.tables import DEFTREC
from deftrec.benchmark.work import RankingFile, SystemRun
from deftrec.collaborative import CollaborativeVectors
from deftrec.config import Config, TrainingOptions
from deftrec.data import Fit, Interactions, Sequences, Split
from deftrec.data.sparse import csr_matrix, distinct_pairs
from deftrec.evaluation import Seen, ranking_frame, write_rankings
from deftrec.formatting import peer_said
from deftrec.hardware import default_device
from deftrec.progress import Progress
from deftrec.recommender import Recommender
from deftrec.retrieval import CollaborativePrior, Found, LatentSimilarity, Queries, Ranker, ScorePart, seen_rules
from deftrec.run import RunInfo, git_revision
from deftrec.training.cache import StageCache
from deftrec.training.fit import Training, resolve
from deftrec.training.loop import TrainingLog
from deftrec.training.workspace import Workspace

LIGHTGCN = "lightgcn"
LIBRARY = f"deftrec {__version__}"
DETERMINISTIC = "classic"  # folder of peers without anything random: one seed is enough


@dataclass(frozen=True, eq=False)
class BenchmarkTask:
    """Input of every system.

    Attributes:
        interactions, split: data and their split.
        request: fits, rules for seen items, budget, and options of DeftRec.
        shared: folder of training stages that DeftRec and its collaborative encoder share; None stores nothing.
    """

    interactions: Interactions
    split: Split
    request: BenchmarkRequest
    shared: Path | None = None

    def config_of(self, seed: int, seen: Seen) -> Config:
        """Set the options of one training; the budget limits its joint stage unless the recipe has a limit."""
        config, limit = self.request.config, self.request.budget_minutes
        minutes = config.training.minutes
        groups = {
            "data": config.data.model_copy(update={"split": self.split.name}),
            "training": config.training.model_copy(update={"minutes": limit if minutes is None else minutes}),
            "retrieval": config.retrieval.model_copy(update={"seen": seen}),
        }
        return config.model_copy(update={"seed": seed, **groups})

    def trainings(self, seed: int) -> dict[Seen, tuple[Seen, ...]]:
        """Group the rules for seen items by the training that serves them.

        The rule decides the training only where users repeat items. Elsewhere a model trained under `keep` puts items
        of the history last, so excluding them gives the lists of a model trained under `exclude`.
        """
        seens = self.request.seens
        if len(seens) > 1 and not resolve(self.config_of(seed, "keep"), self.interactions, self.split).repeats:
            return {"keep": seens}
        return {seen: (seen,) for seen in seens}


class BenchmarkSystem(ABC):
    """A system that is trained on a task and writes rankings.

    Attributes:
        name: name of its row.
        seeds_matter: whether another seed gives another result.
    """

    name: str
    seeds_matter: bool = True

    @abstractmethod
    def run(self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress) -> tuple[SystemRun, ...]:
        """Train, and write rankings of the test users to `folder`; one `SystemRun` per row of the report."""


class PeerSystem(BenchmarkSystem):
    """Another recommender, one of `deftrec.benchmark.peers.PEERS`, in its own process and environment."""

    def __init__(self, name: str) -> None:
        self.name, self.seeds_matter = name, PEERS[name] != DETERMINISTIC

    def run(self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress) -> tuple[SystemRun, ...]:
        """See `BenchmarkSystem.run`."""

        def say(line: str) -> None:
            progress.say(peer_said(line).removeprefix(f"{self.name}: "))

        wanted, minutes = task.request, task.request.budget_minutes
        seconds = None if minutes is None else 60 * minutes
        request = PeerRequest(wanted.fits, wanted.seens, seed, seconds, torch.get_num_threads())
        return (run_peer(task.interactions, task.split, self.name, folder, request, say),)


class _Rankings:
    """Rankings of one row of the report, written as one training produces its fits; `prefix` names their files.

    Attributes:
        lists: written files.
        users_per_second: speed of the first ranking; 0 before.
    """

    def __init__(self, task: BenchmarkTask, folder: Path, prefix: str = "") -> None:
        self.task, self.folder, self.prefix = task, folder, prefix
        self.lists: list[RankingFile] = []
        self.users_per_second = 0.0

    def write(self, fit: Fit, seen: Seen, found: Found, started: float) -> None:
        """Write lists of the test users under external ids, in the format of a peer; `started` is their start time."""
        data, numbers = self.task.interactions, self.task.split.cases("test").users
        self.users_per_second = self.users_per_second or len(numbers) / (time.monotonic() - started)
        file = f"{self.prefix}{fit.replace('+', '-')}-{seen}.parquet"
        users = data.users.gather(numbers).to_list()
        frame = ranking_frame(data, users, found.items.cpu().numpy(), found.scores.cpu().numpy())
        write_rankings(self.folder / file, [frame])
        self.lists.append(RankingFile(fit, seen, file))

    def run(self, **facts: Any) -> SystemRun:
        """Make the record of the row; `facts` are its other fields."""
        costs = {"users_per_second": self.users_per_second, "library": LIBRARY}
        return SystemRun(lists=tuple(self.lists), **costs, **facts)


class DeftRecSystem(BenchmarkSystem):
    """DeftRec by its whole score, by its latent alone and by its prior alone: up to three rows of one training.

    Where users repeat items, each rule for seen items has a training of its own; elsewhere one training serves both
    (`BenchmarkTask.trainings`). The run directory is `run-RULE`. There is a row for the prior only where validation
    chose one.
    """

    name = DEFTREC

    def run(self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress) -> tuple[SystemRun, ...]:
        """See `BenchmarkSystem.run`."""
        trainings = task.trainings(seed).items()
        return tuple(
            run for seen, served in trainings for run in self._train(task, seed, folder, progress, seen, served)
        )

    def _train(
        self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress, seen: Seen, served: tuple[Seen, ...]
    ) -> list[SystemRun]:
        """Train under the rule `seen`, rank for the rules `served`, and make a record of each part of the score."""
        rows: dict[ScorePart, _Rankings] = {}
        seconds: dict[Fit, float] = {}

        def rank(recommender: Recommender) -> None:
            fit = recommender.info.fit
            seconds[fit] = sum(recommender.info.seconds.values())
            parts: tuple[ScorePart, ...] = ("hybrid", "latent", "collaborative_prior")
            for part in parts if recommender.ranker.term("collaborative_prior") is not None else parts[:2]:
                started, cases = time.monotonic(), recommender.examine("test", part)
                for rule in served:
                    _, found = cases.rank(rule, part, DEPTH)
                    rows.setdefault(part, _Rankings(task, folder, f"{part}-")).write(fit, rule, found, started)

        recommender = Recommender.fit(
            task.interactions,
            task.config_of(seed, seen),
            out=folder / f"run-{seen}",
            refit="train+validation" in task.request.fits,
            progress=progress,
            shared=task.shared,
            on_train=rank if "train" in task.request.fits else None,
        )
        rank(recommender)
        info, prior = recommender.info, recommender.ranker.term_of(CollaborativePrior)
        of_prior = 0 if prior is None else prior.linear.weights.numel()
        parameters = {"hybrid": info.parameters + of_prior, "latent": info.parameters, "collaborative_prior": of_prior}
        common = {
            "seed": seed,
            "settings": {"epochs": info.epochs, "terms": info.terms, **recommender.config.model_dump(mode="json")},
            "train_seconds": seconds,
            "budget_cut": out_of_time(info, recommender.config.training),
            "revision": info.revision,
        }
        names = {part: DEFTREC if part == "hybrid" else f"{DEFTREC}/{part}" for part in rows}
        return [row.run(name=names[part], parameters=parameters[part], **common) for part, row in rows.items()]


class LightGCNSystem(BenchmarkSystem):
    """DeftRec's collaborative encoder alone: inner products of user and item vectors.

    Items that a user interacted with after the training are folded into the user's vector, so that it ranks from the
    same history as every other system (`users_after`).
    """

    name = LIGHTGCN

    def run(self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress) -> tuple[SystemRun, ...]:
        """See `BenchmarkSystem.run`."""
        space = Workspace(None, StageCache(task.shared), TrainingLog(None), False, progress)
        config = task.config_of(seed, "exclude" if "exclude" in task.request.seens else "keep")
        # Whatever encoder the recipe has, this row is LightGCN.
        lightgcn = config.collaborative.model_copy(update={"encoder": "lightgcn"})
        config = config.model_copy(update={"collaborative": lightgcn})
        training = Training(task.interactions, config, default_device(), space)
        cases, row, chosen = task.split.cases("test"), _Rankings(task, folder), None
        seconds: dict[Fit, float] = {}
        # Validation chooses the epochs on train, and a refit needs them even if train itself is not requested.
        for fit in (fit for fit in STEMS if fit == "train" or fit in task.request.fits):
            chosen, vectors = training.collaborative_vectors(fit, chosen)
            assert chosen is not None
            assert vectors is not None
            if fit not in task.request.fits:
                continue
            seconds[fit] = sum(space.seconds.values())
            ranker = Ranker(len(vectors.items), (LatentSimilarity(vectors.items, similarity="inner"),))
            for seen in task.request.seens:
                started = time.monotonic()
                users = users_after(vectors, task.split.training(fit), cases.users, cases.histories)
                rules = seen_rules(seen == "exclude")
                row.write(fit, seen, ranker.search(Queries(cases.histories, users), DEPTH, rules), started)
        assert chosen is not None
        assert vectors is not None
        settings = {"epochs_kept": chosen.best_epoch, **training.config.collaborative.model_dump(mode="json")}
        parameters = vectors.users.numel() + vectors.items.numel()
        facts = {"train_seconds": seconds, "parameters": parameters, "revision": git_revision()}
        return (row.run(name=self.name, seed=seed, settings=settings, **facts),)


def users_after(vectors: CollaborativeVectors, training: Sequences, users: np.ndarray, histories: Sequences) -> Tensor:
    """Fold the items that users interacted with after training into their trained vectors.

    LightGCN gives user u the sum over items i of e_i / sqrt(|N_u| |N_i|) in every propagation step (He et al. 2020,
    eq. 3). One such step with the trained item vectors g adds the items of the full history H_u that training did not
    contain, N_u being the items of u and d_i the number of users of i in training:

        e'_u = e_u + sum_(i in H_u - N_u) g_i / sqrt(|H_u| d_i)

    A user without newer items keeps the trained vector. An item without training interactions has the zero vector.

    Args:
        vectors: vectors trained on `training`, which has one sequence per user.
        training: interactions before the newer items.
        users, histories: numbers `[N]` and full histories, oldest first, of the users to rank for.

    Returns:
        One vector per user. `[N, d]`
    """
    n_items = len(vectors.items)
    degrees = np.bincount(distinct_pairs(training, n_items)[1], minlength=n_items)
    rows, items = distinct_pairs(histories, n_items)
    lengths = np.bincount(rows, minlength=len(histories))
    known_rows, known_items = distinct_pairs(training.select(users), n_items)
    newer = ~np.isin(rows * n_items + items, known_rows * n_items + known_items)
    rows, items = rows[newer], items[newer]
    weights = 1 / np.sqrt(lengths[rows] * np.maximum(degrees[items], 1))
    added = csr_matrix(rows, items, weights, (len(histories), n_items)) @ vectors.items
    return vectors.users[torch.from_numpy(users)] + added


def all_systems() -> dict[str, BenchmarkSystem]:
    """List every system by name, DeftRec first."""
    systems = [DeftRecSystem(), LightGCNSystem(), *map(PeerSystem, PEERS)]
    return {system.name: system for system in systems}


def out_of_time(info: RunInfo, options: TrainingOptions) -> bool:
    """Tell whether the time limit ended the joint stage of any member before its last epoch and its patience."""
    if options.minutes is None:
        return False
    return any(
        len(rows) < int(options.epochs) and len(rows) - info.epochs[name] < options.patience
        for name, rows in info.history.items()
        if name.startswith("joint")
    )
