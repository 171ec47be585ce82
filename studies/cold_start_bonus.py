"""What raising the scores of unseen items buys and costs: the trade that `retrieval.cold_start_cost` settles on validation.

    python benchmarks/exposure.py --data data/software --set training.ensemble_size=1

Trains once, on the data without the users and items that `deftrec unseen` holds out, and asks its questions under every
bonus. Expected before measuring: HR@50 of unseen items rises for a long way while NDCG@10 of seen ones hardly falls.
It does not: each gain has its price from the first step on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from studies.cold_start import hold_out
from studies.cold_start.asking import ask_parts, content_neighbours
from studies.cold_start.study import with_items

from deftrec import Interactions, Recommender
from deftrec.data.words import texts_of
from deftrec.pretrained_files.locate import MINILM, model_folder
from deftrec.recipe import load_recipe
from deftrec.retrieval.terms.cold_start_bonus import Exposure
from deftrec.text.sentences import sentence_vectors

BONUSES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_recipe(options.recipe, options.set)
    held = hold_out(Interactions.load(options.data))
    trained = Recommender.fit(held.training, config)
    info = trained.info
    assert info.text_width, "unseen items are read by their words: set text.model to minilm"
    texts = sentence_vectors(
        texts_of(held.whole.catalogue),
        model_folder(config.text.model or MINILM),
        max_tokens=config.text.max_tokens,
        device=trained.catalogue.latents.device,
        dtype=trained.catalogue.latents.dtype,
    )
    for newest in (None, 1):
        nearest = content_neighbours(texts, held.questions.unseen_items, newest)["hr@50"].mean()
        print(f"content-kNN, {'whole history' if newest is None else 'newest item'}: HR@50 {nearest:.4f}")
    print(f"chosen on validation: {info.exposure}")
    print("bonus   unseen items, HR@50 (latent alone)   seen items, NDCG@10")
    for bonus in BONUSES:
        as_if = info.model_copy(update={"exposure": Exposure(bonus, 0.0, 0.0, 0.0, 0.0)})
        recommender = with_items(Recommender(replace(trained.run, info=as_if)), held, texts)
        unseen, latent = ask_parts(recommender, held.whole, held.questions.unseen_items, ("hybrid", "latent"))
        [seen] = ask_parts(recommender, held.whole, held.questions.seen_items, ("hybrid",))
        print(
            f"{bonus:5.2f}   {unseen['hr@50'].mean():.4f} ({latent['hr@50'].mean():.4f})   {seen['ndcg@10'].mean():.4f}"
        )


if __name__ == "__main__":
    main()
