"""Floating-point operations of one answer, counted product by product on the `meta` device."""

import torch

from deftrec.diffusion import Sampling
from deftrec.doctor.skeleton import META, Skeleton, one_layout
from deftrec.doctor.subject import Subject
from deftrec.flops import counting
from deftrec.retrieval.terms.collaborative_prior import NEIGHBOURS


def work_per_user(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Operations of one recommendation for a history of `data.max_history` items, by part; a multiply-add counts 2.

    `language model` reads prompt and history, `denoising` is all steps, `scoring` compares with every item, `prior` is
    the collaborative prior where there may be one.
    """
    config, model = subject.config, skeleton.model.eval()
    members, max_history = int(config.training.ensemble_size), model.max_history
    catalogue, layout = skeleton.catalogue(), one_layout(1, max_history)
    items = torch.zeros(1, max_history, dtype=torch.int64, device=META)
    with META, counting() as reading:
        condition = model.condition(catalogue.ways, catalogue.features, items, layout)
    with META, counting() as denoising:
        model.diffusion.generate(condition[:, -1].float(), Sampling.of(config.diffusion))
    work = {"language model": members * reading.get_total_flops(), "denoising": members * denoising.get_total_flops()}
    work["scoring"] = 2 * catalogue.latents.numel() * members
    if config.retrieval.prior != "none":
        work["prior"] = 2 * max_history * min(NEIGHBOURS, config.retrieval.prior_max_items, subject.items)
    return work
