"""A generative language model beside the small one: it reads histories, states preferences in words, and adds to it."""

from deftrec.reasoning.build import build_reasoner
from deftrec.reasoning.reasoner import Reasoner, Residual, Standardised, Statements
from deftrec.reasoning.refresh import Refresher
from deftrec.reasoning.statements import Facts, ItemWords, sentence, short_title, statement
from deftrec.reasoning.store import ReasoningStore, StoredReasoning, reasoner_identity

__all__ = ["Facts", "ItemWords", "Reasoner", "ReasoningStore", "Refresher", "Residual", "Standardised"]
__all__ += ["Statements", "StoredReasoning", "build_reasoner", "reasoner_identity", "sentence"]
__all__ += ["short_title", "statement"]
