"""Gain and cost of the score bonus of unseen items, the trade that `retrieval.cold_start_cost` settles on validation.

    python -m studies.cold_start_bonus --data data/software --set training.ensemble_size=1

Trains once, without the users and items that `studies.cold_start` holds out, and evaluates its cases under every
bonus. Expected before measuring: HR@50 of unseen items rises for a long way while NDCG@10 of seen ones hardly falls.
Measured: every gain has a price from the first step on.
"""

import argparse
from copy import copy
from dataclasses import replace
from pathlib import Path

import torch

from deftrec import Interactions, Recommender
from deftrec.cli.console import listening
from deftrec.recipe import load_recipe
from deftrec.retrieval import ColdStartBonus, ExtendedCatalogue
from studies.cold_start import hold_out
from studies.cold_start.asking import ask_parts, content_neighbours
from studies.cold_start.study import with_items
from studies.pretrained import text_vectors

BONUSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_recipe(options.recipe, options.set)
    held = hold_out(Interactions.load(options.data))
    with listening() as progress:
        texts = text_vectors(held.whole, config, progress)
        trained = Recommender.fit(held.training, config, progress=progress)
    for newest in (None, 1):
        nearest = content_neighbours(texts, held.questions.unseen_items, newest)["hr@50"].mean()
        print(f"content-kNN, {'whole history' if newest is None else 'newest item'}: HR@50 {nearest:.4f}")
    print(f"chosen on validation: {trained.info.terms.get(ColdStartBonus.name)}")
    print("bonus   unseen items, HR@50 (latent alone)   seen items, NDCG@10")
    extended = with_items(trained, held, texts)
    for bonus in BONUSES:
        recommender = with_bonus(extended, bonus, int(held.items.sum()))
        unseen, latent = ask_parts(recommender, held.whole, held.questions.unseen_items, ("hybrid", "latent"))
        [seen] = ask_parts(recommender, held.whole, held.questions.seen_items, ("hybrid",))
        print(
            f"{bonus:5.2f}   {unseen['hr@50'].mean():.4f} ({latent['hr@50'].mean():.4f})   {seen['ndcg@10'].mean():.4f}"
        )


def with_bonus(recommender: Recommender, bonus: float, added: int) -> Recommender:
    """A recommender with `added` unseen items whose bonus is replaced."""
    catalogue = ExtendedCatalogue(recommender.catalogue.latents, torch.zeros(added))
    terms = [term for term in recommender.ranker.terms if not isinstance(term, ColdStartBonus)]
    other = copy(recommender)
    other.ranker = replace(recommender.ranker, terms=(*terms, ColdStartBonus(bonus).extended(catalogue)))
    return other


if __name__ == "__main__":
    main()
