"""Where can a language model pay? Unseen items, users with few events, and another shop's catalogue.

    python -m studies.language_questions --data DIR --out FOLDER [--other DIR] [--seeds 3]

A small model is trained without 5 % of the items, which are added by their text alone. Then a linear map W of states is
fitted beside it, c + W h, as a reasoner's is, and always kept. h is one of

- words: hidden states of SmolLM2-135M after each item, read as words and continuous tokens;
- wrong titles: the same, the titles and categories shuffled among the items;
- random weights: the same, the language model drawn at random;
- sentences: the mean of MiniLM's vectors of the items read, and the newest one.

Cases: the last item of each user (all); the same with only the last three events read (few); interactions with unseen
items (unseen); and with `--other`, the last item of another shop's users, among that shop's items, none of which was
trained on (transfer). Differences to the small model alone are paired over the cases and averaged over seeds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import torch
import typer
from torch import Tensor, nn

from deftrec import Recommender
from deftrec.cli.console import listening
from deftrec.cli.options import DataFolder, Overrides, Recipe
from deftrec.config import Config, ReasonerOptions
from deftrec.data import Cases, Interactions, Sequences, make_split
from deftrec.diffusion import Sampling
from deftrec.ensemble import members_of
from deftrec.evaluation import accuracy, paired_over_seeds
from deftrec.incremental import Overlay
from deftrec.progress import Progress
from deftrec.reasoning import Residual, build_reasoner
from deftrec.recipe import load_recipe
from deftrec.retrieval import Allow, ExcludeHistory, Rule, generate_queries, target_ranks
from deftrec.training.cache import StageResult
from deftrec.training.pairs import pairs_of, small_conditions
from deftrec.training.reasoning import ResidualLoss
from studies.cold_start.asking import content_neighbours, translated
from studies.cold_start.holdout import Holdout, hold_out
from studies.command import run
from studies.pretrained import random_copy, require_text, text_vectors
from studies.results_cache import ResultKey, ResultsCache
from studies.training import trained_in

BASE, KINDS = "none", ("words", "wrong titles", "random weights", "sentences")
FEW, MOST, READ = 3, 600, 1024
"""Events read of users with few; largest number of cases of a kind, and of users whose histories train W."""
EPOCHS, PATIENCE, RATE, DECAY, PAIRS = 30, 6, 3e-4, 0.1, 512

Read = Callable[[Sequence[np.ndarray]], Tensor]
"""Histories of item numbers to states after each item, right-aligned: `[N, L, D]`."""


def with_catalogue(recommender: Recommender, catalogue: pl.DataFrame, texts: Tensor) -> Recommender:
    """The recommender with more items, added by their text alone."""
    overlay = Overlay.empty(recommender.fitted_on).with_items(catalogue, texts)
    return recommender.with_overlay(replace(overlay, version=1))


class SentenceReader(nn.Module):
    """States without a language model: mean sentence vector of the items so far, and the newest."""

    def __init__(self, vectors: Tensor, history: int) -> None:
        super().__init__()
        self.vectors, self.history = vectors, history

    def forward(self, histories: Sequence[np.ndarray]) -> Tensor:
        """`[N, L, 2 E]`"""
        states = torch.zeros(len(histories), self.history, 2 * self.vectors.shape[1])
        for n, history in enumerate(histories):
            rows = self.vectors[torch.from_numpy(history[-self.history :].astype(np.int64))]
            means = rows.cumsum(0) / torch.arange(1, len(rows) + 1)[:, None]
            states[n, self.history - len(rows) :] = torch.cat([means, rows], 1)
        return states


def reader(kind: str, extended: Recommender, vectors: Tensor, options: ReasonerOptions, folder: Path) -> Read:
    """What reads histories of the extended catalogue, whose sentence vectors are `vectors` `[I, E]`."""
    if kind == "sentences":
        return SentenceReader(vectors, options.history)
    interactions, first = extended.interactions, members_of(extended.model)[0]
    if kind == "wrong titles":
        order = np.random.default_rng(0).permutation(interactions.n_items)
        words = interactions.catalogue.select("title", "category")[order]
        interactions = replace(interactions, catalogue=interactions.catalogue.with_columns(words))
    if kind == "random weights":
        options = options.model_copy(update={"model": str(random_copy(options.model, folder / "random-smollm2"))})
    features, block = first.features.values.detach(), first.item_tokenizer.masking.block
    torch.manual_seed(0)
    return build_reasoner(features, block, extended.config.tokenizer, options, interactions).eval().read


def fitted(small: Recommender, read: Read, window: int, seed: int) -> Residual:
    """W, fitted on the train targets of users of validation; validation chooses the epoch, at least the first."""
    split, model, catalogue = make_split(small.fitted_on, small.config.data.split), small.model, small.catalogue
    cases = split.cases("validation").head(READ)
    whole = [
        np.append(history, target).astype(np.int64)[-1 - max(model.max_history, window) :]
        for history, target in zip(cases.histories, cases.targets, strict=True)
    ]
    states = read([one[:-1] for one in whole])
    conditions = small_conditions(model, catalogue, [one[:-1] for one in whole], window)
    reach = min(window, model.max_history)
    places = [(n, p) for n, one in enumerate(whole) for p in range(max(0, len(one) - 1 - reach), len(one) - 2)]
    pairs = pairs_of(whole, places, conditions, states)
    asked = pairs_of(whole, [(n, len(one) - 2) for n, one in enumerate(whole)], conditions, states)
    first = members_of(model)[0]
    residual = Residual(states.shape[-1], len(members_of(model)), first.language.width)
    residual.history.fit_scale(states[states.abs().sum(-1) > 0])
    loss = ResidualLoss(residual, model, catalogue)
    weight = residual.history.linear.weight
    optimiser = torch.optim.AdamW([weight], RATE, weight_decay=DECAY)
    rng, best, kept, since = np.random.default_rng(seed), -1.0, weight.detach().clone(), 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(pairs))
        for part in np.array_split(order, max(1, len(order) // PAIRS)):
            optimiser.zero_grad()
            loss(pairs.select(torch.from_numpy(np.sort(part))))["loss"].backward()
            optimiser.step()
        value = float(ndcg(small, cases, residual(asked.states).detach()).mean())
        if value > best:
            best, kept, since = value, weight.detach().clone(), 0
        else:
            since += 1
        if since == PATIENCE:
            break
    weight.data = kept
    return residual


def ndcg(
    recommender: Recommender, cases: Cases, residuals: Tensor | None, rules: Sequence[Rule] = (ExcludeHistory(),)
) -> Tensor:
    """NDCG@10 of every case by the whole score. `[N]` float64"""
    sampling = Sampling.of(recommender.config.diffusion)
    queries = generate_queries(
        recommender.model,
        recommender.catalogue,
        cases.histories,
        sampling=sampling,
        seed=recommender.config.seed,
        residuals=residuals,
    )
    return accuracy(target_ranks(recommender.ranker, queries, cases, rules), (10,))["ndcg@10"]


def some(cases: Cases) -> Cases:
    """At most `MOST` cases, evenly spread."""
    if len(cases) <= MOST:
        return cases
    rows = np.unique(np.linspace(0, len(cases) - 1, MOST).astype(int))
    return Cases(cases.users[rows], cases.histories.select(rows), cases.targets[rows])


def newest(cases: Cases, count: int) -> Cases:
    """The cases with the newest `count` events of each history alone."""
    return replace(cases, histories=Sequences.from_lists([history[-count:] for history in cases.histories]))


def questions(extended: Recommender, held: Holdout, other: Interactions | None) -> dict[str, tuple[Cases, list[Rule]]]:
    """Cases in the numbers of the extended catalogue, with the rules of their lists."""
    seen, unseen = (
        translated(some(cases), held.whole, extended.interactions)
        for cases in (held.questions.seen_users, held.questions.unseen_items)
    )
    known = [ExcludeHistory()]
    found: dict[str, tuple[Cases, list[Rule]]] = {}
    found["all"], found["few"], found["unseen"] = (seen, [*known]), (newest(seen, FEW), [*known]), (unseen, [*known])
    if other is not None:
        numbers = {item: n for n, item in enumerate(extended.interactions.catalogue["item"])}
        theirs = torch.tensor(sorted(numbers[item] for item in other.catalogue["item"]))
        cases = translated(some(make_split(other, "leave-one-out").cases("test")), other, extended.interactions)
        found["transfer"] = (cases, [*known, Allow(theirs)])
    return found


def among(vectors: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Vectors, zero for items that a rule does not allow."""
    kept = torch.ones(len(vectors), 1)
    for rule in rules:
        if isinstance(rule, Allow):
            kept = torch.zeros(len(vectors), 1).index_fill(0, rule.items, 1.0)
    return vectors * kept


def measure(
    kinds: Sequence[str],
    config: Config,
    held: Holdout,
    other: Interactions | None,
    vectors: tuple[Tensor, Tensor | None],
    options: ReasonerOptions,
    work: Path,
    progress: Progress,
    folder: Path,
) -> StageResult:
    """NDCG@10 of every case, for one seed: `kind/cases`."""
    small = trained_in(folder / "small", held.training, config, progress=progress, shared=work / "shared")
    new = torch.from_numpy(held.items)
    added, texts = held.whole.catalogue.filter(pl.Series(held.items)), vectors[0][new]
    if other is not None and vectors[1] is not None:
        own = set(held.whole.catalogue["item"])
        foreign = np.array([item not in own for item in other.catalogue["item"]])
        added = pl.concat([added, other.catalogue.filter(pl.Series(foreign))])
        texts = torch.cat([texts, vectors[1][torch.from_numpy(foreign)]])
    extended = with_catalogue(small, added, texts)
    every = torch.cat([vectors[0][~new], texts])
    asked = questions(extended, held, other)
    tensors = {f"{BASE}/{name}": ndcg(extended, cases, None, rules) for name, (cases, rules) in asked.items()}
    for kind in kinds:
        progress.say(f"seed {config.seed}: {kind}")
        read = reader(kind, extended, every, options, work)
        residual = fitted(small, read, options.history, config.seed)
        for name, (cases, rules) in asked.items():
            with torch.no_grad():
                added_to = residual(read([history.astype(np.int64) for history in cases.histories])[:, -1])
            tensors[f"{kind}/{name}"] = ndcg(extended, cases, added_to, rules)
    neighbours = {name: content_neighbours(among(every, rules), cases, None) for name, (cases, rules) in asked.items()}
    return StageResult(
        tensors, {"content-kNN": {name: float(one["ndcg@10"].mean()) for name, one in neighbours.items()}}
    )


def main(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder of the results; finished ones are kept.")],
    other: Annotated[Path | None, typer.Option(help="Data directory of another shop, for the transfer.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds.", min=1)] = 3,
    kinds: Annotated[str, typer.Option(help="States, separated by commas.")] = ",".join(KINDS),
    recipe: Recipe = "fast",
    overrides: Overrides = None,
) -> None:
    """Train, fit W for each kind of states, and print its figures beside the small model's alone."""
    config = load_recipe(recipe, ["training.ensemble_size=1", *(overrides or [])])
    require_text(config)
    whole = Interactions.load(data)
    held, shop = hold_out(whole, users_share=0.0), None if other is None else Interactions.load(other)
    chosen, cache = [name.strip() for name in kinds.split(",")], ResultsCache(out)
    results = []
    with listening() as progress:
        vectors = (
            text_vectors(whole, config, progress),
            None if shop is None else text_vectors(shop, config, progress),
        )
        for seed in range(seeds):
            own = config.model_copy(update={"seed": seed})
            beside = None if shop is None else shop.fingerprint
            key = ResultKey.of("language questions", whole.fingerprint, own, kinds=chosen, other=beside)
            work = partial(measure, chosen, own, held, shop, vectors, ReasonerOptions(), out, progress)
            results.append(cache.get(key, work))
    rows = figures(results)
    for row in rows:
        print("{kind:15} {cases:9} {mean:.4f} {difference:+.4f} (p {p:.3f}; {number} cases)".format(**row))
    neighbours = results[0].about["content-kNN"]
    print("content-kNN", {name: round(value, 4) for name, value in neighbours.items()})
    content = {"rows": rows, "content-kNN": neighbours}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def figures(results: Sequence[StageResult]) -> list[dict[str, Any]]:
    """A row for each kind of states and of cases: mean over seeds, and the paired difference to the small model."""
    rows = []
    for name in results[0].tensors:
        kind, _, cases = name.partition("/")
        mine = [one.tensors[name] for one in results]
        paired = paired_over_seeds(mine, [one.tensors[f"{BASE}/{cases}"] for one in results])
        row = {"kind": kind, "cases": cases, "number": len(mine[0]), "seeds": len(mine), "mean": paired.first}
        rows.append({**row, "difference": paired.difference, "ci95": paired.ci95, "p": paired.p})
    return rows


if __name__ == "__main__":
    raise SystemExit(run(main, "studies.language_questions"))
