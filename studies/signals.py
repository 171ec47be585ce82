"""What are kinds, ratings and times of interactions worth?

    python -m studies.signals log --out FILE [--seeds 3] [--size small]
    python -m studies.signals ratings DATA --out FILE [--seeds 3]
    python -m studies.signals time DATA --out FILE [--seeds 3]

`log` makes a log of views, carts and purchases whose truth is known: a purchase follows a cart of the same category,
whatever was viewed in between (`make_log`). Two models are asked for the last purchase of each user: one that reads
kinds and predicts purchases, and one for which all events are alike.

`ratings` holds out a fifth of each user's dislikes (ratings of 2 and less) from two models: one whose targets are
ratings of 4 and more and that learns from the other dislikes, and one for which all ratings are alike. Both are asked
for the last liked item of each user; NDCG@10, and the share of held-out dislikes among the first ten.

`time` compares a model that reads the order of events alone with those that read gaps, the time of the request, and
relative time in the attention, once with ties drawn at random and once in the order of the file.

The models differ in what is named alone. Differences are paired over users and averaged over seeds.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import torch
import typer
from torch import Tensor

from deftrec import Interactions, Recommender
from deftrec.cli.console import listening
from deftrec.data import Cases, Meta, Sequences
from deftrec.data.kinds import EventRoles, with_roles
from deftrec.data.sequences import NEGATIVE
from deftrec.data.split import leave_one_out
from deftrec.errors import DataError
from deftrec.evaluation import TargetRanks, accuracy, paired_over_seeds
from deftrec.evaluation.metrics import disliked_share
from deftrec.progress import Progress
from deftrec.recipe import load_recipe
from deftrec.retrieval import ExcludeHistory, Rule, rank_targets
from studies.command import run

USERS, CATEGORIES, ITEMS_EACH, ROUNDS = 4_000, 50, 20, 6
"""Users, categories, items of each category, and purchases of each user."""
VIEWS = 3  # views before a cart, and between a cart and its purchase, on average
KINDS = EventRoles({"cart": ("context", 1.0), "purchase": ("target", 1.0), "view": ("context", 1.0)})
LIKED, DISLIKED, HELD = 4.0, 2.0, 0.2
"""Smallest rating that is liked, largest one that is not, and the share of the latter that is held out."""
TIMES = {
    "order": [],
    "gaps": ["tokenizer.gaps=true"],
    "request time": ["tokenizer.request_time=true"],
    "both": ["tokenizer.gaps=true", "tokenizer.request_time=true"],
    "all": ["tokenizer.gaps=true", "tokenizer.request_time=true", "language.relative_time=true"],
}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Out = Annotated[Path, typer.Option(help="JSON file of the figures.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds.", min=1)]
Size = Annotated[str, typer.Option(help="Option size of the recipe.")]


def make_log(seed: int = 0) -> Interactions:
    """A log of views, carts and purchases.

    A user has `ROUNDS` rounds. In each a category is drawn for a cart. Before the cart, and between it and the
    purchase, there are views of other items: a Poisson number with mean `VIEWS`, by their popularity. The purchase is
    an item of the cart's category, by its popularity, whose k-th item has the weight 1 / k. So the best that a model
    can know of a purchase is the category of the newest cart; the newest items say nothing.
    """
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, ITEMS_EACH + 1)
    own = weights / weights.sum()
    rows: list[tuple[int, int, int, str]] = []

    def item(category: int) -> int:
        return category * ITEMS_EACH + int(rng.choice(ITEMS_EACH, p=own))

    for user in range(USERS):
        events: list[tuple[int, str]] = []
        for _ in range(ROUNDS):
            category = int(rng.integers(CATEGORIES))
            events += [(item(int(rng.integers(CATEGORIES))), "view") for _ in range(rng.poisson(VIEWS))]
            events.append((item(category), "cart"))
            events += [(item(int(rng.integers(CATEGORIES))), "view") for _ in range(rng.poisson(VIEWS))]
            events.append((item(category), "purchase"))
        rows += [(user, what, time, kind) for time, (what, kind) in enumerate(events)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "kind"], orient="row")
    return Interactions.from_frame(frame, kind="kind", meta=Meta(name="log", times="position"))


def before_targets(data: Interactions, places: np.ndarray) -> Interactions:
    """The interactions of each user before `places` `[U]`, without signals; all of them where there is no place."""
    starts = data.sequences.offsets[:-1]
    ends = np.where(places >= 0, starts + places, data.sequences.offsets[1:])
    entries = np.arange(data.n_interactions)
    kept = entries < np.repeat(ends, data.sequences.lengths)
    return replace(data.where(kept), signals=pl.DataFrame())


def ranked(
    recommender: Recommender, data: Interactions, cases: Cases, rules: tuple[Rule, ...], *, plain: bool
) -> tuple[TargetRanks, Tensor]:
    """Ranks of the targets of `cases` of `data`, and the first ten items, in the numbers of `data`.

    `plain` models read items alone.
    """
    own = recommender.interactions
    to_own = own.item_numbers(data.catalogue["item"])
    histories = cases.histories
    columns = {} if plain else histories.columns
    moved = Sequences(to_own[histories.items].astype(np.int32), histories.offsets, columns)
    asked = Cases(cases.users, moved, to_own[cases.targets])
    ranks, found = rank_targets(recommender.ranker, recommender.queries(moved), asked, rules, k=10)
    to_data = np.empty(own.n_items, np.int64)
    to_data[to_own] = np.arange(data.n_items)
    items = found.items.cpu().numpy()
    return ranks, torch.from_numpy(np.where(items >= 0, to_data[items], -1))


def compared(name: str, ours: list[Tensor], others: list[Tensor]) -> dict[str, Any]:
    """Means of both, and their paired difference."""
    paired = paired_over_seeds(ours, others)
    means = [float(np.mean([float(one.mean()) for one in values])) for values in (ours, others)]
    row = {"name": name, "with": means[0], "without": means[1], "difference": paired.difference, "p": paired.p}
    print("  ".join(f"{key} {value:.4f}" if isinstance(value, float) else f"{value}" for key, value in row.items()))
    return row


def trained(data: Interactions, seed: int, overrides: list[str], progress: Progress) -> Recommender:
    """A `fast` of one member."""
    config = load_recipe("fast", ["training.ensemble_size=1", f"seed={seed}", *overrides])
    return Recommender.fit(data, config, progress=progress)


@app.command("log")
def log_(out: Out, seeds: Seeds = 3, size: Size = "small") -> None:
    """Kinds of events on a log whose truth is known."""
    data = with_roles(make_log(), KINDS)
    split = leave_one_out(data)
    cases = split.cases("test")
    overrides = ["text.model=null", "collaborative.encoder=spectral", "retrieval.seen=keep", f"size={size}"]
    values: dict[str, list[Tensor]] = {"roles": [], "alike": []}
    with listening() as progress:
        for seed in range(seeds):
            for name, given in (("roles", data), ("alike", before_targets(data, split.test))):
                recommender = trained(given, seed, overrides, progress)
                ranks, _ = ranked(recommender, data, cases, (), plain=name == "alike")
                values[name].append(accuracy(ranks, (10,))["ndcg@10"])
    row = compared("NDCG@10 of purchases", values["roles"], values["alike"])
    facts = {"events": data.n_interactions, "users": data.n_users, "items": data.n_items, "seeds": seeds}
    out.write_text(json.dumps({**facts, "size": size, "rows": [row]}, indent=1) + "\n", encoding="utf-8")


@app.command()
def ratings(
    data: Annotated[Path, typer.Argument(help="Data directory with ratings.")],
    out: Out,
    seeds: Seeds = 3,
    size: Size = "auto",
) -> None:
    """Likes and dislikes by ratings."""
    whole = Interactions.load(data)
    roles = EventRoles({}, LIKED, DISLIKED)
    rng = np.random.default_rng(0)
    found = with_roles(whole, roles).sequences.roles
    if found is None:
        raise DataError(f"{data}: has no rating of {DISLIKED:g} and less; give data with such ratings")
    held_out = (found == NEGATIVE) & (rng.random(len(found)) < HELD)
    known = with_roles(whole.where(~held_out), roles)
    split = leave_one_out(known)
    cases = split.cases("test")
    users = {str(user): number for number, user in enumerate(whole.users)}
    hidden = whole.sequences.where(held_out)
    held = Sequences.from_lists([hidden[users[str(known.users[int(user)])]] for user in cases.users])
    values: dict[str, dict[str, list[Tensor]]] = {"roles": {}, "alike": {}}
    with listening() as progress:
        for seed in range(seeds):
            for name, given, more in (
                ("roles", known, [f"data.target_from={LIKED}", f"data.negative_to={DISLIKED}"]),
                ("alike", before_targets(known, split.test), []),
            ):
                recommender = trained(given, seed, [f"size={size}", *more], progress)
                ranks, lists = ranked(recommender, known, cases, (ExcludeHistory(),), plain=name == "alike")
                for key, one in (
                    ("NDCG@10 of liked items", accuracy(ranks, (10,))["ndcg@10"]),
                    ("disliked@10, held out", disliked_share(lists, held, 10)),
                ):
                    values[name].setdefault(key, []).append(one)
    rows = [compared(key, values["roles"][key], values["alike"][key]) for key in values["roles"]]
    facts = {"data": known.meta.name, "users": len(cases), "held_out": int(held_out.sum()), "seeds": seeds}
    out.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n", encoding="utf-8")


@app.command("time")
def time_(
    data: Annotated[Path, typer.Argument(help="Data directory with times.")],
    out: Out,
    seeds: Seeds = 3,
    size: Size = "auto",
    forms: Annotated[str, typer.Option(help="Forms, separated by commas.")] = ",".join(TIMES),
) -> None:
    """Times beside the order of events."""
    whole = Interactions.load(data)
    values: dict[str, list[Tensor]] = {}
    with listening() as progress:
        for name in forms.split(","):
            for seed in range(seeds):
                recommender = trained(whole, seed, [f"size={size}", *TIMES[name]], progress)
                ranks, _ = recommender.examine("test").rank("exclude")
                values.setdefault(name, []).append(accuracy(ranks, (10,))["ndcg@10"])
    rows = [compared(name, values[name], values["order"]) for name in values if name != "order"]
    out.write_text(
        json.dumps({"data": whole.meta.name, "seeds": seeds, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    raise SystemExit(run(app, "studies.signals"))
