"""What a run's words are worth: categories named, the gap between gold and generated words, accuracy and speed.

    python benchmarks/reasoning.py RUN [RUN ...]

For each run, on the users of validation and of test whose next item has a category: the share whose category the
model's words name, beside two guesses that need no model (the category taken most by everybody, and the one taken most
by the user); all three name one category. NDCG@10 of the whole score and of the latent alone, in float32, and users per
second of the latent alone. Where words are the condition, the latent's NDCG@10 with the model's own words and with the
right ones, which know the target's category: a model that was trained on right words alone falls from the one to the
other.

Runs after the first that were made on its data are compared with it, user by user.
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
from deftrec.model import DeftRec
from deftrec.retrieval import generate_queries, generate_texts
from deftrec.retrieval.ranks import target_ranks

BATCH = 64
PARTS: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Named:
    """Shares of the users whose next item's category is named."""

    model: float
    most_frequent: float
    majority: float
    users: int


def named(recommender: Recommender, cases: Cases, texts: list[str]) -> Named:
    """Who names the category of the next item; users whose next item has none are not counted."""
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
def with_right_words(recommender: Recommender, cases: Cases) -> Tensor:
    """Generated latents under the words that training teaches, the target's category among them. `[N, D]`"""
    model = recommender.model
    if not isinstance(model, DeftRec) or model.reasoner is None:
        raise SystemExit("this needs a single member that has learnt words")
    language = cast(PretrainedLanguageModel, model.language)
    preferences = Preferences(item_categories(recommender.interactions), language, model.reasoner.options)
    catalogue, found = recommender.catalogue, []
    for start in range(0, len(cases), BATCH):
        which = np.arange(start, min(start + BATCH, len(cases)))
        packed = pad_histories(cases.histories, which, model.max_history)
        layout = Layout.of(packed)
        items = torch.from_numpy(packed.items)
        wordings = [preferences.wording(cases.histories[n], int(cases.targets[n])) for n in which]
        text = torch.full((len(which), max(map(len, wordings))), PADDING)
        for row, ids in zip(text, wordings, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        ways = model.tokens(catalogue.ways, catalogue.features, items, layout)
        condition = model.reasoner.condition(model.reasoner.recall(language, ways, layout, items, text))
        sampling = Sampling.of(recommender.config.diffusion)
        generator = torch.Generator().manual_seed(recommender.config.seed)
        found.append(model.diffusion.generate(condition.float(), sampling, generator).x0)
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    first: dict[str, tuple[str, list[Tensor]]] = {}  # of each dataset, the run that others are compared with
    for run in parser.parse_args().runs:
        recommender = Recommender.load(run)
        interactions, config = recommender.fitted_on, recommender.config
        cases = make_split(interactions, config.data.split).cases("test")
        exclude = config.retrieval.seen == "exclude"
        latent = recommender.retriever.part("latent")
        started = time.monotonic()
        queries = generate_queries(
            recommender.model,
            recommender.catalogue,
            cases.histories,
            sampling=Sampling.of(config.diffusion),
            seed=config.seed,
        )
        ranks = target_ranks(latent, queries, cases, exclude)
        speed = len(cases) / (time.monotonic() - started)
        own = accuracy(ranks, (10,))["ndcg@10"]
        whole = accuracy(recommender.examine("test").rank(config.retrieval.seen)[0], (10,))["ndcg@10"]
        print(f"{interactions.meta.name}, {run.name}: NDCG@10 {whole.mean():.4f}, latent {own.mean():.4f}, ", end="")
        print(f"{speed:.0f} users/s; text weight {recommender.retriever.text_weight:g}")
        other, values = first.setdefault(interactions.fingerprint, (run.name, [whole, own]))
        if other != run.name:
            for part, one, two in zip(("whole score", "latent"), [whole, own], values, strict=True):
                pair = paired_bootstrap(one, two)
                print(f"  {part} against {other}: {pair.first - pair.second:+.4f}, p {pair.p:.3f}")
        if recommender.model.has_rationale:
            for part in PARTS:
                asked = make_split(interactions, config.data.split).cases(part)
                texts = generate_texts(recommender.model, recommender.catalogue, asked.histories)
                share = named(recommender, asked, texts)
                print(
                    f"  {part}: category named by the model {share.model:.3f}, the user's most frequent "
                    f"{share.majority:.3f}, everybody's {share.most_frequent:.3f} ({share.users:,} users)"
                )
            for n in range(3):
                print(f'  "{texts[n]}"')
        if conditioned_on_words(recommender):
            right = target_ranks(latent, with_right_words(recommender, cases), cases, exclude)
            pair = paired_bootstrap(accuracy(right, (10,))["ndcg@10"], own)
            print(f"  latent with the right words {pair.first:.4f}, with its own {pair.second:.4f}, p {pair.p:.3f}")


def conditioned_on_words(recommender: Recommender) -> bool:
    model = recommender.model
    return isinstance(model, DeftRec) and model.reasoner is not None and model.reasoner.conditions


if __name__ == "__main__":
    main()
