"""Every system under every seed, then the tables: what is finished is kept, and a failure costs the others nothing."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from deftrec.benchmark.machine import deftrec_version, machine
from deftrec.benchmark.peers import DEPTH
from deftrec.benchmark.request import Request, claim
from deftrec.benchmark.scoring import Scored, Scorer, compare, slice_up, summarise
from deftrec.benchmark.systems import System, Task
from deftrec.benchmark.tables import DEFTREC, Data, Failure, Table, table_file
from deftrec.benchmark.work import Run, Work
from deftrec.data import Interactions, Split, make_split
from deftrec.errors import ConfigError, DataError, DeftRecError, in_a_line
from deftrec.files import write_text
from deftrec.formatting import duration
from deftrec.progress import Labelled, Progress, Silent
from deftrec.run import git_revision


def run_benchmark(
    interactions: Interactions,
    request: Request,
    systems: Sequence[System],
    out: str | Path,
    *,
    seeds: int = 1,
    peer_seeds: int | None = None,
    rankings: Mapping[str, Path] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> list[Table]:
    """Train and rank what is not finished yet in `out/work`, and write a file a table into `out`.

    Systems are taken seed by seed, so that what an interruption leaves compares. One that fails is reported in the
    tables' `failures`, and tried again by the next call; the others go on. Several processes that ask for the same
    share the work, and all of them write the same tables at the end.

    Args:
        interactions: the data of the request.
        request: what decides the results.
        systems: what is compared.
        out: the report's folder: new, empty, or of the same request.
        seeds: how many, from 0; systems without anything random run under seed 0 alone.
        peer_seeds: how many for the systems beside DeftRec; None: as many as for DeftRec.
        rankings: files that somebody brought, by the name they get in the report.
        command: for the record.
        progress: who is told.

    Returns:
        The tables, one for each fit and rule for seen items, in the order of the request.

    Raises:
        ConfigError: fewer seeds than one, or a brought file has the name of a system.
        DataError: nobody is asked; or a brought file is missing, damaged, or of other data.
        DeftRecError: `out` holds something else.
    """
    out, progress, rankings = Path(out), progress or Silent(), rankings or {}
    peer_seeds = seeds if peer_seeds is None else peer_seeds
    if min(seeds, peer_seeds) < 1:
        raise ConfigError(f"{min(seeds, peer_seeds)} seeds: a benchmark needs 1 or more")
    if request.budget_minutes is not None and not 0 < request.budget_minutes < math.inf:
        raise ConfigError(f"a budget of {request.budget_minutes:g} minutes is none; give another, or leave it out")
    for name in rankings:
        if any(name == system.name or name.startswith(f"{system.name}/") for system in systems):
            raise ConfigError(f"--rankings {name}: there is a system of that name; call the file otherwise")
    split = make_split(interactions, request.split)
    if not len(split.cases("test")):
        raise DataError(f"{interactions.meta.name}: no user has a test target, so nothing can be measured")
    scorers = [Scorer(interactions, split, fit, seen) for fit, seen in product(request.fits, request.seens)]
    brought = [[scorer.of_file(name, file, progress) for name, file in rankings.items()] for scorer in scorers]
    claim(out, request)
    work = out / "work"
    task = _task(interactions, split, request, work / "shared")
    units = _units(systems, seeds, peer_seeds)
    measured, failures = _measure_all(task, units, scorers, Work(work), progress)
    tables = []
    for number, scorer in enumerate(scorers):
        progress.say(f"comparing: fitted on {scorer.fit}, seen items {scorer.seen}")
        table = _table(scorer, [*measured[number], *brought[number]], request, failures, command)
        file = out / table_file(scorer.fit, scorer.seen, first=number == 0)
        write_text(file, table.model_dump_json(indent=2) + "\n")
        tables.append(table)
    return tables


def _task(interactions: Interactions, split: Split, request: Request, shared: Path) -> Task:
    budget = request.budget_minutes
    seconds = None if budget is None else 60 * budget
    return Task(interactions, split, request.fits, request.seens, seconds, request.config, shared)


def _units(systems: Sequence[System], seeds: int, peer_seeds: int) -> list[tuple[int, System]]:
    """Who is trained under which seed, seed by seed."""

    def wanted(system: System) -> int:
        if not system.seeds_matter:
            return 1
        return seeds if system.name == DEFTREC else peer_seeds

    return [(seed, system) for seed in range(max(seeds, peer_seeds)) for system in systems if seed < wanted(system)]


def _measure_all(
    task: Task, units: Sequence[tuple[int, System]], scorers: Sequence[Scorer], work: Work, progress: Progress
) -> tuple[list[list[Scored]], tuple[Failure, ...]]:
    """The systems that could be measured, for each scorer, and those that could not.

    What another process is at is left to it, and waited for when there is nothing else to do.
    """
    done: dict[int, list[list[Scored]] | Failure] = {}
    for wait in (False, True):
        for number, (seed, system) in enumerate(units):
            if number in done:
                continue
            label = f"{system.name}, seed {seed}" if system.seeds_matter else system.name
            progress.say(f"[{number + 1}/{len(units)}] {label}" + (", once another process is done" if wait else ""))
            try:
                with work.held(system.name, seed, wait=wait):
                    done[number] = _measure(task, system, seed, scorers, work, Labelled(progress, label))
            except BlockingIOError:
                progress.say(f"{label}: another process is at it")
    outcomes = [done[number] for number in range(len(units))]
    found = [one for one in outcomes if not isinstance(one, Failure)]
    measured = [[scored for of_unit in found for scored in of_unit[number]] for number in range(len(scorers))]
    return measured, tuple(one for one in outcomes if isinstance(one, Failure))


def _measure(
    task: Task, system: System, seed: int, scorers: Sequence[Scorer], work: Work, progress: Progress
) -> list[list[Scored]] | Failure:
    """What a system and its parts are worth, for each scorer; whatever goes wrong, the others are measured."""
    place = work.place(system.name, seed)
    try:
        runs = _finished(task, system, seed, work, progress)
        found = [[scorer.of_run(run, place) for run in runs] for scorer in scorers]
    except Exception as error:
        reason = in_a_line(error)
        if isinstance(error, DeftRecError) and place.exists():
            reason += f"; kept as {work.set_aside(system.name, seed)}, and made again next time"
        progress.say(f"failed: {reason}")
        return Failure(name=system.name, seed=seed, reason=reason)
    return [[one for one in of_scorer if one is not None] for of_scorer in found]


def _finished(task: Task, system: System, seed: int, work: Work, progress: Progress) -> tuple[Run, ...]:
    """What a system leaves under a seed, now or before."""
    runs = work.finished(system.name, seed)
    if runs is not None:
        progress.say("finished before")
        return runs
    work.forget(system.name, seed)  # a training that broke off starts again, or its seconds would be too few
    place = work.place(system.name, seed)
    place.mkdir(parents=True)
    try:
        runs = system.run(task, seed, place, progress)
    except Exception:
        work.forget(system.name, seed)
        raise
    work.finish(system.name, seed, runs)
    seconds = ", ".join(f"{fit} in {duration(value)}" for fit, value in runs[0].train_seconds.items())
    progress.say(f"{seconds}; {runs[0].users_per_second or 0:,.0f} users/s")
    return runs


def _table(
    scorer: Scorer, scored: Sequence[Scored], request: Request, failures: tuple[Failure, ...], command: str
) -> Table:
    interactions = scorer.interactions
    meta = interactions.meta
    return Table(
        dataset=meta.name,
        split=scorer.split.name,
        seen=scorer.seen,
        fit=scorer.fit,
        models=tuple(one.row for one in scored),
        machine=machine(),
        revision=git_revision(),
        command=command,
        version=deftrec_version(),
        users=len(scorer.cases),
        depth=DEPTH,
        data=Data(
            users=interactions.n_users,
            items=interactions.n_items,
            interactions=interactions.n_interactions,
            fingerprint=interactions.fingerprint,
            source=meta.source,
            filters={key: str(value) for key, value in meta.filters.items()},
        ),
        recipe=request.config.model_dump(mode="json"),
        budget_minutes=request.budget_minutes,
        fingerprint=request.fingerprint,
        summaries=summarise(scored),
        comparisons=compare(scored),
        slices=slice_up(scored, scorer),
        failures=failures,
    )
