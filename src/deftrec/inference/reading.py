"""A history that grows item by item: each further item costs one step of the language model."""

import torch
from torch import Tensor

from deftrec.diffusion import Sampling
from deftrec.inference.model import InferenceModel


class Reading:
    """A history and its cached keys and values.

    Up to `data.max_history` items, a further item costs one step. Beyond it, the positions of all items move and the
    newest `max_history` items are read again.

    Args:
        model: fast path of the model.
        history: item numbers, oldest first, at least one.
    """

    def __init__(self, model: InferenceModel, history: list[int]) -> None:
        self.model, self.history = model, list(history)
        self._read_anew()

    def add(self, item: int) -> None:
        """Read a further item."""
        self.history.append(item)
        if len(self.history) > self.model.max_history:
            self._read_anew()
        else:
            self._read([item])

    def latent(self, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """Latent of the next item, as `InferenceModel.generate`. `[1, D]`"""
        return self.model.latents(self.conditions, sampling, generator)

    def _read_anew(self) -> None:
        self.states = [member.begin(1) for member in self.model.members]
        self._read(self.history[-self.model.max_history :])

    @torch.no_grad()
    def _read(self, items: list[int]) -> None:
        row = torch.tensor([items], device=self.model.device)
        length = torch.tensor([len(items)], device=self.model.device)
        pairs = zip(self.model.members, self.states, strict=True)
        self.conditions = [member.read(row, length, state) for member, state in pairs]
