"""Generation of semantic ids by the language model itself (after TIGER, Rajput et al. 2023, arXiv 2305.05065)."""

import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.inference import reader_of
from deftrec.retrieval import Found
from deftrec.retrieval.queries import places_of
from studies.semantic_ids.codes import CodeTree, semantic_ids
from studies.speed.systems import Setting, System, best, by_batch

BEAM = 20
CODE_LEVELS, CODE_SIZE = 3, 256
"""Codes of a semantic id, before the one that distinguishes equal ids; values of one code."""


class Tiger(System):
    """Semantic ids: a history is read as the codes of its items, and the codes of the next item are generated.

    The history is read once with cached keys and values, which is all that the beams share, as with `generate` of
    `transformers`. Histories of a batch get one length by repeating the oldest item, so that no position is empty.
    """

    name, says = "tiger-like", f"semantic ids of the same backbone, beam {BEAM}, over ids that exist"

    def __init__(self, setting: Setting) -> None:
        self.k, self.device = setting.k, setting.device
        self.codes = semantic_ids(setting.features.values, CODE_LEVELS, CODE_SIZE).to(self.device)
        self.tree, self.levels = CodeTree.of(self.codes), self.codes.shape[1]
        # The last codes are read too, where there is no item yet.
        language = setting.language(setting.config, self.levels, int(setting.config.data.max_history) + 1)
        self.max_history, self.reader = language.max_history - 1, reader_of(language, setting.dtype)
        shape = (self.levels, CODE_SIZE, language.width)
        self.embeddings, self.leave = (torch.randn(shape, device=self.device) for _ in range(2))

    @torch.no_grad()
    def recommend(self, histories: Sequences) -> Found:
        """See `System.recommend`."""
        return by_batch(self.max_history, histories, self.device, self._list, places_of(self.device) // self.levels)

    def _list(self, items: Tensor, lengths: Tensor, histories: Sequences) -> Found:
        B, L = items.shape
        place = (torch.arange(L, device=self.device) - (L - lengths[:, None])).clamp_min(0)
        codes = self.codes[items.gather(1, place)]  # [B, L, levels]
        read = self.embeddings[torch.arange(self.levels, device=self.device), codes].flatten(1, 2)
        past = self.reader.begin(B)
        hidden = self.reader.read(read, torch.full((B,), L * self.levels - 1, device=self.device), past)[:, None]
        total = torch.zeros(B, 1, device=self.device)
        node = torch.zeros(B, 1, dtype=torch.int64, device=self.device)
        for level in range(self.levels):
            following, children = self.tree.codes[level][node], self.tree.children[level][node]  # [B, beams, C]
            chances = (hidden @ self.leave[level].T).gather(2, following.clamp_min(0))
            chances = chances.masked_fill(following < 0, float("-inf")).log_softmax(-1)
            joint = (total[..., None] + chances).flatten(1)
            total, chosen = joint.topk(min(BEAM, joint.shape[1]), dim=1)
            node = children.flatten(1).gather(1, chosen).clamp_min(0)
            if level + 1 < self.levels:
                parents = chosen // following.shape[2] + hidden.shape[1] * torch.arange(B, device=self.device)[:, None]
                past.batch_select_indices(parents.flatten())
                code = following.flatten(1).gather(1, chosen).clamp_min(0).flatten()
                last = torch.zeros(len(code), dtype=torch.int64, device=self.device)
                hidden = self.reader.read(self.embeddings[level, code][:, None], last, past).view(
                    B, chosen.shape[1], -1
                )
        # Beams that ran out of children fall behind the last item.
        scores = torch.full((B, len(self.codes) + 1), float("-inf"), device=self.device)
        node = torch.where(total > float("-inf"), node, len(self.codes))
        return best(scores.scatter(1, node, total)[:, :-1], histories, self.k)
