"""Re-rankers: the best items of the score in an order that also weighs what stands beside them in the list."""

from abc import ABC, abstractmethod

from deftrec.retrieval.exact import Found


class Reranker(ABC):
    """Orders the candidates of N lists."""

    @abstractmethod
    def rerank(self, found: Found) -> Found:
        """The same items and scores in another order; `PADDING` stays last. `Found` of N x C -> `Found` of N x C"""
