"""Changes of code that variants name as their `patch`: functions that return a context manager."""

from contextlib import AbstractContextManager

from studies.authors.model import AuthorsDeftRec
from studies.controls import without_diffusion
from studies.discrete_tokens.model import discrete_model
from studies.discrete_tokens.quantiser import CodebookOptions
from studies.replaced_parts import replaced
from studies.semantic_ids.head import SemanticIdOptions
from studies.semantic_ids.model import semantic_id_model

__all__ = ["authors", "rq", "semantic_ids", "vq", "without_diffusion"]


def authors() -> AbstractContextManager[None]:
    """The procedure of the paper's authors."""
    return replaced(AuthorsDeftRec)


def vq() -> AbstractContextManager[None]:
    """Discrete tokens: one codebook per token."""
    return replaced(discrete_model(CodebookOptions("vq")))


def rq() -> AbstractContextManager[None]:
    """Discrete tokens: residual quantisation of one token by several codebooks."""
    return replaced(discrete_model(CodebookOptions("rq")))


def semantic_ids() -> AbstractContextManager[None]:
    """Semantic ids, generated code by code, in place of the diffusion head."""
    return replaced(semantic_id_model(SemanticIdOptions()))
