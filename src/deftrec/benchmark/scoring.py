"""Measure the rankings of every system with the one evaluator, and compare the systems."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from deftrec.benchmark.slices import UserSlice, slices
from deftrec.benchmark.tables import (
    DEFTREC,
    BenchmarkTable,
    PeerComparison,
    SliceResult,
    SystemSummary,
    TableRow,
    role_of,
)
from deftrec.benchmark.work import SystemRun
from deftrec.data import Fit, Interactions, Split
from deftrec.evaluation import Seen, accuracy, bootstrap_interval, evaluate_file, mean_over_seeds, paired_over_seeds
from deftrec.evaluation.protocol import FitOrUnknown
from deftrec.progress import Progress, Silent

COMPARED = ("ndcg@10", "hr@10")  # metrics of comparisons and slices
REPLICATES = 10_000  # bootstrap replicates of a comparison; its smallest p-value is 2 / (this + 1)
BROUGHT = "brought as a file"  # library of rankings from a file


class ScoredSystem(NamedTuple):
    """Row of one system under one seed in one table, with the compared metrics of every user, each `[N]` float64."""

    row: TableRow
    values: Mapping[str, Tensor]


class TableScorer:
    """Measures rankings of the test users for the table of one fit and one rule for seen items."""

    def __init__(self, interactions: Interactions, split: Split, fit: Fit, seen: Seen) -> None:
        self.interactions, self.split, self.fit, self.seen = interactions, split, fit, seen
        self.training = split.training(fit)
        self.popularity = self.training.targets().counts(interactions.n_items)

    def of_run(self, run: SystemRun, place: Path) -> ScoredSystem | None:
        """Measure the rankings that a system left in `place`; None where it has none for this table.

        Raises a `DataError` if its rankings are damaged.
        """
        file = run.file(self.fit, self.seen)
        return None if file is None else self._measure(place / file, run, self.fit, Silent())

    def of_file(self, name: str, file: Path, progress: Progress) -> ScoredSystem:
        """Measure rankings from a file of the user, of unknown fit, for a row `name`; `progress` receives remarks.

        Raises a `DataError` if the file is missing, damaged or from other data.
        """
        run = SystemRun(name=name, seed=0, settings={}, library=BROUGHT, lists=(), train_seconds={})
        return self._measure(file, run, "unknown", progress)

    def _measure(self, file: Path, run: SystemRun, fit: FitOrUnknown, progress: Progress) -> ScoredSystem:
        result, read = evaluate_file(
            file, self.interactions, self.split, self.popularity, name=run.name, part="test", seen=self.seen, fit=fit
        )
        for line in read.remarks("test", self.split.name):
            progress.say(f"{run.name}: {line}")
        facts = run.model_dump(exclude={"lists", "train_seconds"}) | result.model_dump(
            include={"fit", "metrics", "ci95"}
        )
        row = TableRow(train_seconds=run.train_seconds.get(self.fit), users_missing=read.users_missing, **facts)
        values = accuracy(read.ranks, (10,))
        return ScoredSystem(row, {metric: values[metric] for metric in COMPARED})

    def table(self, scored: Sequence[ScoredSystem], **common: Any) -> BenchmarkTable:
        """Compare the measured systems; `common` are the fields that all tables of a benchmark share."""
        systems: dict[str, list[ScoredSystem]] = {}
        for one in scored:
            systems.setdefault(one.row.name, []).append(one)
        cases = self.split.cases("test")
        groups = slices(cases, self.training, self.interactions.n_items)
        return BenchmarkTable(
            dataset=self.interactions.meta.name,
            split=self.split.name,
            seen=self.seen,
            fit=self.fit,
            users=len(cases),
            models=tuple(one.row for one in scored),
            summaries=summarise(systems),
            comparisons=compare(systems),
            slices=slice_up(systems, groups),
            **common,
        )


def slice_up(systems: Mapping[str, Sequence[ScoredSystem]], groups: Sequence[UserSlice]) -> tuple[SliceResult, ...]:
    """Average every system over the users of each group."""
    means = {name: _mean_values(scored) for name, scored in systems.items()}
    found = []
    for by, name, users in groups:
        metrics = {
            system: {metric: float(values[metric][users].mean()) for metric in COMPARED}
            for system, values in means.items()
        }
        found.append(SliceResult(by=by, name=name, users=len(users), metrics=metrics))
    return tuple(found)


def summarise(systems: Mapping[str, Sequence[ScoredSystem]]) -> tuple[SystemSummary, ...]:
    """Average each system over its seeds, and sort by NDCG@10, best first."""
    summaries = []
    for name, scored in systems.items():
        rows = [one.row for one in scored]
        seeds = {key: [row.metrics[key] for row in rows] for key in rows[0].metrics}
        summaries.append(
            SystemSummary(
                name=name,
                role=role_of(name),
                seeds=tuple(row.seed for row in rows),
                metrics={key: float(np.mean(values)) for key, values in seeds.items()},
                spread={key: float(np.std(values, ddof=1)) for key, values in seeds.items() if len(values) > 1},
                ci95={key: bootstrap_interval(values) for key, values in _mean_values(scored).items()},
                train_seconds=_mean([row.train_seconds for row in rows]),
                users_per_second=_mean([row.users_per_second for row in rows]),
                parameters=rows[0].parameters,
                budget_cut=any(row.budget_cut for row in rows),
                fit=rows[0].fit,
            )
        )
    return tuple(sorted(summaries, key=lambda one: -one.metrics["ndcg@10"]))


def compare(systems: Mapping[str, Sequence[ScoredSystem]]) -> tuple[PeerComparison, ...]:
    """Compare DeftRec with every peer on the same users, best peer first; empty without DeftRec."""
    found: list[tuple[float, str, list[PeerComparison]]] = []
    for name, scored in systems.items() if DEFTREC in systems else ():
        if role_of(name) != "peer":
            continue
        rows = []
        for metric in COMPARED:
            own, other = ([one.values[metric] for one in side] for side in (systems[DEFTREC], scored))
            pair = paired_over_seeds(own, other, samples=REPLICATES)
            rows.append(
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
        found.append((-rows[0].other, name, rows))
    return tuple(one for *_, rows in sorted(found, key=lambda peer: peer[:2]) for one in rows)


def _mean_values(scored: Sequence[ScoredSystem]) -> dict[str, Tensor]:
    """Average each user's compared metrics over seeds. Each `[N]` float64"""
    return {metric: mean_over_seeds([one.values[metric] for one in scored]) for metric in COMPARED}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
