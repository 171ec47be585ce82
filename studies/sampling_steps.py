"""Does one denoising step lose anything? NDCG@10 of a trained run by sampler and number of steps.

python benchmarks/sampling_steps.py runs/demo --split validation
"""

import argparse
import dataclasses

import torch

from deftrec import Recommender
from deftrec.data import make_split
from deftrec.diffusion import Sampling
from deftrec.evaluation import accuracy, paired_bootstrap
from deftrec.retrieval import Retriever, generate_queries
from deftrec.retrieval.ranks import target_ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 50, 100])
    parser.add_argument("--users", type=int, default=6000)
    options = parser.parse_args()
    recommender = Recommender.load(options.run)
    config = recommender.config
    cases = make_split(recommender.fitted_on, config.data.split).cases(options.split).head(options.users)
    retriever = Retriever.of(recommender.model, recommender.catalogue, config)

    def ndcg(sampling: Sampling) -> torch.Tensor:
        queries = generate_queries(
            recommender.model,
            recommender.catalogue,
            cases.histories,
            sampling=sampling,
            seed=0,
        )
        return accuracy(target_ranks(retriever, queries, cases, exclude_seen=True), cutoffs=(10,))["ndcg@10"]

    configured = Sampling.of(config.diffusion)
    reference = ndcg(configured)
    print(f"{recommender.interactions.meta.name}, {options.split}, {len(cases)} users, latent score alone")
    print(f"configured ({configured.sampler}, {configured.start}, {configured.steps} steps): {reference.mean():.4f}")
    print(f"{'sampler':8} {'start':6} {'steps':>5} {'NDCG@10':>8} {'difference':>10} {'p':>6}")
    for sampler, start in (("ddim", "zero"), ("dpm", "zero"), ("ddim", "noise"), ("dpm", "noise"), ("ddpm", "noise")):
        for steps in options.steps:
            values = ndcg(dataclasses.replace(configured, sampler=sampler, start=start, steps=steps))
            test = paired_bootstrap(values, reference)
            print(f"{sampler:8} {start:6} {steps:5d} {values.mean():8.4f} {test.difference:+10.4f} {test.p:6.3f}")


if __name__ == "__main__":
    main()
