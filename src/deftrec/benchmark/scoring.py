"""Measure the rankings of every system with the one evaluator, and compare the systems."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from deftrec.benchmark.slices import slices
from deftrec.benchmark.tables import DEFTREC, PeerComparison, SliceResult, SystemSummary, TableRow, role_of
from deftrec.benchmark.work import SystemRun
from deftrec.data import Cases, Fit, Interactions, Split
from deftrec.evaluation import Seen, accuracy, bootstrap_interval, evaluate_file, mean_over_seeds, paired_over_seeds
from deftrec.progress import Progress

COMPARED = ("ndcg@10", "hr@10")
"""Metrics of comparisons and slices."""
REPLICATES = 10_000
"""Bootstrap replicates of a comparison; its smallest p-value is 2 / (this + 1)."""
BROUGHT = "brought as a file"
"""Library of rankings from a file."""


@dataclass(frozen=True, eq=False)
class ScoredSystem:
    """One system under one seed in one table.

    Attributes:
        row: row of the table.
        values: compared metrics of every evaluated user. Each `[N]` float64
    """

    row: TableRow
    values: dict[str, Tensor]


class TableScorer:
    """Measures rankings for one table.

    Args:
        interactions, split: data and their split; the test targets are evaluated.
        fit: part of the data that the table's systems were fitted on.
        seen: rule for items of the history.
    """

    def __init__(self, interactions: Interactions, split: Split, fit: Fit, seen: Seen) -> None:
        self.interactions, self.split, self.fit, self.seen = interactions, split, fit, seen
        self.cases: Cases = split.cases("test")
        self.training = split.training(fit)
        self.popularity = self.training.counts(interactions.n_items)

    def of_run(self, run: SystemRun, place: Path) -> ScoredSystem | None:
        """Measure the rankings that a system left in `place`; None where it has none for this table.

        Raises:
            DataError: its rankings are damaged.
        """
        file = run.file(self.fit, self.seen)
        return None if file is None else self._measure(place / file, run, self.fit)

    def of_file(self, name: str, file: Path, progress: Progress) -> ScoredSystem:
        """Measure rankings from a file of the user; their fit is unknown.

        Args:
            name: name of the row.
            file: path of the rankings.
            progress: receives remarks on the file.

        Raises:
            DataError: the file is missing, damaged or from other data.
        """
        run = SystemRun(
            name=name, seed=0, lists=(), settings={}, parameters=None, library=BROUGHT, train_seconds={},
            users_per_second=None, revision=None,
        )  # fmt: skip
        return self._measure(file, run, "unknown", progress)

    def _measure(
        self, file: Path, run: SystemRun, fit: Fit | Literal["unknown"], progress: Progress | None = None
    ) -> ScoredSystem:
        result, read = evaluate_file(
            file, self.interactions, self.split, self.popularity, name=run.name, part="test", seen=self.seen, fit=fit
        )
        if progress is not None:
            for line in read.remarks("test", self.split.name):
                progress.say(f"{run.name}: {line}")
        row = TableRow(
            fit=fit,
            metrics=result.metrics,
            ci95=result.ci95,
            train_seconds=run.train_seconds.get(self.fit),
            users_missing=read.users_missing,
            **run.model_dump(exclude={"lists", "train_seconds"}),
        )
        values = accuracy(read.ranks, (10,))
        return ScoredSystem(row, {metric: values[metric] for metric in COMPARED})


def summarise(scored: Sequence[ScoredSystem]) -> tuple[SystemSummary, ...]:
    """Average each system over its seeds, and sort by NDCG@10, best first."""
    summaries = []
    for name, of_name in _by_name(scored).items():
        rows = [one.row for one in of_name]
        means = _mean_values(of_name)
        metrics = {key: float(np.mean([row.metrics[key] for row in rows])) for key in rows[0].metrics}
        several = metrics if len(rows) > 1 else {}
        spread = {key: float(np.std([row.metrics[key] for row in rows], ddof=1)) for key in several}
        summaries.append(
            SystemSummary(
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


def compare(scored: Sequence[ScoredSystem]) -> tuple[PeerComparison, ...]:
    """Compare DeftRec with every peer on the same users, best peer first; empty without DeftRec."""
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
                PeerComparison(
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


def slice_up(scored: Sequence[ScoredSystem], scorer: TableScorer) -> tuple[SliceResult, ...]:
    """Average every system over the users of each slice."""
    systems = {name: _mean_values(of_name) for name, of_name in _by_name(scored).items()}
    return tuple(
        SliceResult(
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


def _by_name(scored: Sequence[ScoredSystem]) -> dict[str, list[ScoredSystem]]:
    found: dict[str, list[ScoredSystem]] = {}
    for one in scored:
        found.setdefault(one.row.name, []).append(one)
    return found


def _mean_values(scored: Sequence[ScoredSystem]) -> dict[str, Tensor]:
    """Average each user's compared metrics over seeds. Each `[N]` float64"""
    return {metric: mean_over_seeds([one.values[metric] for one in scored]) for metric in COMPARED}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
