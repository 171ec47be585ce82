"""Run other recommenders on the same split, in environments of their own, and evaluate their rankings.

The files of a peer's input and output are described in `benchmarks/peers/README.md`. A peer never sees test targets.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from deftrec.benchmark.work import RankingFile, SystemRun
from deftrec.data.catalogue import CATALOGUE_COLUMNS
from deftrec.data.download import default_home
from deftrec.data.interactions import Interactions
from deftrec.data.sequences import Sequences
from deftrec.data.split import Fit, Split
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.evaluation import MRR_CUTOFF, Result, Seen, evaluate_file
from deftrec.files import atomic_directory, writable, write_json
from deftrec.run import git_revision

_FAMILIES = {
    "classic": ("popularity", "repeat-history", "item-knn", "item-knn-recency", "ease", "ease-recency"),
    "implicit": ("als", "bpr"),
    "rectools": ("sasrec", "bert4rec", "hstu", "esasrec"),
    "cornac": ("tiger", "letter", "rpg", "diffgrm"),
}
PEERS = {name: folder for folder, names in _FAMILIES.items() for name in names}
"""Folder of `benchmarks/peers` that runs each model."""

DEPTH = MRR_CUTOFF  # length of the lists that every system writes
STEMS: dict[Fit, str] = {"train": "train", "train+validation": "refit"}  # stem of a peer's file names for each fit

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""Variables that libraries read their number of threads from, at import."""


class PeerRequest(NamedTuple):
    """Tables and costs of a peer's training.

    Attributes:
        fits, seens: fits and rules for seen items, one table for each pair.
        seed: seed of the training.
        budget_seconds: longest search for settings; one setting is always trained, for at most this time.
        threads: number of threads.
    """

    fits: Sequence[Fit] = ("train",)
    seens: Sequence[Seen] = ("exclude",)
    seed: int = 0
    budget_seconds: float | None = None
    threads: int = 1


def run_peer(
    interactions: Interactions,
    split: Split,
    name: str,
    out_dir: str | Path,
    request: PeerRequest,
    on_progress: Callable[[str], None] | None = None,
) -> SystemRun:
    """Tune a peer, one of `PEERS`, once, and rank for every test user, fit and rule for seen items.

    Settings are chosen by NDCG@10 on validation with the model fitted on train, seen items excluded where `exclude` is
    among `seens`. Under the fit `train+validation` the chosen settings are trained once more on both. `out_dir/NAME`
    appears when complete, with `rankings-{fit}-{seen}.parquet` and `settings.json`, the peer's own report: chosen
    settings, all tried settings, and seconds. Raises a `ConfigError` if the peer is unknown; a `DataError` if no user
    has a validation target, or none has a test target; and a `DeftRecError` if the environment could not be created, or
    the peer failed.

    Args:
        interactions, split, name, out_dir: data, peer, and parent folder of the results.
        on_progress: called with lines of text.
    """
    _check(interactions, split, [name])
    lists = []
    with atomic_directory(Path(out_dir) / name) as folder:
        inputs = folder / "inputs"
        export_split(interactions, split, inputs, request)
        _run(name, inputs, folder, request.threads, on_progress or (lambda line: None))
        for fit, seen in product(request.fits, request.seens):
            raw, file = folder / f"rankings-test-{STEMS[fit]}-{seen}.parquet", f"rankings-{fit}-{seen}.parquet"
            _to_external_ids(raw, folder / file, interactions)
            raw.unlink()
            lists.append(RankingFile(fit, seen, f"{name}/{file}"))
        shutil.rmtree(inputs)
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    seconds = settings["seconds"]
    return SystemRun(
        name=name,
        seed=request.seed,
        lists=tuple(lists),
        settings=settings,
        parameters=settings["parameters"],
        library=settings["library"],
        train_seconds={fit: seconds["tune"] + (seconds["refit"] if fit != "train" else 0.0) for fit in request.fits},
        users_per_second=settings["users_ranked_per_second"],
        budget_cut=bool(settings.get("cut", False)),
        revision=git_revision(),
    )


def run_peers(
    interactions: Interactions,
    split: Split,
    models: Sequence[str],
    out_dir: str | Path,
    fit: Fit = "train",
    *,
    seen: Seen = "exclude",
    budget_seconds: float | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> list[Result]:
    """Tune, fit and evaluate peers under one fit and one rule for seen items; one result per model, in order.

    `out_dir/MODEL` receives the files of `run_peer` and `result.json`. The search for settings of one peer ends after
    `budget_seconds`; None: when all were tried.

    Errors are those of `run_peer`; invalid arguments are found before anything runs.
    """
    _check(interactions, split, models)
    popularity = split.training(fit).targets().counts(interactions.n_items)
    results = []
    for name in models:
        request = PeerRequest([fit], [seen], budget_seconds=budget_seconds)
        run = run_peer(interactions, split, name, out_dir, request, on_progress)
        file = Path(out_dir) / run.lists[0].file
        result, _ = evaluate_file(file, interactions, split, popularity, name=name, part="test", seen=seen, fit=fit)
        write_json(file.with_name("result.json"), result.to_json_dict())
        results.append(result)
    return results


def peer_view(split: Split) -> Callable[[Sequences], Sequences]:
    """The interactions that peers read, which know no roles: targets alone, or all but dislikes if some user lacks one.

    So what a peer leaves out as seen is what DeftRec leaves out: what was bought, not what was looked at.
    """
    cases = [split.cases(part) for part in ("validation", "test")]
    if all((one.histories.targets().lengths > 0).all() for one in cases):
        return Sequences.targets
    return Sequences.liked


def export_split(interactions: Interactions, split: Split, to: Path, request: PeerRequest) -> None:
    """Write the input of a peer to the folder `to`; it holds no test target and nothing later."""
    to.mkdir(parents=True)
    meta = {
        "users": interactions.n_users,
        "items": interactions.n_items,
        "fits": list(request.fits),
        "seen": list(request.seens),
        "parts": ["test"],
        "depth": DEPTH,
        "seed": request.seed,
        "budget_seconds": request.budget_seconds,
        "threads": request.threads,
    }
    write_json(to / "meta.json", meta)
    everyone, view = np.arange(interactions.n_users), peer_view(split)
    for fit, stem in STEMS.items():
        if fit == "train" or fit in request.fits:
            _events(everyone, view(split.training(fit))).write_parquet(to / f"{stem}.parquet")
    validation, test = split.cases("validation"), split.cases("test")
    targets = pl.DataFrame({"user": validation.users, "target": validation.targets})
    targets.write_parquet(to / "validation-targets.parquet")
    for part, cases in (("validation", validation), ("test", test)):
        _events(cases.users, view(cases.histories)).write_parquet(to / f"{part}-histories.parquet")
    numbers = pl.Series("item", np.arange(interactions.n_items))
    interactions.catalogue.select(numbers, *CATALOGUE_COLUMNS).write_parquet(to / "item-text.parquet")


def peers_folder() -> Path:
    """Find the peers' scripts: `deftrec/peers` of an installed wheel, or `benchmarks/peers` of a source checkout.

    Raises a `DeftRecError` if neither exists.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "peers", package.parents[1] / "benchmarks" / "peers"):
        if folder.is_dir():
            return folder
    message = f"the peers are neither in {package} nor beside it; install deftrec from its wheel or a checkout"
    raise DeftRecError(message)


def _check(interactions: Interactions, split: Split, names: Sequence[str]) -> None:
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    if not len(split.cases("validation")):
        raise DataError(f"{interactions.meta.name}: no user has a validation target, so peers cannot be tuned")
    if not len(split.cases("test")):
        raise DataError(f"{interactions.meta.name}: no user has a test target, so there is no user to rank for")


def _run(name: str, inputs: Path, outputs: Path, threads: int, on_progress: Callable[[str], None]) -> None:
    """Run one peer's script; its last line is the reason of a failure."""
    folder = peers_folder() / PEERS[name]
    on_progress(f"{name}: preparing its environment")
    python = environment_python(folder / "requirements.txt")
    command = [str(python), "-I", str(folder / "run.py"), "--inputs", str(inputs), "--outputs", str(outputs)]
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    with subprocess.Popen(  # noqa: S603 - our own interpreter and script; the model's name is one of ours
        [*command, "--model", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = "no output"
        try:
            for line in process.stdout:
                if line.strip():
                    said = line.strip()
                    on_progress(f"{name}: {said}")
        except BaseException:  # also after Ctrl-C: the peer must not go on alone
            process.kill()
            raise
    if process.returncode:
        raise DeftRecError(f"the peer {name!r} failed with exit code {process.returncode}: {said}")


def _to_external_ids(source: Path, to: Path, interactions: Interactions) -> None:
    """Replace numbers of users and items by their ids, as a stream."""
    users = pl.LazyFrame({"user": np.arange(interactions.n_users), "id": interactions.users})
    items = pl.LazyFrame({"item": np.arange(interactions.n_items), "name": interactions.catalogue["item"]})
    rows = pl.scan_parquet(source)
    for column, ids in (("user", users), ("item", items)):
        rows = rows.join(ids, on=column, how="left", maintain_order="left")
    rows.select(pl.col("id").alias("user"), pl.col("name").alias("item"), "rank", "score").sink_parquet(to)


def _events(users: np.ndarray, sequences: Sequences) -> pl.DataFrame:
    """Make one row per entry of `sequences`; the n-th sequence belongs to `users[n]`."""
    lengths = sequences.lengths
    position = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], lengths)
    return pl.DataFrame({"user": np.repeat(users, lengths), "item": sequences.items, "position": position})


def environment_python(requirements: Path, home: Path | None = None) -> Path:
    """Find or create an environment with exactly `requirements`, and return its interpreter.

    Its folder is `home/environments/NAME-HASH`, with a hash of the requirements and of this Python's version; `home`
    is `default_home()` unless given. It is built under another name and renamed when complete: then its interpreter
    works, its scripts in `bin` hold the old path. Of two processes that build it, one environment is kept.

    Raises:
        DeftRecError: the environment could not be created; the message holds pip's reason.
    """
    place = _place(requirements, home)
    if not _python(place).exists():  # missing, or its Python was removed
        shutil.rmtree(place, ignore_errors=True)
        _make(place, requirements)
    return _python(place)


def _place(requirements: Path, home: Path | None) -> Path:
    version = ".".join(map(str, sys.version_info[:3]))
    content = f"{version} {sys.platform}\n{requirements.read_text(encoding='utf-8')}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return (home or default_home()) / "environments" / f"{requirements.parent.name}-{digest[:16]}"


def _make(place: Path, requirements: Path) -> None:
    with writable(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        try:
            venv.create(building, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"{building}: no environment could be created for {requirements} ({error})"
            raise DeftRecError(f"{reason}; install the venv module of this Python (Debian: python3-venv)") from error
        # Peers pin versions of their own: constraints of the surrounding installation do not apply.
        surroundings = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
        pip = [str(_python(building)), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--only-binary", ":all:", "-r", str(requirements)]
        run = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)  # noqa: S603
        if run.returncode:
            reasons = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
            reason = (reasons or run.stderr.splitlines() or ["no reason given"])[-1]
            once = f"it needs a package registry once, later runs use the environment in {place.parent}"
            raise DeftRecError(f"pip could not install {requirements} ({reason}); {once}")
        try:
            building.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
