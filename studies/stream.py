"""What keeping up is worth and costs: a time-ordered replay, each step met by an update, a fine-tuning or a retraining.

    python benchmarks/stream.py --data data/ml-1m --out reports/stream-ml-1m.json

Trains on the first half of all interactions by time, then replays the rest in ten steps of as many interactions.
Before a step, each policy gets ready with all that came until then:

    keep        nothing: the first model, and the histories that it was trained with
    update      the first model; new interactions count in histories (deftrec update), new items by words
    fine-tune   the model of the step before, trained on (deftrec train --from); new items by words
    retrain     trained anew on all that came; new items by words

Then everybody who takes something in the step and had taken something before is asked for the first item of it: every
item known by the end of the step is ranked, those of the history are no candidates, and a policy that does not know
the item misses. Trainings leave each user's last two interactions to validation and test, as always; they count in
histories. Finished steps are kept in the file of --out and models in the folder beside it: the same command goes on.

Expected before measuring: update loses little to retrain for the first steps and more with every one; fine-tune keeps
most of what retrain has, at a tenth of its cost.
"""

import argparse
import json
import shlex
import sys
import time
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
from deftrec.data.subset import subset
from deftrec.data.words import texts_of
from deftrec.evaluation import accuracy, ranks_from_scores
from deftrec.files import write_json
from deftrec.incremental import Overlay
from deftrec.language.sentences import sentence_vectors
from deftrec.language.weights import MINILM, model_folder
from deftrec.run import git_revision
from studies.cold_start.asking import ask

POLICIES = ("keep", "update", "fine-tune", "retrain")


@dataclass(frozen=True)
class Measured:
    """One policy at one step.

    Attributes:
        step: from 1.
        policy: one of `POLICIES`.
        ndcg10, hr10: over everybody who was asked.
        asked: how many.
        new_items: how many of the targets no training before the replay has seen.
        new_items_hr10: over those.
        seconds: of getting ready: of training where the policy trains, else of an update.
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
        whole: everything.
        start: share of the interactions before the first step.
        steps: how many.
    """

    def __init__(self, whole: Interactions, start: float, steps: int) -> None:
        self.whole, n = whole, whole.n_interactions
        self.rank = np.empty(n, np.int64)  # place of each interaction in time, histories in their own order
        self.rank[np.argsort(whole.times, kind="stable")] = np.arange(n)
        self.cuts = np.linspace(round(start * n), n, steps + 1).round().astype(np.int64)

    def until(self, cut: int, announced: int | None = None) -> Interactions:
        """What was known when `cut` interactions had come, and the items of the first `announced`."""
        whole, past = self.whole, self.rank < cut
        owners = whole.sequences.owners()
        users = np.bincount(owners[past], minlength=whole.n_users) > 0
        known = np.bincount(whole.sequences.items[self.rank < (announced or cut)], minlength=whole.n_items) > 0
        lengths = np.bincount(owners[past], minlength=whole.n_users)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        part = replace(whole, sequences=Sequences(whole.sequences.items[past], offsets), times=whole.times[past])
        return subset(part, users, known)

    def questions(self, step: int) -> Cases:
        """The first item of a step for everybody who had a history, in numbers of the whole."""
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
    """`recommender` with all of `now` that it was not trained on: items by their words, events in histories."""
    before = recommender.fitted_on
    items = now.catalogue.join(before.catalogue, on="item", how="anti", maintain_order="left")
    events = now.events().join(before.events(), on=["user", "item", "time"], how="anti", maintain_order="left")
    overlay = replace(Overlay.empty(before), version=1)
    if items.height:
        overlay = overlay.with_items(items, texts[torch.from_numpy(whole.item_numbers(items["item"]))])
    return recommender.with_overlay(overlay.with_events(events))


def answered(recommender: Recommender, whole: Interactions, cases: Cases) -> dict[str, Tensor]:
    """Metrics of every case; popularity answers for an empty history, and an unknown target is a miss."""
    known = {item: number for number, item in enumerate(recommender.interactions.catalogue["item"])}
    there = np.array([item in known for item in whole.catalogue["item"]])
    lengths = np.array([there[history].sum() for history in cases.histories])
    target = there[cases.targets]
    values = {key: torch.zeros(len(cases), dtype=torch.float64) for key in ("ndcg@10", "hr@10")}
    can = target & (lengths > 0)
    for chosen, answer in ((can, ask), (target & (lengths == 0), _popular)):
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


def replay(
    whole: Interactions, config: Config, out: Path, *, start: float, steps: int, policies: tuple[str, ...]
) -> list[Measured]:
    """Every policy at every step, written to `out` as they are measured."""
    if whole.meta.times != "clock":
        raise SystemExit(
            f"{whole.meta.name}: its times order the interactions of each user alone, and a replay needs those of all; "
            "take data with times, as of 'deftrec data fetch ml-1m'"
        )
    stream, texts = Stream(whole, start, steps), _texts(whole, config)
    models = out.with_suffix(".models")
    done = _read(out, whole, config)
    first = _trained(models / "first", stream.until(int(stream.cuts[0])), config, None)
    old = set(first.fitted_on.catalogue["item"])
    for step in range(steps):
        cases = stream.questions(step)
        past, end = int(stream.cuts[step]), int(stream.cuts[step + 1])
        now = stream.until(past, announced=end)
        new = torch.tensor([whole.catalogue["item"][int(target)] not in old for target in cases.targets])
        for policy in policies:
            if any((one.step, one.policy) == (step + 1, policy) for one in done):
                continue
            started = time.monotonic()
            ready = _ready(policy, step, first, stream, models, config)
            if policy != "keep":
                ready = caught_up(ready, now, texts, whole)
            seconds = time.monotonic() - started
            if policy in {"fine-tune", "retrain"} and step:  # over all resumptions, however often it was read since
                seconds = sum(ready.run.info.seconds.values())
            if policy == "keep":  # histories are those of the start
                kept = [history[: _before(stream, int(user))] for user, history in _pairs(cases)]
                found = answered(ready, whole, replace(cases, histories=Sequences.from_lists(kept)))
            else:
                found = answered(ready, whole, cases)
            done.append(
                Measured(
                    step=step + 1,
                    policy=policy,
                    ndcg10=float(found["ndcg@10"].mean()),
                    hr10=float(found["hr@10"].mean()),
                    asked=len(cases),
                    new_items=int(new.sum()),
                    new_items_hr10=float(found["hr@10"][new].mean()) if new.any() else 0.0,
                    seconds=round(seconds, 2),
                )
            )
            print(f"step {step + 1} {policy}: NDCG@10 {done[-1].ndcg10:.4f} in {seconds:.1f} s", flush=True)
            write_json(out, _content(whole, config, done))
    return done


def _ready(policy: str, step: int, first: Recommender, stream: Stream, models: Path, config: Config) -> Recommender:
    if policy in {"keep", "update"} or not step:
        return first
    data = stream.until(int(stream.cuts[step]))
    if policy == "retrain":
        return _trained(models / f"retrain-{step}", data, config, None)
    before = first if step == 1 else Recommender.load(models / f"fine-tune-{step - 1}")
    return _trained(models / f"fine-tune-{step}", data, config, before)


def _trained(folder: Path, data: Interactions, config: Config, start: Recommender | None) -> Recommender:
    """Trained into `folder`, or read from it where that is finished; an interrupted training goes on."""
    if (folder / "run.json").is_file():
        return Recommender.load(folder)
    begun = (folder / "request.json").is_file()
    options = config if start is None else start.config
    return Recommender.fit(data, options, out=folder, start=start, resume=begun, progress=Lines())


def _before(stream: Stream, user: int) -> int:
    offsets = stream.whole.sequences.offsets
    return int((stream.rank[offsets[user] : offsets[user + 1]] < stream.cuts[0]).sum())


def _pairs(cases: Cases) -> zip:  # type: ignore[type-arg]
    return zip(cases.users, cases.histories, strict=True)


def _texts(whole: Interactions, config: Config) -> Tensor:
    if config.text.encoder == "none":
        raise SystemExit("new items are read by their words: --set text.encoder=minilm")
    return sentence_vectors(
        texts_of(whole.catalogue),
        model_folder(config.text.model or MINILM),
        max_tokens=config.text.max_tokens,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def _content(whole: Interactions, config: Config, done: list[Measured]) -> dict[str, object]:
    return {
        "command": shlex.join(["python", *sys.argv]),
        "revision": git_revision(),
        "dataset": whole.meta.name,
        "fingerprint": whole.fingerprint,
        "config": config.model_dump(mode="json"),
        "machine": machine(),
        "rows": [asdict(one) for one in done],
    }


def _read(out: Path, whole: Interactions, config: Config) -> list[Measured]:
    if not out.is_file():
        return []
    content = json.loads(out.read_text(encoding="utf-8"))
    if (content["fingerprint"], content["config"]) != (whole.fingerprint, config.model_dump(mode="json")):
        raise SystemExit(f"{out}: of other data or options; give another file")
    return [Measured(**row) for row in content["rows"]]


def table(done: list[Measured]) -> pl.DataFrame:
    """Means over the steps, one row a policy."""
    frame = pl.DataFrame([asdict(one) for one in done])
    means = [pl.col(name).mean() for name in ("ndcg10", "hr10", "new_items_hr10")]
    return frame.group_by("policy", maintain_order=True).agg(
        *means, pl.col("ndcg10").last().alias("ndcg10 of the last step"), pl.col("seconds").sum()
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a data directory")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of results")
    parser.add_argument("--recipe", default="default", help="of every training")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change an option of the recipe"
    )
    parser.add_argument("--start", type=float, default=0.5, help="share of the interactions before the first step")
    parser.add_argument("--steps", type=int, default=10, help="how many")
    parser.add_argument("--policies", default=",".join(POLICIES), help="which")
    given = parser.parse_args(arguments)
    policies = tuple(name for name in POLICIES if name in given.policies.split(","))
    config = load_recipe(given.recipe, given.set)
    done = replay(
        Interactions.load(given.data), config, given.out, start=given.start, steps=given.steps, policies=policies
    )
    with pl.Config(tbl_rows=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, float_precision=4):
        print(table(done))


if __name__ == "__main__":
    main()
