"""Many dimensions on a sheet: where items, histories and denoising paths are drawn."""

import numpy as np
import torch
from torch import Tensor


class Projection:
    """The two main axes of a cloud of points.

    Args:
        centre: mean of the points. `[D]`
        axes: orthonormal. `[D, 2]`
        shares: of the variance, of each axis.
    """

    def __init__(self, centre: Tensor, axes: Tensor, shares: tuple[float, float]) -> None:
        self.centre, self.axes, self.shares = centre, axes, shares

    @classmethod
    def of(cls, points: Tensor) -> "Projection":
        """Principal components of `points` `[N, D]`. The sign is fixed: the largest coordinate is positive."""
        centre = points.double().mean(0)
        centred = points.double() - centre
        variances, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors[:, [-1, -2]]
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        total = float(variances.sum()) or 1.0
        return cls(centre, axes, (float(variances[-1]) / total, float(variances[-2]) / total))

    def __call__(self, points: Tensor) -> np.ndarray:
        """`[..., D]` -> `[..., 2]`"""
        placed: np.ndarray = ((points.double() - self.centre) @ self.axes).numpy()
        return placed
