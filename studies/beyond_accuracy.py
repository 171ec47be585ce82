"""What can be had beside accuracy, and at what price? Guidance of a diffusion against popularity taken off the scores.

    deftrec train --data DIR --out runs/guided --set diffusion.condition_dropout=0.1
    deftrec train --data DIR --out runs/direct --set diffusion.head=direct --set objective.error_weight=0
    python benchmarks/beyond_accuracy.py runs/guided runs/direct

Classifier-free guidance of scale w moves the denoised latent away from what the model would say of nobody in
particular, (1 + w) conditional - w unconditional; a head without diffusion has no unconditional answer, but
popularity can be taken off anybody's scores: score - b log(count + 1). For every setting: NDCG@10, and of the first
ten places the share of the catalogue that somebody sees, the mean surprise in bits, and how unlike each other a
list's items are (1 - cosine of their text vectors, mean over pairs). Latent score alone, seen items excluded.
Expected before measuring: guidance up to 0.2 costs nothing and buys a tenth more coverage; taking off popularity does
the same.
"""

import argparse
import dataclasses

import torch
from torch.nn import functional as F

from deftrec import Recommender
from deftrec.data import make_split
from deftrec.diffusion import Sampling
from deftrec.evaluation import TargetRanks, accuracy, coverage, novelty, paired_bootstrap, ranks_from_scores
from deftrec.retrieval import Found, Retriever, generate_queries, top

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--guidance", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.5, 1.0])
    parser.add_argument("--popularity", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5, 1.0])
    options = parser.parse_args()
    for run in options.runs:
        measure(Recommender.load(run), run, options.split, options.guidance, options.popularity)


def measure(recommender: Recommender, run: str, split: str, guidance: list[float], popularity: list[float]) -> None:
    """One row a setting, paired with the run as it is."""
    config, data = recommender.config, recommender.fitted_on
    cases = make_split(data, config.data.split).cases(split)
    text = recommender.catalogue.features[:, recommender.info.collaborative_width :][:, : recommender.info.text_width]
    counts = recommender.popularity
    retriever = Retriever.of(recommender.model, recommender.catalogue, config)

    def row(scale: float, taken_off: float) -> tuple[torch.Tensor, dict[str, float]]:
        sampling = dataclasses.replace(Sampling.of(config.diffusion), guidance_scale=scale)
        queries = generate_queries(recommender.model, recommender.catalogue, cases.histories, sampling=sampling, seed=0)
        ranks, lists = [], []
        for rows, scores in retriever.chunks(queries, cases.histories, exclude_seen=True):
            scores = scores - taken_off * (counts + 1).log()
            ranks.append(ranks_from_scores(scores, torch.from_numpy(cases.targets[rows])))
            lists.append(top(scores, K))
        found = Found.concatenate(lists).items
        values = {
            "coverage": coverage(found, data.n_items, K),
            "novelty": float(novelty(found, counts, K).nanmean()),
            "diversity": diversity(found, text),
        }
        return accuracy(TargetRanks.concatenate(ranks), (K,))[f"ndcg@{K}"], values

    settings = [(scale, 0.0) for scale in guidance] if config.diffusion.condition_dropout else [(0.0, 0.0)]
    settings += [(0.0, taken_off) for taken_off in popularity]
    print(f"{run}: {data.meta.name}, {split}, {len(cases)} users, head {config.diffusion.head}")
    print(f"{'guidance':>8} {'popularity':>10} {'NDCG@10':>8} {'p':>6} {'coverage':>8} {'novelty':>8} {'diversity':>9}")
    reference, _ = row(0.0, 0.0)
    for scale, taken_off in settings:
        ndcg, values = row(scale, taken_off)
        p = paired_bootstrap(ndcg, reference).p
        print(
            f"{scale:8g} {taken_off:10g} {ndcg.mean():8.4f} {p:6.3f}", *(f"{value:8.4f}" for value in values.values())
        )


def diversity(found: torch.Tensor, text: torch.Tensor) -> float:
    """Mean over lists of the mean of 1 - cosine over all pairs of a list. `[N, K]` items, `[I, e]`"""
    unit = F.normalize(text, dim=-1)[found.clamp_min(0)]  # [N, K, e]
    similarity = unit @ unit.transpose(1, 2)
    pairs = torch.ones(K, K).triu(1).bool()
    return float(1 - similarity[:, pairs].mean())


if __name__ == "__main__":
    main()
