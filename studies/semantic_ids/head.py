"""The generative retrieval that DeftRec is compared with: the next item's semantic id, one code after the other."""

import torch
from studies.semantic_ids.codes import CodeTree, semantic_ids
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import DiffusionOptions
from deftrec.diffusion.base import Head, ItemScorer, Sampling
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import Sample

ROWS = 256
"""Beam searches at a time."""


class SemanticIdHead(Head):
    """A small recurrent decoder over semantic ids (after TIGER, Rajput et al. 2023, arXiv 2305.05065).

    It starts from the condition and is trained by the cross-entropy of every code under the codes before it. Retrieval
    is a beam search over ids that exist: what the beam does not reach has no score.
    """

    codes: Tensor

    def __init__(self, latent: int, options: DiffusionOptions, n_items: int) -> None:
        super().__init__(latent, options, n_items)
        levels, size, width = options.code_levels + 1, options.code_size, options.width
        self.register_buffer("codes", torch.zeros(n_items, levels, dtype=torch.int64))
        self.enter = nn.Linear(latent, width)
        self.before = nn.ModuleList(nn.Embedding(size, width) for _ in range(levels - 1))
        self.cell = nn.GRUCell(width, width)
        self.dropout = nn.Dropout(0.1)
        self.leave = nn.ModuleList(nn.Linear(width, size) for _ in range(levels))
        self._tree: CodeTree | None = None

    def prepare(self, features: Tensor) -> None:
        """Give every item its id."""
        self.codes.copy_(semantic_ids(features, self.options.code_levels, self.options.code_size))
        self._tree = None

    def losses(self, asked: NextItems, objective: Objective) -> dict[str, Tensor]:
        """-log p(id of the target): the sum over its codes. `objective`, which judges latents, has no say."""
        codes = self.codes[asked.candidates[asked.targets]]  # [N, L]
        hidden = self.dropout(torch.tanh(self.enter(asked.condition)))
        terms = []
        for level, leave in enumerate(self.leave):
            if level:
                hidden = self._advance(hidden, codes[:, level - 1], level)
            terms.append(F.cross_entropy(leave(hidden).float(), codes[:, level]))
        return {"loss": torch.stack(terms).sum(), **{f"code {n}": term for n, term in enumerate(terms, start=1)}}

    def generate(
        self,
        condition: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """The condition itself, which the beam search starts from. Every step of a path is the same."""
        answer = condition.float()
        return Sample(answer, answer.expand(sampling.steps, *answer.shape) if keep_path else None)

    @property
    def scorer(self) -> ItemScorer:  # type: ignore[override]
        """See `Head`."""
        return self.beam_search

    @torch.no_grad()
    def beam_search(self, condition: Tensor) -> Tensor:
        """log p of the items that `beam` partial ids lead to, `-inf` for others. `[N, D]` -> `[N, I]` float32"""
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
            # Nothing is spent on codes that no item has.
            chances = chances.masked_fill(codes < 0, float("-inf")).log_softmax(-1)
            joint = (total[..., None] + chances).flatten(1)
            best = joint.topk(min(self.options.beam, joint.shape[1]), dim=1)
            total, parent = best.values, best.indices // codes.shape[2]
            # Past the last child a beam is dead: its total says so, and it walks anywhere.
            node = children.flatten(1).gather(1, best.indices).clamp_min(0)
            hidden = hidden.gather(1, parent[..., None].expand(-1, -1, hidden.shape[-1]))
            if level + 1 < len(self.leave):
                code = codes.flatten(1).gather(1, best.indices).clamp_min(0)
                flat = self._advance(hidden.flatten(0, 1), code.flatten(), level + 1)
                hidden = flat.view(N, -1, hidden.shape[-1])
        scores = torch.full((N, self.n_items + 1), float("-inf"), device=condition.device)
        reached = total > float("-inf")
        scores.scatter_(1, torch.where(reached, node, self.n_items), total)  # dead beams fall behind the last item
        return scores[:, : self.n_items]

    def _advance(self, hidden: Tensor, code: Tensor, level: int) -> Tensor:
        """The state before `level`, once the code before it is known. `[N, W]`"""
        return self.cell(self.before[level - 1](code), hidden)  # type: ignore[no-any-return]
