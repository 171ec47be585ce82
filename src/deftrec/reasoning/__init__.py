"""A generative language model beside the small one: it reads histories, states preferences in words, and adds to it."""

from deftrec.reasoning.build import build_reasoner
from deftrec.reasoning.engines import OpenAIEngine, StatementEngine, vllm_engine
from deftrec.reasoning.reasoner import Reasoner, Residual, Standardised, Statements
from deftrec.reasoning.refresh import Refresher
from deftrec.reasoning.statements import Facts, ItemWords, sentence, short_title, statement
from deftrec.reasoning.store import ReasoningStore, StoredReasoning, reasoner_identity

__all__ = ["Facts", "ItemWords", "OpenAIEngine", "Reasoner", "ReasoningStore", "Refresher", "Residual"]
__all__ += ["Standardised", "StatementEngine", "Statements", "StoredReasoning", "build_reasoner"]
__all__ += ["reasoner_identity", "sentence", "short_title", "statement", "vllm_engine"]
