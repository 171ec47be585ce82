"""Rationales of a run: categories named, generated against gold rationales, accuracy and speed.

    python -m studies.rationale RUN [RUN ...]

For each run, on the users of validation and of test whose next item has a category: the share whose category the
rationale names, beside two guesses without a model (the most frequent category of the training, and that of the user's
history); all three name one category. NDCG@10 of the whole score and of the latent term, in float32, and users per
second of the latent term. Where rationales are the condition, NDCG@10 of the latent term with generated and with gold
rationales, which contain the target's category: a model trained on gold rationales alone loses much between them.

Later runs on the data of the first are compared with it, paired by user.
"""

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from deftrec import Recommender
from deftrec.data import PADDING, Cases, Part, make_split
from deftrec.data.sequences import pad_histories
from deftrec.data.words import item_categories
from deftrec.diffusion import Sampling
from deftrec.evaluation import paired_bootstrap
from deftrec.evaluation.metrics import accuracy
from deftrec.language import Layout, Preferences, PretrainedLanguageModel, guessed_category
from deftrec.language.condition import ReasoningCondition
from deftrec.language.rationale import RationaleReading
from deftrec.model import DeftRec
from deftrec.retrieval import ExcludeHistory, Queries, Rule, generate_queries, generate_texts, target_ranks

BATCH = 64
PARTS: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Named:
    """Shares of the users whose next item's category is named.

    Attributes:
        model: share named by the rationale.
        most_frequent: share named by the most frequent category of the training.
        majority: share named by the most frequent category of the user's history.
        users: number of users.
    """

    model: float
    most_frequent: float
    majority: float
    users: int


def named(recommender: Recommender, cases: Cases, texts: list[str]) -> Named:
    """Shares of named categories; users whose next item has no category are not counted."""
    categories = item_categories(recommender.interactions)
    known = sorted({name for one in categories for name in one})
    training = make_split(recommender.fitted_on, recommender.config.data.split).training("train")
    common = Counter(name for item in training.items for name in categories[item]).most_common(1)[0][0]
    hits = []
    for history, target, text in zip(cases.histories, cases.targets, texts, strict=True):
        if right := set(categories[target]):
            own = Counter(name for item in history[::-1] for name in categories[item])
            most = own.most_common(1)[0][0] if own else None
            hits.append((guessed_category(text, known) in right, common in right, most in right))
    shares = np.mean(hits, axis=0)
    return Named(float(shares[0]), float(shares[1]), float(shares[2]), len(hits))


@torch.no_grad()
def with_gold_rationales(recommender: Recommender, cases: Cases) -> Tensor:
    """Latents generated under gold rationales, which contain the target's category. `[N, D]`"""
    model = recommender.model
    if not isinstance(model, DeftRec) or not isinstance(model.strategy, ReasoningCondition):
        raise SystemExit("gold rationales need a run of one model whose condition contains its rationale")
    strategy, language = model.strategy, cast(PretrainedLanguageModel, model.language)
    assert strategy.writer is not None, "a condition with a rationale has a writer"
    preferences = Preferences(item_categories(recommender.interactions), language, strategy.writer.options)
    catalogue, found = recommender.catalogue, []
    sampling = Sampling.of(recommender.config.diffusion)
    for start in range(0, len(cases), BATCH):
        rows = np.arange(start, min(start + BATCH, len(cases)))
        packed = pad_histories(cases.histories, rows, model.max_history)
        layout, items = Layout.of(packed), torch.from_numpy(packed.items)
        gold = [preferences.rationale(cases.histories[int(n)], int(cases.targets[n])) for n in rows]
        text = torch.full((len(rows), max(map(len, gold))), PADDING)
        for row, ids in zip(text, gold, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        tokens = model.tokens(catalogue.ways, catalogue.features, items, layout)
        rationales = strategy.writer.read(RationaleReading(language, tokens, layout, items), text)
        generator = torch.Generator().manual_seed(recommender.config.seed)
        condition = strategy.condition(rationales).float()
        found.append(model.diffusion.generate(condition, sampling, generator).x0)
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    first: dict[str, tuple[str, list[Tensor]]] = {}  # by dataset, the run that others are compared with
    for run in parser.parse_args().runs:
        recommender = Recommender.load(run)
        interactions, config = recommender.fitted_on, recommender.config
        cases = make_split(interactions, config.data.split).cases("test")
        rules: tuple[Rule, ...] = (ExcludeHistory(),) if config.retrieval.seen == "exclude" else ()
        latent, sampling = recommender.ranker.part("latent"), Sampling.of(config.diffusion)
        model, catalogue = recommender.model, recommender.catalogue
        started = time.monotonic()
        queries = generate_queries(model, catalogue, cases.histories, sampling=sampling, seed=config.seed)
        ranks = target_ranks(latent, queries, cases, rules)
        speed = len(cases) / (time.monotonic() - started)
        own = accuracy(ranks, (10,))["ndcg@10"]
        whole = accuracy(recommender.examine("test").rank(config.retrieval.seen)[0], (10,))["ndcg@10"]
        print(f"{interactions.meta.name}, {run.name}: NDCG@10 {whole.mean():.4f}, latent {own.mean():.4f}, ", end="")
        print(f"{speed:.0f} users/s")
        other, values = first.setdefault(interactions.fingerprint, (run.name, [whole, own]))
        if other != run.name:
            for part, one, two in zip(("whole score", "latent"), [whole, own], values, strict=True):
                pair = paired_bootstrap(one, two)
                print(f"  {part} against {other}: {pair.difference:+.4f}, p {pair.p:.3f}")
        if model.has_rationale:
            print_rationales(recommender)
        if conditioned_on_rationales(recommender):
            gold = Queries(cases.histories, with_gold_rationales(recommender, cases))
            pair = paired_bootstrap(accuracy(target_ranks(latent, gold, cases, rules), (10,))["ndcg@10"], own)
            print(f"  latent, gold rationales {pair.first:.4f}, generated {pair.second:.4f}, p {pair.p:.3f}")


def print_rationales(recommender: Recommender) -> None:
    """Print the shares of named categories, and three rationales."""
    for part in PARTS:
        cases = make_split(recommender.fitted_on, recommender.config.data.split).cases(part)
        texts = generate_texts(recommender.model, recommender.catalogue, cases.histories)
        share = named(recommender, cases, texts)
        print(
            f"  {part}: category named by the rationale {share.model:.3f}, by the user's most frequent "
            f"{share.majority:.3f}, by the training's most frequent {share.most_frequent:.3f} ({share.users:,} users)"
        )
    for text in texts[:3]:
        print(f'  "{text}"')


def conditioned_on_rationales(recommender: Recommender) -> bool:
    """Whether a run's condition contains the rationale."""
    model = recommender.model
    return isinstance(model, DeftRec) and model.strategy.reads_rationale


if __name__ == "__main__":
    main()
