"""The targets of a split, asked for: where each stands in what a model generates, and what metrics say of that."""

from dataclasses import dataclass

from torch import Tensor

from deftrec.data import Cases, Part
from deftrec.evaluation import Result, Seen, TargetRanks, evaluate
from deftrec.explanation import Queries
from deftrec.retrieval import Found, Retriever, ScorePart
from deftrec.retrieval.ranks import rank_targets
from deftrec.run import Run

DEPTH = 50
"""Length of the lists that metrics are taken of."""


@dataclass(frozen=True, eq=False)
class EvaluationCases:
    """One part of a split with what the model generated for it; every question after that is a matter of scores.

    Attributes:
        run: whose model it is.
        split: `validation` or `test`.
        cases: its targets, and what came before each.
        asked: what the model generated from that.
        retriever: the whole score.
        popularity: how often each item was taken in what the weights were fitted on. `[I]`
    """

    run: Run
    split: Part
    cases: Cases
    asked: Queries
    retriever: Retriever
    popularity: Tensor

    def rank(self, seen: Seen, part: ScorePart = "hybrid", k: int = DEPTH) -> tuple[TargetRanks, Found]:
        """Where each target stands among all items, and the best `k` of each case.

        Args:
            seen: whether items of the history are candidates.
            part: the whole retrieval score, or the latent or the prior alone.
            k: length of the lists.

        Raises:
            ConfigError: the run has no prior to be ranked by alone.
        """
        retriever = self.retriever.part(part)
        return rank_targets(retriever, self.asked.queries, self.cases, seen == "exclude", self.asked.texts, k=k)

    def measure(self, ranked: tuple[TargetRanks, Found], seen: Seen, part: ScorePart = "hybrid") -> Result:
        """Metrics of what `rank` found with the same arguments."""
        ranks, found = ranked
        return evaluate(
            ranks,
            found.items.cpu(),
            self.popularity,
            name="deftrec" if part == "hybrid" else f"deftrec/{part}",
            dataset=self.run.interactions.meta.name,
            protocol=self.run.config.data.split,
            split=self.split,
            seen=seen,
            fit=self.run.info.fit,
        )

    def result(self, seen: Seen, part: ScorePart = "hybrid") -> Result:
        """`measure` of `rank`."""
        return self.measure(self.rank(seen, part), seen, part)

    def results(self, seen: Seen) -> dict[ScorePart, Result]:
        """The result of the whole score and, where it has more than one part, of those that can stand alone."""
        parts: list[ScorePart] = ["hybrid"]
        if self.run.prior is not None or self.run.match is not None or self.run.trend is not None:
            parts.append("latent")
        if self.run.prior is not None:
            parts.append("prior")
        return {part: self.result(seen, part) for part in parts}
