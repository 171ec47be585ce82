"""The denoiser: a perceptron modulated by time and condition (AdaLN-Zero; Peebles and Xie 2023)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Denoiser(nn.Module):
    """Predicts x0 or the noise from a noised latent, a time and a condition. Its initial output is zero.

    `latent` is the width D of latents and conditions, `width` the hidden width W, `depth` the number of blocks.
    """

    def __init__(self, latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Linear(latent, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(latent, width)
        self.blocks = nn.ModuleList(ModulatedBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, latent)
        for layer in (self.modulate, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """`x` and `condition` `[N, D]`, `t` `[N]` in [0, 1] -> `[N, D]`"""
        h = self.enter(x)
        signal = F.silu(self.time(time_features(t, h.shape[-1]).to(h.dtype)) + self.condition(condition))
        for block in self.blocks:
            h = block(h, signal)
        shift, scale = self.modulate(signal).chunk(2, -1)
        return self.leave(self.norm(h) * (1 + scale) + shift)  # type: ignore[no-any-return]


class ModulatedBlock(nn.Module):
    """Residual perceptron whose norm is shifted and scaled, and whose output is gated, by the signal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.modulate = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, signal: Tensor) -> Tensor:
        """`[N, W]` -> `[N, W]`"""
        shift, scale, gate = self.modulate(signal).chunk(3, -1)
        return h + gate * self.perceptron(self.norm(h) * (1 + scale) + shift)  # type: ignore[no-any-return]


def time_features(t: Tensor, width: int) -> Tensor:
    """Sinusoids of 1000 t (Vaswani et al. 2017). `[N]` -> `[N, width]`"""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = 1000 * t[:, None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], -1), (0, width - 2 * half))
