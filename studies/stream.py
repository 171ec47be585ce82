"""Updates, fine-tuning and retraining in a time-ordered replay: what each is worth, and what it costs.

    python -m studies.stream --data data/ml-1m --out reports/stream-ml-1m.json

Trains on the first half of all interactions by time, then replays the rest in ten steps of equal size. Before a step,
each policy prepares with the interactions until then:

    keep        nothing: the first model, with the histories of its training
    update      the first model; new interactions extend the histories (deftrec update), new items are read as text
    fine-tune   the model of the step before, trained on (deftrec train --from); new items are read as text
    retrain     a model trained from scratch on all interactions; new items are read as text

Then every user with an earlier interaction and one in the step is evaluated on the first item of the step. Every item
known by the end of the step is ranked, items of the history are excluded, and a policy that does not know the item
misses. Trainings leave each user's last two interactions to validation and test, as always; they count in histories.
Finished steps and models are kept in the folder beside --out: the same command continues.

Expected before measuring: update loses little to retrain in the first steps and more with every one; fine-tune keeps
most of what retrain reaches, at a tenth of its cost.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec import Config, Interactions, Recommender, load_recipe
from deftrec.benchmark.machine import machine
from deftrec.cli.console import Lines
from deftrec.data import Cases, Sequences
from deftrec.errors import ConfigError
from deftrec.evaluation import accuracy, ranks_from_scores
from deftrec.files import write_json
from deftrec.incremental import Overlay
from deftrec.run import git_revision
from deftrec.training.cache import StageResult
from studies.cold_start.asking import ask
from studies.pretrained import text_vectors
from studies.results_cache import ResultKey, ResultsCache
from studies.subset import subset
from studies.training import trained_in

POLICIES = ("keep", "update", "fine-tune", "retrain")


@dataclass(frozen=True)
class Measured:
    """One policy at one step.

    Attributes:
        step: number of the step, from 1.
        policy: one of `POLICIES`.
        ndcg10, hr10: metrics over all evaluated users.
        asked: number of evaluated users.
        new_items: number of targets that no training before the replay contains.
        new_items_hr10: HR@10 of these targets.
        seconds: seconds of preparation: the training where the policy trains, else the update.
    """

    step: int
    policy: str
    ndcg10: float
    hr10: float
    asked: int
    new_items: int
    new_items_hr10: float
    seconds: float


class Stream:
    """Interactions in the order of their time, cut into a start and steps.

    Args:
        whole: all interactions.
        start: share of the interactions before the first step.
        steps: number of steps.
    """

    def __init__(self, whole: Interactions, start: float, steps: int) -> None:
        self.whole, n = whole, whole.n_interactions
        self.rank = np.empty(n, np.int64)  # position of each interaction in time; histories keep their own order
        self.rank[np.argsort(whole.times, kind="stable")] = np.arange(n)
        self.cuts = np.linspace(round(start * n), n, steps + 1).round().astype(np.int64)

    def until(self, cut: int, announced: int | None = None) -> Interactions:
        """The first `cut` interactions, with the items of the first `announced` in the catalogue."""
        whole, past = self.whole, self.rank < cut
        owners = whole.sequences.owners()
        users = np.bincount(owners[past], minlength=whole.n_users) > 0
        known = np.bincount(whole.sequences.items[self.rank < (announced or cut)], minlength=whole.n_items) > 0
        sequences, signals = whole.sequences.where(past), whole.signals_where(past)
        part = replace(whole, sequences=sequences, times=whole.times[past], signals=signals)
        return subset(part, users, known)

    def questions(self, step: int) -> Cases:
        """The first item of a step for every user with a history, in item numbers of the whole."""
        users, histories, targets = [], [], []
        offsets = self.whole.sequences.offsets
        for user, sequence in enumerate(self.whole.sequences):
            rank = self.rank[offsets[user] : offsets[user + 1]]
            before = int((rank < self.cuts[step]).sum())
            if 0 < before < len(sequence) and rank[before] < self.cuts[step + 1]:
                users.append(user)
                histories.append(sequence[:before])
                targets.append(int(sequence[before]))
        return Cases(np.array(users, np.int64), Sequences.from_lists(histories), np.array(targets, np.int64))


def caught_up(recommender: Recommender, now: Interactions, texts: Tensor, whole: Interactions) -> Recommender:
    """The recommender with what its training did not contain: items by their text, interactions in histories."""
    before = recommender.fitted_on
    items = now.catalogue.join(before.catalogue, on="item", how="anti", maintain_order="left")
    events = now.events().join(before.events(), on=["user", "item", "time"], how="anti", maintain_order="left")
    overlay = replace(Overlay.empty(before), version=1)
    if items.height:
        overlay = overlay.with_items(items, texts[torch.from_numpy(whole.item_numbers(items["item"]))])
    return recommender.with_overlay(overlay.with_events(events))


def answered(recommender: Recommender, whole: Interactions, cases: Cases) -> dict[str, Tensor]:
    """Metrics of every case; an empty history is ranked by popularity, and an unknown target is a miss."""
    known = set(recommender.interactions.catalogue["item"])
    known_items = np.array([item in known for item in whole.catalogue["item"]])
    lengths = np.array([known_items[history].sum() for history in cases.histories])
    target = known_items[cases.targets]
    values = {key: torch.zeros(len(cases), dtype=torch.float64) for key in ("ndcg@10", "hr@10")}
    for chosen, answer in ((target & (lengths > 0), ask), (target & (lengths == 0), _popular)):
        rows = np.flatnonzero(chosen)
        if len(rows):
            part = Cases(cases.users[rows], cases.histories.select(rows), cases.targets[rows])
            found = answer(recommender, whole, part)
            for key in values:
                values[key][torch.from_numpy(rows)] = found[key]
    return values


def _popular(recommender: Recommender, whole: Interactions, cases: Cases) -> dict[str, Tensor]:
    numbers = recommender.interactions.item_numbers(whole.item_ids(cases.targets))
    scores = recommender.popularity.float().expand(len(cases), -1)
    return accuracy(ranks_from_scores(scores, torch.from_numpy(numbers)), (10,))


class Replay:
    """The policies on one stream.

    Args:
        whole: all interactions.
        config: options of every training.
        folder: folder of models and finished steps.
        start: share of the interactions before the first step.
        steps: number of steps.

    Raises:
        ConfigError: the times do not order interactions of different users.
    """

    def __init__(self, whole: Interactions, config: Config, folder: Path, start: float, steps: int) -> None:
        if whole.meta.times != "clock":
            raise ConfigError(
                f"{whole.meta.name}: its times order the interactions of each user alone, and a replay needs those of "
                "all; take data with times, as of 'deftrec data fetch ml-1m'"
            )
        self.whole, self.config, self.folder = whole, config, folder
        self.stream, self.settings = Stream(whole, start, steps), {"start": start, "steps": steps}
        self.cache = ResultsCache(folder)
        self.texts = text_vectors(whole, config, Lines())
        self.first = self._trained("first", self.stream.until(int(self.stream.cuts[0])), None)

    def measured(self, step: int, policy: str) -> Measured:
        """A policy at a step, from 0; measured or read."""
        settings = {**self.settings, "step": step, "policy": policy}
        key = ResultKey.of("stream", self.whole.fingerprint, self.config, **settings)
        return Measured(**self.cache.get(key, lambda _: StageResult({}, asdict(self._measure(step, policy)))).about)

    def _measure(self, step: int, policy: str) -> Measured:
        stream, whole = self.stream, self.whole
        cases = stream.questions(step)
        past, end = int(stream.cuts[step]), int(stream.cuts[step + 1])
        old = set(self.first.fitted_on.catalogue["item"])
        new = torch.tensor([whole.catalogue["item"][int(target)] not in old for target in cases.targets])
        started = time.monotonic()
        ready = self._ready(policy, step)
        if policy == "keep":  # histories are those of the first training
            pairs = zip(cases.users, cases.histories, strict=True)
            kept = [history[: self._before(int(user))] for user, history in pairs]
            cases = replace(cases, histories=Sequences.from_lists(kept))
        else:
            ready = caught_up(ready, stream.until(past, announced=end), self.texts, whole)
        seconds = time.monotonic() - started
        if policy in {"fine-tune", "retrain"} and step:  # of the whole training, however often it was interrupted
            seconds = sum(ready.info.seconds.values())
        found = answered(ready, whole, cases)
        measured = Measured(
            step=step + 1,
            policy=policy,
            ndcg10=float(found["ndcg@10"].mean()),
            hr10=float(found["hr@10"].mean()),
            asked=len(cases),
            new_items=int(new.sum()),
            new_items_hr10=float(found["hr@10"][new].mean()) if new.any() else 0.0,
            seconds=round(seconds, 2),
        )
        print(f"step {step + 1} {policy}: NDCG@10 {measured.ndcg10:.4f} in {seconds:.1f} s", flush=True)
        return measured

    def _ready(self, policy: str, step: int) -> Recommender:
        """The model of a policy at a step."""
        if policy in {"keep", "update"} or not step:
            return self.first
        data = self.stream.until(int(self.stream.cuts[step]))
        if policy == "retrain":
            return self._trained(f"retrain-{step}", data, None)
        return self._trained(f"fine-tune-{step}", data, self._ready(policy, step - 1))

    def _trained(self, name: str, data: Interactions, start: Recommender | None) -> Recommender:
        """A model in a folder under the key of everything that decides it."""
        key = ResultKey.of("stream model", self.whole.fingerprint, self.config, name=name, **self.settings)
        config = self.config if start is None else start.config
        return trained_in(self.folder / f"{name}-{key.digest}", data, config, progress=Lines(), start=start)

    def _before(self, user: int) -> int:
        """Number of a user's interactions in the first training."""
        offsets = self.whole.sequences.offsets
        return int((self.stream.rank[offsets[user] : offsets[user + 1]] < self.stream.cuts[0]).sum())


def table(rows: Iterable[Measured]) -> pl.DataFrame:
    """Means over the steps, one row per policy."""
    frame = pl.DataFrame([asdict(one) for one in rows])
    means = [pl.col(name).mean() for name in ("ndcg10", "hr10", "new_items_hr10")]
    return frame.group_by("policy", maintain_order=True).agg(
        *means, pl.col("ndcg10").last().alias("ndcg10 of the last step"), pl.col("seconds").sum()
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="data directory")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--recipe", default="default", help="recipe of every training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change of an option")
    parser.add_argument("--start", type=float, default=0.5, help="share of the interactions before the first step")
    parser.add_argument("--steps", type=int, default=10, help="number of steps")
    parser.add_argument("--policies", default=",".join(POLICIES), help="names of the policies, separated by commas")
    given = parser.parse_args(arguments)
    policies = [name for name in POLICIES if name in given.policies.split(",")]
    config, whole = load_recipe(given.recipe, given.set), Interactions.load(given.data)
    replay = Replay(whole, config, given.out.with_suffix(".work"), given.start, given.steps)
    rows = [replay.measured(step, policy) for step in range(given.steps) for policy in policies]
    content = {
        "command": shlex.join(["python", "-m", "studies.stream", *(sys.argv[1:] if arguments is None else arguments)]),
        "revision": git_revision(),
        "dataset": whole.meta.name,
        "fingerprint": whole.fingerprint,
        "config": config.model_dump(mode="json"),
        "machine": machine(),
        "rows": [asdict(one) for one in rows],
    }
    write_json(given.out, content)
    with pl.Config(tbl_rows=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, float_precision=4):
        print(table(rows))


if __name__ == "__main__":
    main()
