"""The result of `deftrec doctor`: parameters, work, and memory in bytes, from shapes alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deftrec.config import Config, PretrainedOptions
from deftrec.diffusion import Sampling
from deftrec.doctor.skeleton import META, Skeleton, Subject, build_skeleton, one_layout, tokens_per_item
from deftrec.flops import counting
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.stored import stored_state
from deftrec.retrieval.terms.collaborative_prior import NEIGHBOURS

NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits of one weight: 4, an 8-bit constant for 64 weights, and a 32-bit one for 256 constants (QLoRA, section 3)."""

ONE_PASS = Sampling("ddim", 1, 0, 0.0)
"""One pass of the denoiser, as for a target in training."""


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


def training_memory(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Peak memory of the joint stage, by part.

    All parts but the activations are exact. Activations are the tensors that autograd keeps for one batch, with
    attention written out and without autocast, so they are an upper estimate; workspace of kernels is not counted.
    """
    model, config = skeleton.model.train(), subject.config
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    parts = {
        "weights": int(config.training.ensemble_size) * weight_bytes(model, config),
        "gradients": trained,
        "AdamW states": 2 * trained,
    }
    if config.training.average:
        parts["averaged weights"] = trained
    parts["best weights so far"] = sum(tensor.nbytes for tensor in stored_state(model).values())
    parts["activations (estimate)"] = activations(skeleton, subject)
    return parts


def serving_memory(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Memory of serving one user after the other, by part."""
    config, members = subject.config, int(subject.config.training.ensemble_size)
    catalogue = skeleton.catalogue()
    parts = {
        "weights": members * weight_bytes(skeleton.model, config),
        "tokens and latents of the items": members * (catalogue.ways.nbytes + catalogue.latents.nbytes),
        "scores of one user": 4 * subject.items,
    }
    users = skeleton.model.user_tokenizer
    if users is not None:  # as `deftrec.inference` keeps them
        numbers = len(users.encoders) * (skeleton.model.language.width + config.tokenizer.hidden)
        parts["projections for folded users"] = 4 * members * subject.items * numbers
    if config.retrieval.prior != "none":
        participating = min(config.retrieval.prior_max_items, subject.items)
        # An item number and a weight for each neighbour (int32, float32), the number of each item that takes part and
        # an index of the catalogue (both int32).
        row = min(NEIGHBOURS, participating) * (4 + 4) + 4
        parts["collaborative prior"] = participating * row + 4 * subject.items
    return parts


def weight_bytes(model: nn.Module, config: Config) -> int:
    """Bytes of parameters and buffers; frozen linear layers of a 4-bit model count 4 bits per weight."""
    whole = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    if not (isinstance(config.language, PretrainedOptions) and config.language.tuning == "nf4"):
        return whole
    frozen = [
        module.weight
        for name, module in model.named_modules()
        if name.startswith("language.") and isinstance(module, nn.Linear) and not module.weight.requires_grad
    ]
    return whole + sum(round(weight.numel() * NF4_BITS / 8) - weight.nbytes for weight in frozen)


def activations(skeleton: Skeleton, subject: Subject) -> int:
    """Bytes that autograd keeps for one batch in item tokenizer, language model and denoiser."""
    model, config, max_history = skeleton.model, subject.config, skeleton.model.max_history
    rows = max(1, int(config.training.batch_positions) // max_history)
    candidates = min(subject.items, config.objective.sampled_items + 2 * rows * max_history)
    if subject.items <= config.objective.full_softmax_limit:
        candidates = subject.items
    layout, tokenizer = one_layout(rows, max_history), model.item_tokenizer
    items = torch.zeros(rows, max_history, dtype=torch.int64, device=META)
    tokens, language, head = (_Kept(model) for _ in range(3))
    with META, tokens:
        features = model.features.values[:candidates]
        masked = tokenizer.masking(features)
        ways = torch.stack([encoder(masked) for encoder in tokenizer.encoders], 1)
        if tokenizer.in_one:
            ways = ways.mean(1, keepdim=True)
    with META, language:
        condition = model.condition(ways, features, items, layout)
    with META, head:
        model.diffusion.generate(condition.flatten(0, 1).float(), ONE_PASS)
    reading = language.bytes
    if isinstance(config.language, PretrainedOptions) and config.language.gradient_checkpointing:
        reading = _with_checkpoints(reading, skeleton, rows * (skeleton.prompt + max_history * tokens_per_item(config)))
    return tokens.bytes + reading + head.bytes


def _with_checkpoints(whole: int, skeleton: Skeleton, tokens: int) -> int:
    """Bytes left of `whole` where every layer keeps its input alone, and one layer at a time is computed again."""
    language = skeleton.model.language
    assert isinstance(language, PretrainedLanguageModel)
    layers = int(language.model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    return whole // layers + layers * tokens * language.width * language.dtype.itemsize


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """Counts the `bytes` of tensors that autograd keeps inside the block, each storage once, without the model."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
        self._held: list[Tensor] = []  # or an address could be given out again
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._held.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def _notes(subject: Subject, skeleton: Skeleton) -> list[str]:
    notes = list(subject.assumed)
    architecture = skeleton.architecture
    if architecture is not None and architecture.source == "packaged copy":
        notes.append("the language model's shape is the packaged copy of its config.json; the hub was not asked")
    if skeleton.prompt_estimated:
        notes.append("tokens of the prompt are estimated from its letters: the model's tokenizer is not at hand")
    if subject.config.reasoner is not None:
        notes.append(f"the reasoner ({subject.config.reasoner.model}) is not counted: it stands beside this model")
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
