"""Coverage, novelty and diversity, and their price in accuracy: guidance, or popularity subtracted from the scores.

    deftrec train --data DIR --out runs/guided --set diffusion.condition_dropout=0.1
    python -m studies.controls train --data DIR --out runs/direct --set objective.error_weight=0
    python -m studies.beyond_accuracy runs/guided runs/direct

Classifier-free guidance of scale w moves the denoised latent away from the unconditional one: (1 + w) conditional - w
unconditional. The control without diffusion has no unconditional answer, but popularity can be subtracted from any
scores: score - b log(count + 1). Printed for every setting: NDCG@10; of the first ten items of all lists, the share of
the catalogue, the mean surprise in bits, and the mean of 1 - cosine of two text vectors of a list. Latent term alone,
seen items excluded. Expected before measuring: guidance up to 0.2 costs nothing and adds a tenth of coverage;
subtracting popularity does the same.
"""

import argparse
import dataclasses

import torch
from torch.nn import functional as F

from deftrec import Recommender
from deftrec.data import Part, make_split
from deftrec.diffusion import Sampling
from deftrec.evaluation import accuracy, paired_bootstrap, ranks_from_scores
from deftrec.evaluation.metrics import coverage, novelty
from deftrec.retrieval import ExcludeHistory, generate_queries, top
from deftrec.tensors import joined

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


def measure(recommender: Recommender, run: str, split: Part, guidance: list[float], popularity: list[float]) -> None:
    """Print one row per setting, paired with the run's own sampling."""
    config, data = recommender.config, recommender.fitted_on
    cases = make_split(data, config.data.split).cases(split)
    text = recommender.catalogue.features[:, recommender.info.collaborative_width :][:, : recommender.info.text_width]
    counts = recommender.popularity
    ranker = recommender.ranker.only(["latent"])

    def row(scale: float, subtracted: float) -> tuple[torch.Tensor, dict[str, float]]:
        sampling = dataclasses.replace(Sampling.of(config.diffusion), guidance_scale=scale)
        queries = generate_queries(recommender.model, recommender.catalogue, cases.histories, sampling=sampling, seed=0)
        ranks, lists = [], []
        for rows, scores in ranker.chunks(queries, (ExcludeHistory(),)):
            scores = scores - subtracted * (counts + 1).log()
            ranks.append(ranks_from_scores(scores, torch.from_numpy(cases.targets[rows])))
            lists.append(top(scores, K))
        found = joined(lists).items
        values = {
            "coverage": coverage(found, data.n_items, K),
            "novelty": float(novelty(found, counts, K).nanmean()),
            "diversity": diversity(found, text),
        }
        return accuracy(joined(ranks), (K,))[f"ndcg@{K}"], values

    settings = [(scale, 0.0) for scale in guidance] if config.diffusion.condition_dropout else [(0.0, 0.0)]
    settings += [(0.0, subtracted) for subtracted in popularity]
    print(f"{run}: {data.meta.name}, {split}, {len(cases)} users")
    print(f"{'guidance':>8} {'popularity':>10} {'NDCG@10':>8} {'p':>6} {'coverage':>8} {'novelty':>8} {'diversity':>9}")
    reference, _ = row(0.0, 0.0)
    for scale, subtracted in settings:
        ndcg, values = row(scale, subtracted)
        p = paired_bootstrap(ndcg, reference).p
        print(f"{scale:8g} {subtracted:10g} {ndcg.mean():8.4f} {p:6.3f}", *(f"{one:8.4f}" for one in values.values()))


def diversity(found: torch.Tensor, text: torch.Tensor) -> float:
    """Mean over lists of the mean of 1 - cosine over all pairs of a list. `[N, K]` items, `[I, e]`"""
    unit = F.normalize(text, dim=-1)[found.clamp_min(0)]  # [N, K, e]
    similarity = unit @ unit.transpose(1, 2)
    pairs = torch.ones(K, K).triu(1).bool()
    return float(1 - similarity[:, pairs].mean())


if __name__ == "__main__":
    main()
