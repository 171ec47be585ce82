"""Cross-entropy over a whole catalogue, in chunks, without the full [targets x items] matrix of logits."""

from typing import Any

import torch
from torch import Tensor

CHUNK_CELLS = 1 << 20  # number of logits computed at a time on a CPU: 4 MiB in float32, which fit into its caches
GPU_CHUNK_CELLS = 1 << 26  # number of logits computed at a time on a GPU, 256 MiB: small products would leave it idle


def chunked_cross_entropy(
    queries: Tensor,
    latents: Tensor,
    bias: Tensor,
    targets: Tensor,
    hidden: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean of -log softmax(queries latents^T + bias)[target], in chunks of rows; the forward pass computes gradients.

    Returns a float32 scalar. Matrix products run in the autocast dtype where autocast is on.

    Args:
        queries: `[N, D]`, already divided by the temperature.
        latents: `[C, D]`
        bias: added to the logits. `[C]` float32
        targets: index of the right row of `latents`. `[N]` int64
        hidden: (row, column) pairs left out of the softmax, sorted by row, without the targets. `[M, 2]` int64
        weights: weight of each row, 1 on average; None: all weigh the same. `[N]` float32
    """
    device = queries.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else queries.dtype
    if hidden is None:
        hidden = torch.zeros(0, 2, dtype=torch.int64, device=queries.device)
    loss: Tensor = _ChunkedCrossEntropy.apply(queries, latents, bias, targets, hidden, dtype, weights)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        latents: Tensor,
        bias: Tensor,
        targets: Tensor,
        hidden: Tensor,
        dtype: torch.dtype,
        weights: Tensor | None,
    ) -> Tensor:
        N, C = len(queries), len(latents)
        cells = CHUNK_CELLS if queries.device.type == "cpu" else GPU_CHUNK_CELLS
        rows = max(1, min(N, cells // C))
        q, z = queries.detach().to(dtype), latents.detach().to(dtype)
        q_gradient, z_gradient = torch.empty_like(queries), torch.zeros_like(latents, dtype=torch.float32)
        bias_gradient = torch.zeros_like(bias)
        total = torch.zeros((), device=queries.device)
        bounds = torch.searchsorted(hidden[:, 0].contiguous(), torch.arange(0, N + rows, rows, device=hidden.device))
        for number, start in enumerate(range(0, N, rows)):
            part = slice(start, min(start + rows, N))
            logits = (q[part] @ z.T).float().add_(bias)
            pairs = hidden[bounds[number] : bounds[number + 1]]
            logits[pairs[:, 0] - start, pairs[:, 1]] = float("-inf")
            wanted = targets[part, None]
            highest, right = logits.amax(1, keepdim=True), logits.gather(1, wanted)
            # One exponential serves the loss and its gradient; rows are normalised where they are narrow.
            gradient = logits.sub_(highest).exp_()
            normaliser = gradient.sum(1, keepdim=True)
            losses = normaliser.log() + highest - right
            own = None if weights is None else weights[part, None]
            total += (losses if own is None else losses * own).sum()
            gradient.scatter_add_(1, wanted, -normaliser)
            gradient = gradient.to(dtype)
            share = normaliser.reciprocal() if own is None else own / normaliser
            q_gradient[part] = (gradient @ z).to(q_gradient.dtype) * share
            z_gradient += (gradient.T @ (queries.detach()[part] * share).to(dtype)).float()
            bias_gradient += (gradient.T @ share.to(dtype)).float()[:, 0]
        ctx.save_for_backward(q_gradient / N, (z_gradient / N).to(latents.dtype), bias_gradient / N)
        return total / N

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q_gradient, z_gradient, bias_gradient = ctx.saved_tensors
        return gradient * q_gradient, gradient * z_gradient, gradient * bias_gradient, None, None, None, None
