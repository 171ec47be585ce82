"""Statements of a run's reasoner, judged on its users.

    python -m studies.statements RUN [--users 200] [--json FILE]

- faithful: share of the categories and words named that the items read hold (aim: at least .95).
- specific: share of the statements that, among the histories of ten users, fit their own best (aim: at least .60;
  chance is .10). A history fits by the words it shares with the statement, weighted by inverse document frequency.
- fluent: perplexity under the untouched language model, beside that of the training statements of the same histories.
- varied: largest share of the users who have one and the same statement (aim: at most .02); of users with the same
  items read, the first alone counts, here and above.

The users are spread evenly over those of the data, in its order, beginning with the first.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from pydantic import BaseModel

from deftrec import Recommender
from deftrec.data import make_split
from deftrec.language import PretrainedLanguageModel
from deftrec.language.prompts import QUESTION
from deftrec.pretrained_files.locate import model_folder
from deftrec.reasoning import ItemWords, sentence, statement
from deftrec.reasoning.statements import FORMS, content_words
from studies.command import run

OTHERS, SHOWN, ROWS = 9, 10, 32

SAID = frozenset(word for form in FORMS for word in content_words(form))
"""Words of the sentences themselves."""


class Judgement(BaseModel, frozen=True):
    """Figures of the statements of `users` users; the module's docstring describes them.

    Attributes:
        examples: the first statements with the titles of the items read.
    """

    users: int
    faithful: float
    named: int
    specific: float
    perplexity: float
    perplexity_of_training: float
    same: float
    examples: list[tuple[list[str], str]]


def named_words(text: str) -> list[str]:
    """Content words of a statement, without those of its sentences."""
    return [word for word in content_words(text) if word not in SAID]


def faithful(texts: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Share of the words named in statements that their histories hold, and number of words named."""
    right = total = 0
    for text, own in zip(texts, lines, strict=True):
        held = {word for line in own for word in content_words(line)}
        words = named_words(text)
        right, total = right + sum(word in held for word in words), total + len(words)
    return right / max(1, total), total


def specific(texts: Sequence[str], lines: Sequence[Sequence[str]], rng: np.random.Generator) -> float:
    """Share of the statements that fit their own history better than those of `OTHERS` other users."""
    held = [[set(content_words(line)) for line in own] for own in lines]
    count = Counter(word for own in held for word in set().union(*own))

    def fit(text: str, own: list[set[str]]) -> float:
        shares = {word: sum(word in line for line in own) / len(own) for word in set(named_words(text))}
        return sum(math.log(len(texts) / count[word]) * math.sqrt(share) for word, share in shares.items() if share)

    hits = []
    for n, text in enumerate(texts):
        drawn = rng.choice([m for m in range(len(texts)) if m != n], OTHERS, replace=False)
        hits.append(fit(text, held[n]) > max(fit(text, held[m]) for m in drawn))
    return float(np.mean(hits))


@torch.no_grad()
def perplexity(language: PretrainedLanguageModel, texts: Sequence[str]) -> float:
    """Perplexity of the tokens of statements after the question, under a language model."""
    start = language.tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    loss = count = 0.0
    for text in texts:
        ids = language.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        row = torch.tensor([*start, *ids])
        T = len(row)
        mask, positions = torch.ones(1, T, T, dtype=torch.bool).tril(), torch.arange(T)[None]
        hidden = language.read(language.embed(row)[None], mask, positions)[0]
        logits = language.logits(hidden[len(start) - 1 : -1]).float()
        loss += float(torch.nn.functional.cross_entropy(logits, row[len(start) :], reduction="sum"))
        count += len(ids)
    return math.exp(loss / max(1.0, count))


def judge(recommender: Recommender, users: int) -> Judgement:
    """Judge the statements after the histories before the test targets."""
    reasoning, options = recommender.run.reasoning, recommender.config.reasoner
    if reasoning is None or options is None:
        raise typer.BadParameter("this run has no reasoner; train one with --recipe deftrec")
    data = recommender.fitted_on
    cases = make_split(data, recommender.config.data.split).cases("test")
    read = [history[-reasoning.history :] for history in cases.histories]
    distinct = sorted({history.tobytes(): n for n, history in reversed(list(enumerate(read)))}.values())
    spread = np.unique(np.linspace(0, len(distinct) - 1, min(users, len(distinct))).astype(int))
    histories = [read[distinct[n]] for n in spread]
    words, rng = ItemWords.of(data), np.random.default_rng(0)
    texts = reasoning.statements(histories).texts
    learnt = [statement(words.facts(history.tolist()), rng) for history in histories]
    lines = [[words.lines[int(item)] for item in history] for history in histories]
    share, named = faithful(texts, lines)
    untouched = options.language.model_copy(update={"tuning": "frozen"})
    folder = model_folder(options.model)
    language = PretrainedLanguageModel(folder, untouched, data.meta.domain, options.ways, options.history, ()).eval()
    return Judgement(
        users=len(texts),
        faithful=share,
        named=named,
        specific=specific(texts, lines, rng),
        perplexity=perplexity(language, texts),
        perplexity_of_training=perplexity(language, learnt),
        same=Counter(texts).most_common(1)[0][1] / len(texts),
        examples=[
            ([words.titles[int(item)] for item in history], text)
            for history, text in list(zip(histories, texts, strict=True))[:: max(1, len(texts) // SHOWN)][:SHOWN]
        ],
    )


def main(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run with a reasoner.")],
    users: Annotated[int, typer.Option(help="Number of users whose statements are judged.")] = 200,
    out: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Judge the statements of a run."""
    found = judge(Recommender.load(folder), users)
    print(
        f"{found.users} users: faithful {found.faithful:.3f} ({found.named} words), specific {found.specific:.3f},",
        end=" ",
    )
    print(f"perplexity {found.perplexity:.1f} (training {found.perplexity_of_training:.1f}), same {found.same:.3f}\n")
    for titles, text in found.examples:
        print(f"{'; '.join(titles)}\n  {sentence(text)}\n")
    if out is not None:
        out.write_text(json.dumps(found.model_dump(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(run(main, "studies.statements"))
