"""Rankings on disk become rows: every system is read from Parquet and measured by the one evaluator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from deftrec.benchmark.peers import DEPTH
from deftrec.benchmark.slices import slices
from deftrec.benchmark.tables import DEFTREC, Comparison, Row, Slice, Summary, role_of
from deftrec.benchmark.work import Run
from deftrec.data import Cases, Fit, Interactions, Split
from deftrec.evaluation import (
    Rankings,
    Seen,
    TargetRanks,
    accuracy,
    bootstrap_interval,
    evaluate,
    mean_over_seeds,
    paired_over_seeds,
    read_rankings,
)
from deftrec.evaluation.metrics import MISSED
from deftrec.progress import Progress

COMPARED = ("ndcg@10", "hr@10")
"""What systems are compared by, and what slices show."""
REPLICATES = 10_000
"""Bootstrap replicates of a comparison; its smallest p-value is 2 / (this + 1)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One system under one seed in one table.

    Attributes:
        row: what is reported of it.
        values: the compared metrics of every asked user. Each `[N]` float64
    """

    row: Row
    values: dict[str, Tensor]


class Scorer:
    """Measures rankings for one table.

    Args:
        interactions, split: the data; test targets are asked for.
        fit: what the table's systems were fitted on.
        seen: whether items of the history are candidates.
    """

    def __init__(self, interactions: Interactions, split: Split, fit: Fit, seen: Seen) -> None:
        self.interactions, self.split, self.fit, self.seen = interactions, split, fit, seen
        self.cases: Cases = split.cases("test")
        self.training = split.training(fit)
        self.popularity = torch.from_numpy(self.training.counts(interactions.n_items))

    def of_run(self, run: Run, place: Path) -> Scored | None:
        """Measure what a system left in `place`; None where it has no rankings for this table.

        Raises:
            DataError: its rankings are damaged.
        """
        file = run.file(self.fit, self.seen)
        if file is None:
            return None
        return self._measure(read_rankings(place / file, self.interactions, self.cases, self.seen), run, self.fit)

    def of_file(self, name: str, file: Path, progress: Progress) -> Scored:
        """Measure rankings that somebody brought: of what they were fitted on nothing is known.

        Args:
            name: as the report calls them.
            file: where they are.
            progress: told what is odd about them.

        Raises:
            DataError: they are missing, damaged or of other data.
        """
        run = Run(
            name=name,
            seed=0,
            lists=(),
            settings={},
            parameters=None,
            library="brought as a file",
            train_seconds={},
            users_per_second=None,
            revision=None,
        )
        read = read_rankings(file, self.interactions, self.cases, self.seen)
        for line in read.remarks("test", self.split.name):
            progress.say(f"{name}: {line}")
        return self._measure(read, run, "unknown")

    def _measure(self, read: Rankings, run: Run, fit: Fit | Literal["unknown"]) -> Scored:
        ranks = cut(read.ranks, DEPTH)
        result = evaluate(
            ranks,
            read.top_items,
            self.popularity,
            name=run.name,
            dataset=self.interactions.meta.name,
            protocol=self.split.name,
            split="test",
            seen=self.seen,
            fit=fit,
        )
        row = Row(
            name=run.name,
            seed=run.seed,
            fit=fit,
            metrics=result.metrics,
            ci95=result.ci95,
            train_seconds=run.train_seconds.get(self.fit),
            users_per_second=run.users_per_second,
            parameters=run.parameters,
            settings=run.settings,
            library=run.library,
            budget_cut=run.budget_cut,
            revision=run.revision,
            users_missing=read.users_missing,
        )
        values = accuracy(ranks, (10,))
        return Scored(row, {metric: values[metric] for metric in COMPARED})


def cut(ranks: TargetRanks, depth: int) -> TargetRanks:
    """A target past place `depth` is a miss: a file that somebody brought may hold longer lists than systems leave."""
    past = ranks.greater >= depth
    return TargetRanks(ranks.greater.masked_fill(past, MISSED), ranks.ties.masked_fill(past, 0))


def summarise(scored: Sequence[Scored]) -> tuple[Summary, ...]:
    """A row a system, best NDCG@10 first."""
    summaries = []
    for name, of_name in _by_name(scored).items():
        rows = [one.row for one in of_name]
        means = _mean_values(of_name)
        metrics = {key: float(np.mean([row.metrics[key] for row in rows])) for key in rows[0].metrics}
        several = metrics if len(rows) > 1 else {}
        spread = {key: float(np.std([row.metrics[key] for row in rows], ddof=1)) for key in several}
        summaries.append(
            Summary(
                name=name,
                role=role_of(name),
                seeds=tuple(row.seed for row in rows),
                metrics=metrics,
                spread=spread,
                ci95={key: bootstrap_interval(values) for key, values in means.items()},
                train_seconds=_mean([row.train_seconds for row in rows]),
                users_per_second=_mean([row.users_per_second for row in rows]),
                parameters=rows[0].parameters,
                budget_cut=any(row.budget_cut for row in rows),
                fit=rows[0].fit,
            )
        )
    return tuple(sorted(summaries, key=lambda one: -one.metrics["ndcg@10"]))


def compare(scored: Sequence[Scored]) -> tuple[Comparison, ...]:
    """DeftRec against every peer on the same users, the best peer first; nothing where DeftRec is missing."""
    systems = _by_name(scored)
    if DEFTREC not in systems:
        return ()
    own, found = systems[DEFTREC], []
    for name, of_name in systems.items():
        if role_of(name) != "peer":
            continue
        for metric in COMPARED:
            mine, theirs = ([one.values[metric] for one in rows] for rows in (own, of_name))
            pair = paired_over_seeds(mine, theirs, samples=REPLICATES)
            found.append(
                Comparison(
                    peer=name,
                    metric=metric,
                    deftrec=pair.first,
                    other=pair.second,
                    difference=pair.difference,
                    ci95=pair.ci95,
                    p=pair.p,
                    ratio=pair.first / pair.second if pair.second else None,
                )
            )
    rank = {one.peer: -one.other for one in found if one.metric == "ndcg@10"}
    return tuple(sorted(found, key=lambda one: (rank[one.peer], one.peer, COMPARED.index(one.metric))))


def slice_up(scored: Sequence[Scored], scorer: Scorer) -> tuple[Slice, ...]:
    """Every system in every slice of the users."""
    systems = {name: _mean_values(of_name) for name, of_name in _by_name(scored).items()}
    return tuple(
        Slice(
            by=part.by,
            name=part.name,
            users=len(part.users),
            metrics={
                name: {metric: float(values[metric][part.users].mean()) for metric in COMPARED}
                for name, values in systems.items()
            },
        )
        for part in slices(scorer.cases, scorer.training, scorer.interactions.n_items)
    )


def _by_name(scored: Sequence[Scored]) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for one in scored:
        found.setdefault(one.row.name, []).append(one)
    return found


def _mean_values(scored: Sequence[Scored]) -> dict[str, Tensor]:
    """Each user's compared metrics, averaged over seeds. Each `[N]` float64"""
    return {metric: mean_over_seeds([one.values[metric] for one in scored]) for metric in COMPARED}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
