"""Systems that need no training."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deftrec.benchmark import BenchmarkSystem
from deftrec.benchmark.systems import BenchmarkTask
from deftrec.benchmark.work import RankingFile, SystemRun
from deftrec.data import Cases, Interactions
from deftrec.evaluation import ranking_frame, write_rankings
from deftrec.progress import Progress
from deftrec.retrieval.exact import history_cells, top

Scores = Callable[[Cases, int], Tensor]


class FakeSystem(BenchmarkSystem):
    """Scores the catalogue by a function of cases and seed, and records the seeds that it runs under."""

    def __init__(self, name: str, scores: Scores, *, seeds_matter: bool = True, parts: Sequence[str] = ()) -> None:
        self.name, self.scores, self.seeds_matter = name, scores, seeds_matter
        self.parts = parts
        self.seeds_run: list[int] = []
        self.budget_cut = False
        self.fails: str | BaseException | None = None

    def run(self, task: BenchmarkTask, seed: int, folder: Path, progress: Progress) -> tuple[SystemRun, ...]:
        self.seeds_run.append(seed)
        progress.say("training")
        if isinstance(self.fails, BaseException):
            raise self.fails
        if self.fails:
            raise RuntimeError(self.fails)
        cases = task.split.cases("test")
        users = task.interactions.users.gather(cases.users).to_list()
        lists = []
        for fit in task.request.fits:
            for seen in task.request.seens:
                scores = self.scores(cases, seed).clone()
                if seen == "exclude":
                    scores[history_cells(scores, cases.histories)] = -torch.inf
                found = top(scores, 100)
                frame = ranking_frame(task.interactions, users, found.items.numpy(), found.scores.numpy())
                write_rankings(folder / f"{fit}-{seen}.parquet", [frame])
                lists.append(RankingFile(fit=fit, seen=seen, file=f"{fit}-{seen}.parquet"))
        return tuple(
            SystemRun(
                name=name,
                seed=seed,
                lists=tuple(lists),
                settings={"note": "<b>bold</b>", "seed": seed},
                parameters=1234,
                library="fake 1.0",
                train_seconds=dict.fromkeys(task.request.fits, 10.0 + seed),
                users_per_second=500.0,
                budget_cut=self.budget_cut,
                revision="abc",
            )
            for name in (self.name, *self.parts)
        )


def oracle(interactions: Interactions, right: float) -> Scores:
    """Puts the target first for a share `right` of the users, drawn by the seed, and last for the others."""

    def scores(cases: Cases, seed: int) -> Tensor:
        rng = np.random.default_rng(seed)
        lucky = torch.from_numpy(rng.random(len(cases)) < right)
        values = torch.from_numpy(rng.random((len(cases), interactions.n_items)))
        values[torch.arange(len(cases)), torch.from_numpy(cases.targets)] = torch.where(lucky, 2.0, -1.0).double()
        return values

    return scores
