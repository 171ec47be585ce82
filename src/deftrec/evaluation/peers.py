"""Run other recommenders on exactly our split, in their own environments, and evaluate what they hand back.

What a peer is given and gives is described in `benchmarks/peers/README.md`. Test targets never leave this side.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import Sequences
from deftrec.data.split import Fit, Part, Split
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.evaluation.environments import environment_python
from deftrec.evaluation.protocol import Result, Seen, evaluate
from deftrec.evaluation.rankings import read_rankings
from deftrec.files import atomic_directory, write_json

PEERS: dict[str, str] = {
    "popularity": "classic",
    "item-knn": "classic",
    "item-knn-recency": "classic",
    "ease": "classic",
    "ease-recency": "classic",
}
"""Every model, and the folder of `benchmarks/peers` that runs it."""

DEPTH = 100


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
    """Tune, fit and evaluate peers; one result a model, in the order of `models`.

    Settings are chosen by NDCG@10 on validation with the model fitted on train. Under the fit `train+validation` the
    chosen settings are fitted once more on both.
    Left in `out_dir/MODEL`: `rankings.parquet` (external ids, the best 100 items a user), `settings.json` (the chosen
    settings, all that were tried, seconds) and `result.json`.

    Args:
        interactions: the data.
        split: what is fitted and what is asked.
        models: names out of `PEERS`.
        out_dir: where to leave the rankings.
        fit: what the final model is fitted on.
        part: which targets to evaluate on.
        seen: whether items of the history are candidates, in tuning too.
        seed: of the bootstrap intervals.
        on_progress: called with a line of text now and then.

    Raises:
        ConfigError: a model is unknown; or validation is to be measured on a model that was fitted on it.
        DataError: there is nobody to choose settings on.
        DeftRecError: an environment could not be made, or a peer failed.
    """
    for name in models:
        if name not in PEERS:
            raise ConfigError(f"no peer is called {name!r}; there are {', '.join(PEERS)}")
    if part == "validation" and fit == "train+validation":
        raise ConfigError("a model fitted on train+validation has seen the validation targets; ask for the part test")
    if not len(split.cases("validation")):
        raise DataError(f"{interactions.meta.name}: no user has a validation target, so peers cannot be tuned")
    cases = split.cases(part)
    popularity = np.bincount(split.training(fit).items, minlength=interactions.n_items)
    results = []
    for name in models:
        with atomic_directory(Path(out_dir) / name) as folder:
            inputs = folder / "inputs"
            export_split(interactions, split, inputs, fit=fit, parts=[part], seen=seen)
            _run(name, inputs, folder, on_progress or (lambda line: None))
            raw = folder / f"rankings-{part}.parquet"
            _to_external_ids(raw, folder / "rankings.parquet", interactions)
            for file in (raw, *inputs.iterdir()):
                file.unlink()
            inputs.rmdir()
            read = read_rankings(folder / "rankings.parquet", interactions, cases, seen)
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
            write_json(folder / "result.json", result.to_json_dict())
        results.append(result)
    return results


def peer_settings(out_dir: str | Path, model: str) -> dict[str, Any]:
    """What `run_peers` left about a model: `settings` (the chosen ones), `validation` (all tried), and seconds."""
    settings: dict[str, Any] = json.loads((Path(out_dir) / model / "settings.json").read_text(encoding="utf-8"))
    return settings


def export_split(
    interactions: Interactions, split: Split, to: Path, *, fit: Fit, parts: Sequence[Part], seen: Seen
) -> None:
    """Write what a peer may know into the folder `to`: nothing in it comes from a test target or after one."""
    to.mkdir(parents=True)
    write_json(
        to / "meta.json",
        {
            "users": interactions.n_users,
            "items": interactions.n_items,
            "seen": seen,
            "fit": fit,
            "parts": list(parts),
            "depth": DEPTH,
        },
    )
    everyone = np.arange(interactions.n_users)
    _events(everyone, split.training("train")).write_parquet(to / "train.parquet")
    if fit == "train+validation":
        _events(everyone, split.training(fit)).write_parquet(to / "refit.parquet")
    validation = split.cases("validation")
    targets = pl.DataFrame({"user": validation.users, "target": validation.targets})
    targets.write_parquet(to / "validation-targets.parquet")
    wanted: list[Part] = ["validation", *(part for part in parts if part != "validation")]
    for part in wanted:
        cases = split.cases(part)
        _events(cases.users, cases.histories).write_parquet(to / f"{part}-histories.parquet")


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


def _run(name: str, inputs: Path, outputs: Path, on_progress: Callable[[str], None]) -> None:
    """Run one peer's script; the last thing it says is its reason where it fails."""
    folder = peers_folder() / PEERS[name]
    on_progress(f"{name}: preparing its environment")
    python = environment_python(folder / "requirements.txt")
    command = [str(python), "-I", str(folder / "run.py"), "--inputs", str(inputs), "--outputs", str(outputs)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and script; the model's name is one of ours
        [*command, "--model", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        said = "it said nothing"
        for line in process.stdout:
            if line.strip():
                said = line.strip()
                on_progress(f"{name}: {said}")
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
