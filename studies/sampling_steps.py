"""NDCG@10 of a trained run by sampler and number of denoising steps: does one step lose anything?

python -m studies.sampling_steps runs/demo --split validation
"""

import argparse
import dataclasses

import torch

from deftrec import Recommender
from deftrec.data import make_split
from deftrec.diffusion import Sampling
from deftrec.evaluation import accuracy, paired_bootstrap
from deftrec.retrieval import ExcludeHistory, generate_queries, target_ranks

WAYS = (("ddim", 0), ("ddim", 1), ("ddpm", 1))
"""Samplers, and their number of noise draws; 0 starts at the mean of the noise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 50, 100])
    parser.add_argument("--users", type=int, default=6000)
    options = parser.parse_args()
    recommender = Recommender.load(options.run)
    model, catalogue, config = recommender.model, recommender.catalogue, recommender.config
    cases = make_split(recommender.fitted_on, config.data.split).cases(options.split).head(options.users)
    ranker = recommender.ranker.only(["latent"])

    def ndcg(sampling: Sampling) -> torch.Tensor:
        queries = generate_queries(model, catalogue, cases.histories, sampling=sampling, seed=0)
        return accuracy(target_ranks(ranker, queries, cases, (ExcludeHistory(),)), cutoffs=(10,))["ndcg@10"]

    configured = Sampling.of(config.diffusion)
    reference = ndcg(configured)
    print(f"{recommender.interactions.meta.name}, {options.split}, {len(cases)} users, latent term alone")
    print(f"configured ({configured}): {reference.mean():.4f}")
    print(f"{'sampler':8} {'draws':>5} {'steps':>5} {'NDCG@10':>8} {'difference':>10} {'p':>6}")
    for sampler, samples in WAYS:
        for steps in options.steps:
            values = ndcg(dataclasses.replace(configured, sampler=sampler, samples=samples, steps=steps))
            test = paired_bootstrap(values, reference)
            print(f"{sampler:8} {samples:5d} {steps:5d} {values.mean():8.4f} {test.difference:+10.4f} {test.p:6.3f}")


if __name__ == "__main__":
    main()
