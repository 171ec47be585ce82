"""Run other recommenders on exactly our split, in their own environments, and evaluate what they hand back.

What a peer is given and gives is described in `benchmarks/peers/README.md`. Test targets never leave this side.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from deftrec.benchmark.environments import environment_python
from deftrec.data.interactions import CATALOGUE_COLUMNS, Interactions
from deftrec.data.sequences import Sequences
from deftrec.data.split import Fit, Part, Split
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.evaluation.protocol import Result, Seen, evaluate
from deftrec.evaluation.rankings import read_rankings
from deftrec.files import atomic_directory, write_json

PEERS: dict[str, str] = {
    "popularity": "classic",
    "repeat-history": "classic",
    "item-knn": "classic",
    "item-knn-recency": "classic",
    "ease": "classic",
    "ease-recency": "classic",
    "als": "implicit",
    "bpr": "implicit",
    "sasrec": "rectools",
    "bert4rec": "rectools",
    "hstu": "rectools",
    "esasrec": "rectools",
    "tiger": "cornac",
    "letter": "cornac",
    "rpg": "cornac",
    "diffgrm": "cornac",
}
"""Every model, and the folder of `benchmarks/peers` that runs it."""

DEPTH = 100
STEMS: dict[Fit, str] = {"train": "train", "train+validation": "refit"}
"""How a peer's files of a fit are called."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""The variables that libraries read their number of threads from, when they are loaded."""


@dataclass(frozen=True)
class PeerRun:
    """One tuning of a peer, and the rankings it gave.

    Attributes:
        name: the peer.
        seed: of everything random in it.
        rankings: a file of rankings (external ids, the best 100 items a user) for every fit and table.
        settings: the peer's own report, `settings.json`: the chosen settings, all that were tried, seconds, and whether
            the budget cut something off.
        parameters: how many learnt numbers it holds to serve, in its last fit; None where nobody can say.
        library: what computed, with its version.
        train_seconds: of each fit, the tuning counted with both.
        users_per_second: how fast it ranked them for one table, files not counted, one after the other or in batches as
            its library does it.
    """

    name: str
    seed: int
    rankings: dict[tuple[Fit, Seen], Path]
    settings: dict[str, Any]
    parameters: int | None
    library: str
    train_seconds: dict[Fit, float]
    users_per_second: float


def run_peer(
    interactions: Interactions,
    split: Split,
    name: str,
    out_dir: str | Path,
    *,
    fits: Sequence[Fit] = ("train",),
    seens: Sequence[Seen] = ("exclude",),
    part: Part = "test",
    seed: int = 0,
    budget_seconds: float | None = None,
    threads: int = 1,
    on_progress: Callable[[str], None] | None = None,
) -> PeerRun:
    """Tune a peer once and rank for every fit and table that is asked for.

    Settings are chosen by NDCG@10 on validation with the model fitted on train, seen items excluded where `exclude` is
    among `seens`. Under the fit `train+validation` the chosen settings are trained once more on both.
    Left in `out_dir/NAME`, all at once: `rankings-{fit}-{seen}.parquet` and `settings.json`.

    Args:
        interactions: the data.
        split: what is fitted and what is asked.
        name: one of `PEERS`.
        out_dir: where to leave the rankings.
        fits: what models are fitted on.
        seens: the tables: whether items of the history are candidates.
        part: which targets are asked for.
        seed: of everything random in the peer.
        budget_seconds: how long it may search for settings; one setting is always trained, for no longer than that.
        threads: how many threads it may compute with.
        on_progress: called with a line of text now and then.

    Raises:
        ConfigError: there is no such peer; or validation is asked of a model that was fitted on it.
        DataError: there is nobody to choose settings on, or nobody to rank for.
        DeftRecError: the environment could not be made, or the peer failed.
    """
    _check(interactions, split, [name], fits, part)
    with atomic_directory(Path(out_dir) / name) as folder:
        inputs = folder / "inputs"
        export_split(
            interactions, split, inputs, fits=fits, parts=[part], seens=seens, seed=seed,
            budget_seconds=budget_seconds, threads=threads,
        )  # fmt: skip
        _run(name, inputs, folder, threads, on_progress or (lambda line: None))
        for fit in fits:
            for seen in seens:
                raw = folder / f"rankings-{part}-{STEMS[fit]}-{seen}.parquet"
                _to_external_ids(raw, folder / _file(fit, seen), interactions)
                raw.unlink()
        shutil.rmtree(inputs)
    settings = peer_settings(out_dir, name)
    seconds = settings["seconds"]
    return PeerRun(
        name=name,
        seed=seed,
        rankings={(fit, seen): Path(out_dir) / name / _file(fit, seen) for fit in fits for seen in seens},
        settings=settings,
        parameters=settings["parameters"],
        library=settings["library"],
        train_seconds={fit: seconds["tune"] + (seconds["refit"] if fit != "train" else 0.0) for fit in fits},
        users_per_second=settings["users_ranked_per_second"],
    )


def run_peers(
    interactions: Interactions,
    split: Split,
    models: Sequence[str],
    out_dir: str | Path,
    fit: Fit = "train",
    *,
    part: Part = "test",
    seen: Seen = "exclude",
    seed: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> list[Result]:
    """Tune, fit and evaluate peers under one fit and one table; one result a model, in the order of `models`.

    Left in `out_dir/MODEL`: what `run_peer` leaves, and `result.json`.

    Args:
        models: names out of `PEERS`.
        seed: of the peers, and of the bootstrap intervals.
        interactions, split, out_dir, fit, part, seen, on_progress: as for `run_peer`.

    Raises:
        ConfigError, DataError, DeftRecError: as for `run_peer`, before anything runs where that can be known.
    """
    _check(interactions, split, models, [fit], part)
    cases = split.cases(part)
    popularity = split.training(fit).counts(interactions.n_items)
    results = []
    for name in models:
        ran = run_peer(
            interactions, split, name, out_dir, fits=[fit], seens=[seen], part=part, seed=seed, on_progress=on_progress
        )
        read = read_rankings(ran.rankings[fit, seen], interactions, cases, seen)
        result = evaluate(
            read.ranks,
            read.top_items,
            torch.from_numpy(popularity),
            name=name,
            dataset=interactions.meta.name,
            protocol=split.name,
            split=part,
            seen=seen,
            fit=fit,
            seed=seed,
        )
        write_json(Path(out_dir) / name / "result.json", result.to_json_dict())
        results.append(result)
    return results


def peer_settings(out_dir: str | Path, model: str) -> dict[str, Any]:
    """What a peer reported of its run: `settings` (the chosen ones), `validation` (all tried), seconds, and more."""
    settings: dict[str, Any] = json.loads((Path(out_dir) / model / "settings.json").read_text(encoding="utf-8"))
    return settings


def export_split(
    interactions: Interactions,
    split: Split,
    to: Path,
    *,
    fits: Sequence[Fit],
    parts: Sequence[Part],
    seens: Sequence[Seen],
    seed: int = 0,
    budget_seconds: float | None = None,
    threads: int = 1,
) -> None:
    """Write what a peer may know into the folder `to`: nothing in it comes from a test target or after one."""
    to.mkdir(parents=True)
    write_json(
        to / "meta.json",
        {
            "users": interactions.n_users,
            "items": interactions.n_items,
            "fits": list(fits),
            "seen": list(seens),
            "parts": list(parts),
            "depth": DEPTH,
            "seed": seed,
            "budget_seconds": budget_seconds,
            "threads": threads,
        },
    )
    everyone = np.arange(interactions.n_users)
    _events(everyone, split.training("train")).write_parquet(to / "train.parquet")
    if "train+validation" in fits:
        _events(everyone, split.training("train+validation")).write_parquet(to / "refit.parquet")
    validation = split.cases("validation")
    targets = pl.DataFrame({"user": validation.users, "target": validation.targets})
    targets.write_parquet(to / "validation-targets.parquet")
    wanted: list[Part] = ["validation", *(part for part in parts if part != "validation")]
    for part in wanted:
        cases = split.cases(part)
        _events(cases.users, cases.histories).write_parquet(to / f"{part}-histories.parquet")
    numbers = pl.Series("item", np.arange(interactions.n_items))
    text = interactions.catalogue.select(numbers, *CATALOGUE_COLUMNS)
    text.write_parquet(to / "item-text.parquet")


def peers_folder() -> Path:
    """Where the peers' scripts lie: `deftrec/peers` of an installed wheel, `benchmarks/peers` of a source checkout.

    Raises:
        DeftRecError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "peers", package.parents[1] / "benchmarks" / "peers"):
        if folder.is_dir():
            return folder
    raise DeftRecError(
        f"the peers are neither in {package} nor beside it; install deftrec from its wheel or a checkout"
    )


def _check(interactions: Interactions, split: Split, names: Sequence[str], fits: Sequence[Fit], part: Part) -> None:
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    if part == "validation" and "train+validation" in fits:
        raise ConfigError("a model fitted on train+validation has seen the validation targets; ask for the part test")
    if not len(split.cases("validation")):
        raise DataError(f"{interactions.meta.name}: no user has a validation target, so peers cannot be tuned")
    if not len(split.cases(part)):
        raise DataError(f"{interactions.meta.name}: no user has a {part} target, so there is nobody to rank for")


def _file(fit: Fit, seen: Seen) -> str:
    return f"rankings-{fit}-{seen}.parquet"


def _run(name: str, inputs: Path, outputs: Path, threads: int, on_progress: Callable[[str], None]) -> None:
    """Run one peer's script; the last thing it says is its reason where it fails."""
    folder = peers_folder() / PEERS[name]
    on_progress(f"{name}: preparing its environment")
    python = environment_python(folder / "requirements.txt")
    command = [str(python), "-I", str(folder / "run.py"), "--inputs", str(inputs), "--outputs", str(outputs)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and script; the model's name is one of ours
        [*command, "--model", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
    ) as process:
        assert process.stdout is not None
        said = "it said nothing"
        try:
            for line in process.stdout:
                if line.strip():
                    said = line.strip()
                    on_progress(f"{name}: {said}")
        except BaseException:  # an interruption, too: nobody would hear what the peer goes on computing
            process.kill()
            raise
    if process.returncode:
        raise DeftRecError(f"the peer {name!r} failed with exit code {process.returncode}: {said}")


def _to_external_ids(source: Path, to: Path, interactions: Interactions) -> None:
    """Replace the numbers of users and items by their ids, streaming."""
    users = pl.LazyFrame({"user": np.arange(interactions.n_users), "id": interactions.users})
    items = pl.LazyFrame({"item": np.arange(interactions.n_items), "name": interactions.catalogue["item"]})
    rows = pl.scan_parquet(source).join(users, on="user", how="left", maintain_order="left")
    rows = rows.join(items, on="item", how="left", maintain_order="left")
    rows.select(pl.col("id").alias("user"), pl.col("name").alias("item"), "rank", "score").sink_parquet(to)


def _events(users: np.ndarray, sequences: Sequences) -> pl.DataFrame:
    """One row an entry of `sequences`, the n-th of which belongs to `users[n]`."""
    lengths = sequences.lengths
    position = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], lengths)
    return pl.DataFrame({"user": np.repeat(users, lengths), "item": sequences.items, "position": position})
