"""Words in the score: is the match better measured by sentence vectors or by shared words?

    python benchmarks/text_match.py RUN [RUN ...]

For each run that has learnt words, on its latent score without a prior: NDCG@10 on validation for every weight pi that
the run's options try, with either match, and on test with the pi that validation chooses.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from deftrec import Recommender
from deftrec.data import Cases, Part, make_split
from deftrec.data.words import item_texts
from deftrec.evaluation import accuracy, paired_bootstrap
from deftrec.pretrained_files.locate import MINILM, model_folder
from deftrec.retrieval import OverlapMatch, Retriever, SentenceMatch, TextMatch, generate_texts
from deftrec.retrieval.choose import one_standard_error_rule
from deftrec.retrieval.ranks import target_ranks
from deftrec.text.sentences import sentence_vectors


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run says of the cases of one part."""

    cases: Cases
    queries: Tensor
    words: list[str]
    exclude: bool

    @classmethod
    def of(cls, recommender: Recommender, part: Part) -> "Answers":
        cases = make_split(recommender.fitted_on, recommender.config.data.split).cases(part)
        words = generate_texts(recommender.model, recommender.catalogue, cases.histories)
        exclude = recommender.config.retrieval.seen == "exclude"
        return cls(cases, recommender.ask(cases.histories).queries, words, exclude)

    def ndcg(self, latent: Retriever, match: TextMatch, weights: list[float]) -> dict[float, Tensor]:
        """NDCG@10 of every user by weight of the match. Each `[N]`"""
        encoded, values = match.encode(self.words), {}
        for weight in weights:
            retriever = replace(latent, match=match, text_weight=weight)
            ranks = target_ranks(retriever, self.queries, self.cases, self.exclude, encoded)
            values[weight] = accuracy(ranks, (10,))["ndcg@10"]
        return values


def matches(recommender: Recommender) -> dict[str, TextMatch]:
    """Both ways of comparing words with the texts of the run's items."""
    texts, options = item_texts(recommender.interactions), recommender.config.text
    folder = model_folder(options.model or MINILM)
    vectors = sentence_vectors(
        texts, folder, max_tokens=options.max_tokens, device=torch.device("cpu"), dtype=torch.float32
    )
    return {"overlap": OverlapMatch(texts), "sentence": SentenceMatch(vectors, folder, options.max_tokens)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    for run in parser.parse_args().runs:
        recommender = Recommender.load(run)
        if not recommender.model.has_rationale:
            raise SystemExit(f"{run}: it has learnt no words; train it with language.reasoning.weight above 0")
        if recommender.info.fit != "train":
            raise SystemExit(
                f"{run}: it was fitted on validation too, which has to choose pi; give the run without --refit"
            )
        validation, test = Answers.of(recommender, "validation"), Answers.of(recommender, "test")
        latent, weights = recommender.retriever.part("latent"), recommender.config.retrieval.text.weights
        for kind, match in matches(recommender).items():
            values = validation.ndcg(latent, match, sorted({0.0, *weights}))
            chosen = one_standard_error_rule(values)
            with_words = test.ndcg(latent, match, [0.0, chosen])
            pair = paired_bootstrap(with_words[chosen], with_words[0.0])
            tried = ", ".join(f"{weight:g} {float(value.mean()):.4f}" for weight, value in values.items())
            print(f"{recommender.interactions.meta.name}, {run.name}, {kind}: pi on validation {tried}")
            print(f"  pi {chosen:g} on test {pair.first:.4f}, without {pair.second:.4f}, p {pair.p:.3f}")


if __name__ == "__main__":
    main()
