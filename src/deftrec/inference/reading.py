"""One history that grows: a further item costs one step of the language model, whatever came before."""

import torch
from torch import Tensor

from deftrec.diffusion import Sampling
from deftrec.inference.model import InferenceModel


class Reading:
    """A history as far as it has been read.

    Up to `data.max_history` items, a further item is one step over kept keys and values. Past that, every item
    moves the positions of all others, and the newest `max_history` items are read again.

    Args:
        model: reads.
        history: item numbers, oldest first, one or more.
    """

    def __init__(self, model: InferenceModel, history: list[int]) -> None:
        self.model, self.history = model, list(history)
        self._read_anew()

    def add(self, item: int) -> None:
        """Read one more item."""
        self.history.append(item)
        if len(self.history) > self.model.max_history:
            self._read_anew()
        else:
            self._read([item])

    def latent(self, sampling: Sampling, generator: torch.Generator | None = None) -> Tensor:
        """The latent of the next item, as `InferenceModel.generate`. `[1, D]`"""
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
