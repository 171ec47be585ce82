"""The result of `deftrec doctor`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from deftrec.config import PretrainedOptions
from deftrec.diffusion import Sampling
from deftrec.doctor.memory import serving_memory, training_memory
from deftrec.doctor.skeleton import META, Skeleton, Subject, build_skeleton, one_layout, tokens_per_item
from deftrec.flops import counting
from deftrec.retrieval.terms.collaborative_prior import NEIGHBOURS


@dataclass(frozen=True)
class Examination:
    """Costs of a recipe or a run.

    Attributes:
        members: models of the ensemble; parameters are those of all of them.
        language_model: configured language model; `nano` for the one trained from scratch.
        architecture: source of its shape: a local folder, the hub, its cache, or the packaged copy.
        tuning: `frozen`, `full`, `lora` or `nf4`; `full` for `nano`.
        prompt_tokens, history_tokens: tokens read for one user with a history of `data.max_history` items.
        parameters: number of parameters by part.
        trained: number of trained parameters.
        training_bytes, serving_bytes: bytes by part.
        flops_per_user: floating-point operations of one recommendation, by part.
        notes: assumptions and estimates, in words.
    """

    name: str
    items: int
    members: int
    language_model: str
    architecture: str
    tuning: str
    prompt_tokens: int
    history_tokens: int
    parameters: Mapping[str, int]
    trained: int
    training_bytes: Mapping[str, int]
    serving_bytes: Mapping[str, int]
    flops_per_user: Mapping[str, int]
    notes: tuple[str, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Everything, with the sums that the terminal shows."""
        sums = {
            "total_parameters": sum(self.parameters.values()),
            "trained_share": self.trained / sum(self.parameters.values()),
            "total_training_bytes": sum(self.training_bytes.values()),
            "total_serving_bytes": sum(self.serving_bytes.values()),
            "total_flops_per_user": sum(self.flops_per_user.values()),
        }
        return {**asdict(self), **sums}


def examine(subject: Subject) -> Examination:
    """Build `subject` without values and count; errors as for `build_skeleton`."""
    skeleton = build_skeleton(subject)
    config, options = subject.config, subject.config.language
    members = int(config.training.ensemble_size)
    trained = sum(parameter.numel() for parameter in skeleton.model.parameters() if parameter.requires_grad)
    return Examination(
        name=subject.name,
        items=subject.items,
        members=members,
        language_model=options.model if isinstance(options, PretrainedOptions) else "nano",
        architecture=skeleton.architecture.source if skeleton.architecture is not None else "its options",
        tuning=options.tuning if isinstance(options, PretrainedOptions) else "full",
        prompt_tokens=skeleton.prompt,
        history_tokens=skeleton.model.max_history * tokens_per_item(config),
        parameters={part: members * count for part, count in parameters_of(skeleton).items()},
        trained=members * trained,
        training_bytes=training_memory(skeleton, subject),
        serving_bytes=serving_memory(skeleton, subject),
        flops_per_user=work_per_user(skeleton, subject),
        notes=tuple(_notes(subject, skeleton)),
    )


def parameters_of(skeleton: Skeleton) -> dict[str, int]:
    """Number of parameters of each part of one member."""
    model = skeleton.model
    adapter = sum(p.numel() for name, p in model.language.named_parameters() if "lora_" in name)
    tokenizers = [model.item_tokenizer] + ([] if model.user_tokenizer is None else [model.user_tokenizer])
    # The one number that scales tokens to the size of words did not come with the language model.
    scale = 1 if skeleton.architecture is not None else 0
    parts = {
        "language model": sum(p.numel() for p in model.language.parameters()) - adapter - scale,
        "adapter": adapter,
        "tokenizer": sum(p.numel() for one in tokenizers for p in one.parameters()) + scale,
        "head": sum(p.numel() for p in model.diffusion.parameters()),
        "rationale": sum(p.numel() for p in model.strategy.parameters()),
        "item features": model.features.values.numel(),
    }
    return {part: count for part, count in parts.items() if count}


def work_per_user(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Operations of one recommendation for a history of `data.max_history` items, by part; a multiply-add counts 2.

    `language model` reads prompt and history, `denoising` is all steps, `scoring` compares with every item, `prior` is
    the collaborative prior where there may be one.
    """
    config, model = subject.config, skeleton.model.eval()
    members, catalogue = int(config.training.ensemble_size), skeleton.catalogue()
    items = torch.zeros(1, model.max_history, dtype=torch.int64, device=META)
    with META, counting() as reading:
        condition = model.condition(catalogue.ways, catalogue.features, items, one_layout(1, model.max_history))
    with META, counting() as denoising:
        model.diffusion.generate(condition[:, -1].float(), Sampling.of(config.diffusion))
    work = {"language model": members * reading.get_total_flops(), "denoising": members * denoising.get_total_flops()}
    work["scoring"] = 2 * catalogue.latents.numel() * members
    if config.retrieval.prior != "none":
        work["prior"] = 2 * model.max_history * min(NEIGHBOURS, config.retrieval.prior_max_items, subject.items)
    return work


def _notes(subject: Subject, skeleton: Skeleton) -> list[str]:
    notes = list(subject.assumed)
    architecture = skeleton.architecture
    if architecture is not None and architecture.source == "packaged copy":
        notes.append("the language model's shape is the packaged copy of its config.json; the hub was not asked")
    if skeleton.prompt_estimated:
        notes.append("tokens of the prompt are estimated from its letters: the model's tokenizer is not at hand")
    notes.append(
        "activations are an estimate: what autograd keeps of one batch without autocast and fused attention, both of "
        "which lower it"
    )
    if subject.config.training.sharded:
        notes.append(
            "training.sharded: each of N processes holds an Nth of all but the activations, which are its own, and "
            "the weights whole while it validates"
        )
    if skeleton.model.has_rationale:
        notes.append("the preference in words, its loss and its generation, is not among activations and work")
    return notes
