"""Projection of latents to two dimensions, for plots of items, histories and denoising paths."""

import numpy as np
import torch
from torch import Tensor


class Projection:
    """Projection to the first two principal components.

    Args:
        centre: mean of the points. `[D]`
        axes: orthonormal axes. `[D, 2]`
        shares: share of the variance along each axis, in 0..1.
    """

    def __init__(self, centre: Tensor, axes: Tensor, shares: tuple[float, float]) -> None:
        self.centre, self.axes, self.shares = centre, axes, shares

    @classmethod
    def of(cls, points: Tensor) -> "Projection":
        """Fit the axes to `points` `[N, D]`. Signs are fixed: the largest coordinate of an axis is positive."""
        centre = points.double().mean(0)
        centred = points.double() - centre
        variances, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors[:, [-1, -2]]
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        total = float(variances.sum()) or 1.0
        return cls(centre, axes, (float(variances[-1]) / total, float(variances[-2]) / total))

    def __call__(self, points: Tensor) -> np.ndarray:
        """Project points. `[..., D]` -> `[..., 2]`"""
        placed: np.ndarray = ((points.double() - self.centre) @ self.axes).numpy()
        return placed
