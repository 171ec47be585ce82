"""Generative retrieval: a decoder of the next item's semantic id, one code after the other."""

from dataclasses import dataclass

import torch
from studies.semantic_ids.codes import CodeTree, semantic_ids
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.diffusion import Head, NextItems, Objective, Sample, Sampling

ROWS = 256
"""Number of beam searches at a time."""


@dataclass(frozen=True)
class SemanticIdOptions:
    """Options of the semantic ids and their decoder.

    Attributes:
        levels: number of codes before the one that distinguishes equal ids.
        size: number of values of a code.
        width: hidden width of the decoder.
        beam: number of partial ids kept in the beam search.
    """

    levels: int = 3
    size: int = 256
    width: int = 128
    beam: int = 100


class SemanticIdHead(Head):
    """A small recurrent decoder over semantic ids (after TIGER, Rajput et al. 2023, arXiv 2305.05065).

    It starts from the condition and is trained by the cross-entropy of each code given the codes before it. `generate`
    returns probabilities of the items reached by a beam search over existing ids, zero for all others.

    Args:
        latent: width D of the condition.
        options: ids and decoder.
        n_items: number of items I.
    """

    codes: Tensor

    def __init__(self, latent: int, options: SemanticIdOptions, n_items: int) -> None:
        super().__init__()
        self.options, self.n_items = options, n_items
        levels, size, width = options.levels + 1, options.size, options.width
        self.register_buffer("codes", torch.zeros(n_items, levels, dtype=torch.int64))
        self.enter = nn.Linear(latent, width)
        self.before = nn.ModuleList(nn.Embedding(size, width) for _ in range(levels - 1))
        self.cell = nn.GRUCell(width, width)
        self.dropout = nn.Dropout(0.1)
        self.leave = nn.ModuleList(nn.Linear(width, size) for _ in range(levels))
        self._tree: CodeTree | None = None

    def prepare(self, features: Tensor) -> None:
        """Compute the semantic ids. `[I, F]`"""
        self.codes.copy_(semantic_ids(features, self.options.levels, self.options.size))
        self._tree = None

    def losses(self, next_items: NextItems, objective: Objective) -> dict[str, Tensor]:
        """-log p(id of the target), the sum over its codes. `objective`, a loss of latents, is not used."""
        codes = self.codes[next_items.candidates[next_items.targets]]  # [N, L]
        hidden = self.dropout(torch.tanh(self.enter(next_items.condition)))
        terms = []
        for level, leave in enumerate(self.leave):
            if level:
                hidden = self._advance(hidden, codes[:, level - 1], level)
            terms.append(F.cross_entropy(leave(hidden).float(), codes[:, level]))
        return {"loss": torch.stack(terms).sum(), **{f"code {n}": term for n, term in enumerate(terms, start=1)}}

    def generate(self, condition: Tensor, sampling: Sampling, generator: torch.Generator | None = None) -> Sample:
        """Probabilities of all items. `[N, D]` -> `Sample` of `[N, I]`; every step of a path is the same."""
        answer = self.beam_search(condition.float()).exp()
        return Sample(answer, answer.expand(sampling.steps, *answer.shape) if sampling.keep_path else None)

    @torch.no_grad()
    def beam_search(self, condition: Tensor) -> Tensor:
        """log p of the items reached by the beam, `-inf` for others. `[N, D]` -> `[N, I]` float32"""
        if self._tree is None:
            self._tree = CodeTree.of(self.codes)
        return torch.cat([self._search(rows, self._tree) for rows in torch.split(condition, ROWS)])

    def _search(self, condition: Tensor, tree: CodeTree) -> Tensor:
        N = len(condition)
        hidden = torch.tanh(self.enter(condition))[:, None]  # [N, B, W], B = 1 at the root
        total = torch.zeros(N, 1, device=condition.device)
        node = torch.zeros(N, 1, dtype=torch.int64, device=condition.device)
        for level, leave in enumerate(self.leave):
            codes, children = tree.codes[level][node], tree.children[level][node]  # [N, B, C]
            chances = leave(hidden).float().gather(2, codes.clamp_min(0))
            # Codes that no item has get no probability.
            chances = chances.masked_fill(codes < 0, float("-inf")).log_softmax(-1)
            joint = (total[..., None] + chances).flatten(1)
            best = joint.topk(min(self.options.beam, joint.shape[1]), dim=1)
            total, parent = best.values, best.indices // codes.shape[2]
            # A beam without children is dead: its total is -inf and its node arbitrary.
            node = children.flatten(1).gather(1, best.indices).clamp_min(0)
            hidden = hidden.gather(1, parent[..., None].expand(-1, -1, hidden.shape[-1]))
            if level + 1 < len(self.leave):
                code = codes.flatten(1).gather(1, best.indices).clamp_min(0)
                flat = self._advance(hidden.flatten(0, 1), code.flatten(), level + 1)
                hidden = flat.view(N, -1, hidden.shape[-1])
        scores = torch.full((N, self.n_items + 1), float("-inf"), device=condition.device)
        reached = total > float("-inf")
        scores.scatter_(1, torch.where(reached, node, self.n_items), total)
        return scores[:, : self.n_items]

    def _advance(self, hidden: Tensor, code: Tensor, level: int) -> Tensor:
        """The state before `level`, after the code of the level before. `[N, W]`"""
        return self.cell(self.before[level - 1](code), hidden)  # type: ignore[no-any-return]
