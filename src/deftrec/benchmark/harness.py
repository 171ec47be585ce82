"""Run every system under every seed and build the tables; finished work is kept, and one failure stops nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from deftrec import __version__
from deftrec.benchmark.machine import machine, uncommitted_changes
from deftrec.benchmark.peers import DEPTH
from deftrec.benchmark.request import BenchmarkRequest, claim
from deftrec.benchmark.scoring import ScoredSystem, TableScorer
from deftrec.benchmark.systems import BenchmarkSystem, BenchmarkTask
from deftrec.benchmark.tables import DEFTREC, BenchmarkTable, DataFacts, Failure, table_file
from deftrec.benchmark.work import SystemRun, WorkFolder
from deftrec.data import Interactions, make_split
from deftrec.errors import ConfigError, DataError, DeftRecError, in_a_line
from deftrec.files import write_text
from deftrec.formatting import duration
from deftrec.progress import Labelled, Progress, Silent
from deftrec.recipe import with_events
from deftrec.run import git_revision


def run_benchmark(
    interactions: Interactions,
    request: BenchmarkRequest,
    systems: Sequence[BenchmarkSystem],
    out: str | Path,
    *,
    seeds: int = 1,
    peer_seeds: int | None = None,
    rankings: Mapping[str, Path] | None = None,
    command: str = "",
    allow_dirty: bool = False,
    progress: Progress | None = None,
) -> list[BenchmarkTable]:
    """Train and rank everything that `out/work` does not hold yet, and write one file per table to `out`.

    Systems run seed by seed, so the results of an interrupted benchmark are comparable. A failed system is listed in
    the tables' `failures` and repeated by the next call; the others continue. Processes that call this with the same
    arguments share the work, and each of them writes the same tables at the end.

    Args:
        interactions, request, systems: data, options that decide the results, and compared systems.
        out: folder of the report: new, empty, or of the same request.
        seeds: number of seeds, from 0; systems without anything random run under seed 0 only.
        peer_seeds: number of seeds of the peers; None for `seeds`.
        rankings: Parquet files with rankings of the user, by the name of their row.
        command: command to record.
        allow_dirty: whether to run from a checkout with uncommitted changes; they are stored in `out`.

    Returns:
        One table for each fit and rule for seen items, in the order of the request.

    Raises:
        ConfigError: fewer than one seed, or a file of rankings has the name of a system.
        DataError: no user has a test target; or a file of rankings is missing, damaged, or from other data.
        DeftRecError: `out` holds something else, or the checkout has uncommitted changes.
    """
    out, progress, rankings = Path(out), progress or Silent(), rankings or {}
    peer_seeds = seeds if peer_seeds is None else peer_seeds
    if min(seeds, peer_seeds) < 1:
        raise ConfigError(f"{min(seeds, peer_seeds)} seeds: a benchmark needs 1 or more")
    minutes = request.budget_minutes
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"a budget of {minutes:g} minutes is not positive and finite; change it")
    for name in rankings:
        if any(name == system.name or name.startswith(f"{system.name}/") for system in systems):
            raise ConfigError(f"rankings {name!r}: a system has that name; choose another")
    interactions = with_events(request.config, interactions)[1]  # targets are those of the roles
    split = make_split(interactions, request.split)
    if not len(split.cases("test")):
        raise DataError(f"{interactions.meta.name}: no user has a test target, so nothing can be measured")
    scorers = [TableScorer(interactions, split, fit, seen) for fit, seen in product(request.fits, request.seens)]
    scored = [[scorer.of_file(name, file, progress) for name, file in rankings.items()] for scorer in scorers]
    changes = uncommitted_changes()
    if changes is not None and not allow_dirty:
        raise DeftRecError(
            f"{changes.checkout}: the checkout has uncommitted changes, so its revision does not name the code that "
            "runs; commit them, or give `allow_dirty=True` to store them beside the results"
        )
    claim(out, request)
    uncommitted = None if changes is None else changes.write(out)
    work = out / "work"
    task = BenchmarkTask(interactions, split, request, work / "shared")
    counts = {system: seeds if system.name == DEFTREC else peer_seeds for system in systems}
    counts |= {system: 1 for system in systems if not system.seeds_matter}
    units = [(seed, one) for seed in range(max(seeds, peer_seeds)) for one, count in counts.items() if seed < count]
    measured, failures = _Measurement(task, scorers, WorkFolder(work), uncommitted, progress).all(units)
    common = _common(interactions, request) | {"command": command, "uncommitted": uncommitted, "failures": failures}
    tables = []
    for number, scorer in enumerate(scorers):
        progress.say(f"comparing: fitted on {scorer.fit}, seen items {scorer.seen}")
        table = scorer.table([*measured[number], *scored[number]], **common)
        file = out / table_file(scorer.fit, scorer.seen, first=number == 0)
        write_text(file, table.model_dump_json(indent=2) + "\n")
        tables.append(table)
    return tables


@dataclass(frozen=True, eq=False)
class _Measurement:
    """Trains and measures systems, or reads what an earlier call finished."""

    task: BenchmarkTask
    scorers: Sequence[TableScorer]
    work: WorkFolder
    uncommitted: str | None
    progress: Progress

    def all(self, units: Sequence[tuple[int, BenchmarkSystem]]) -> tuple[list[list[ScoredSystem]], tuple[Failure, ...]]:
        """Measure the units; return the measured systems for each scorer, and the failures.

        Work that another process holds is left to it, and awaited when nothing else remains.
        """
        done: dict[int, list[list[ScoredSystem]] | Failure] = {}
        for wait in (False, True):
            for number, (seed, system) in enumerate(units):
                if number in done:
                    continue
                label = f"{system.name}, seed {seed}" if system.seeds_matter else system.name
                self.progress.say(f"[{number + 1}/{len(units)}] {label}" + (", after another process" if wait else ""))
                try:
                    with self.work.held(system.name, seed, wait=wait):
                        done[number] = self.one(system, seed, Labelled(self.progress, label))
                except BlockingIOError:
                    self.progress.say(f"{label}: another process works on it")
        outcomes = [done[number] for number in range(len(units))]
        found = [one for one in outcomes if not isinstance(one, Failure)]
        measured = [[scored for unit in found for scored in unit[number]] for number in range(len(self.scorers))]
        return measured, tuple(one for one in outcomes if isinstance(one, Failure))

    def one(self, system: BenchmarkSystem, seed: int, progress: Progress) -> list[list[ScoredSystem]] | Failure:
        """Measure a system and its parts for each scorer; every error becomes a failure."""
        place = self.work.place(system.name, seed)
        try:
            runs = self.finished(system, seed, progress)
            found = [[scorer.of_run(run, place) for run in runs] for scorer in self.scorers]
        except Exception as error:
            reason = in_a_line(error)
            if isinstance(error, DeftRecError) and place.exists():
                reason += f"; kept as {self.work.set_aside(system.name, seed)}, and repeated by the next call"
            progress.say(f"failed: {reason}")
            return Failure(name=system.name, seed=seed, reason=reason)
        return [[one for one in of_scorer if one is not None] for of_scorer in found]

    def finished(self, system: BenchmarkSystem, seed: int, progress: Progress) -> tuple[SystemRun, ...]:
        """Read the record of a system and seed, or make it."""
        runs = self.work.finished(system.name, seed)
        if runs is not None:
            progress.say("finished before")
            return runs
        self.work.forget(system.name, seed)  # an interrupted training starts again: its seconds would be too few
        place = self.work.place(system.name, seed)
        place.mkdir(parents=True)
        try:
            runs = system.run(self.task, seed, place, progress)
        except Exception:
            self.work.forget(system.name, seed)
            raise
        runs = tuple(run.model_copy(update={"uncommitted": self.uncommitted}) for run in runs)
        self.work.finish(system.name, seed, runs)
        seconds = ", ".join(f"{fit} in {duration(value)}" for fit, value in runs[0].train_seconds.items())
        progress.say(f"{seconds}; {runs[0].users_per_second or 0:,.0f} users/s")
        return runs


def _common(interactions: Interactions, request: BenchmarkRequest) -> dict[str, Any]:
    """Facts that the tables of a benchmark share."""
    meta = interactions.meta
    data = DataFacts(
        users=interactions.n_users,
        items=interactions.n_items,
        interactions=interactions.n_interactions,
        fingerprint=interactions.fingerprint,
        source=meta.source,
        filters={key: str(value) for key, value in meta.filters.items()},
    )
    code = {"machine": machine(), "revision": git_revision(), "version": __version__, "depth": DEPTH}
    recipe, minutes = request.config.model_dump(mode="json"), request.budget_minutes
    return code | {"data": data, "recipe": recipe, "budget_minutes": minutes, "fingerprint": request.fingerprint}
