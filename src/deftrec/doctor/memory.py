"""Memory of training and serving in bytes, from shapes alone."""

import torch
from torch import Tensor, nn

from deftrec.config import Config, PretrainedOptions
from deftrec.diffusion import Sampling
from deftrec.doctor.skeleton import META, Skeleton, Subject, one_layout, tokens_per_item
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.stored import stored_state
from deftrec.retrieval.terms.collaborative_prior import NEIGHBOURS

NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits of one weight: 4, an 8-bit constant for 64 weights, and a 32-bit one for 256 constants (QLoRA, section 3)."""

ONE_PASS = Sampling("ddim", 1, 0, 0.0)
"""One pass of the denoiser, as for a target in training."""


def training_memory(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Peak memory of the joint stage, by part.

    All parts but the activations are exact. Activations are the tensors that autograd keeps for one batch, with
    attention written out and without autocast, so they are an upper estimate; workspace of kernels is not counted.
    """
    model, config = skeleton.model.train(), subject.config
    trained = sum(_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad)
    parts = {
        "weights": int(config.training.ensemble_size) * weight_bytes(model, config),
        "gradients": trained,
        "AdamW states": 2 * trained,
    }
    if config.training.average:
        parts["averaged weights"] = trained
    parts["best weights so far"] = sum(_bytes(tensor) for tensor in stored_state(model).values())
    parts["activations (estimate)"] = activations(skeleton, subject)
    return parts


def serving_memory(skeleton: Skeleton, subject: Subject) -> dict[str, int]:
    """Memory of serving one user after the other, by part."""
    config, members = subject.config, int(subject.config.training.ensemble_size)
    catalogue = skeleton.catalogue()
    parts = {
        "weights": members * weight_bytes(skeleton.model, config),
        "tokens and latents of the items": members * (_bytes(catalogue.ways) + _bytes(catalogue.latents)),
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
    whole = sum(_bytes(tensor) for tensor in [*model.parameters(), *model.buffers()])
    if not (isinstance(config.language, PretrainedOptions) and config.language.tuning == "nf4"):
        return whole
    frozen = [
        module.weight
        for name, module in model.named_modules()
        if name.startswith("language.") and isinstance(module, nn.Linear) and not module.weight.requires_grad
    ]
    return whole + sum(round(weight.numel() * NF4_BITS / 8) - _bytes(weight) for weight in frozen)


def activations(skeleton: Skeleton, subject: Subject) -> int:
    """Bytes that autograd keeps for one batch in item tokenizer, language model and denoiser."""
    model, config, max_history = skeleton.model, subject.config, skeleton.model.max_history
    rows = max(1, int(config.training.batch_positions) // max_history)
    candidates = min(subject.items, config.objective.sampled_items + 2 * rows * max_history)
    if subject.items <= config.objective.full_softmax_limit:
        candidates = subject.items
    layout, tokenizer = one_layout(rows, max_history), model.item_tokenizer
    items = torch.zeros(rows, max_history, dtype=torch.int64, device=META)
    with META, _Kept(model) as tokens:
        features = model.features.values[:candidates]
        masked = tokenizer.masking(features)
        ways = torch.stack([encoder(masked) for encoder in tokenizer.encoders], 1)
    with META, _Kept(model) as language:
        condition = model.condition(ways, features, items, layout)
    with META, _Kept(model) as head:
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


class _Kept:
    """Counts the `bytes` of tensors that autograd keeps inside the block, each storage once, without the model."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
        self._held: list[Tensor] = []  # or an address could be given out again
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self) -> "_Kept":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._held.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
