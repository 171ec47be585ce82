"""A generative language model beside the small one: it reads histories, states preferences in words, and adds to it."""

from deftrec.reasoning.build import build_reasoner
from deftrec.reasoning.reasoner import Reasoner, Reasoning, Residual
from deftrec.reasoning.store import ReasoningStore, StoredReasoning, reasoner_identity
from deftrec.reasoning.statements import Facts, ItemWords, short_title, statement

__all__ = ["Facts", "ItemWords", "Reasoner", "Reasoning", "ReasoningStore", "Residual", "StoredReasoning"]
__all__ += ["build_reasoner", "reasoner_identity", "short_title", "statement"]
