"""What are requests in words worth, beside a sum of cosines and the filter that nobody has in words?

    python -m studies.requests RUN [RUN ...] --out FILE [--parts categories,keywords,...]

The runs differ by their seed alone. For every test user a request is made of the held-out item's own words, in phrases
that training never used. NDCG@10, seen items excluded:

- none: the score without the request;
- sum: score + a cosine(sentence vectors of request and item), a chosen on validation;
- ours: the request term;
- oracle: the items that truly have the category or the word, ranked by the score.

Parts: `categories`, `keywords`, `paraphrases` (of MovieLens' genres, without their names), `german`, `unseen` (a tenth
of the words is in no training request), `no history`, `negative`, `guidance`, `random` (random word vectors in place of
the sentence model) and `latency`. Differences of ours to sum and to oracle are paired over users, averaged over runs.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from torch import Tensor

from deftrec import Recommender
from deftrec.cli.console import listening
from deftrec.data import make_split
from deftrec.errors import ConfigError
from deftrec.evaluation import accuracy, paired_over_seeds, ranks_from_scores
from deftrec.progress import Progress
from deftrec.requests import RequestReader, sentence_encoder
from deftrec.requests.lexicon import Lexicon, words_of
from deftrec.requests.templates import RequestWriter
from deftrec.retrieval import ExcludeHistory, RequestTerm, top
from deftrec.training import requests as training
from studies.command import run as run_command

CATEGORY = ("I could go for {a} right now", "got any {a} for me", "{a} for the weekend", "put on {a}")
KEYWORD = ("the {a} one", "whatever it was with {a}", "{a} if you have it")
GERMAN = ("Ich möchte {a} sehen", "etwas mit {a}, bitte", "{a} für heute Abend")
"""Phrases of the requests that are measured."""

COSINE = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Weights of the sum that are tried on validation."""

GUIDANCE = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARE = 0.1
"""Share of the words that no training request holds."""

PARTS = (
    *("categories", "keywords", "paraphrases", "german", "unseen", "no history", "negative", "guidance", "random"),
    "latency",
)
SAID = {
    "Action": ("fights, chases and explosions", "something with car chases and shoot-outs"),
    "Adventure": ("a quest to far-away places", "a journey full of dangers and treasure"),
    "Animation": ("a cartoon", "drawn by hand, frame by frame"),
    "Children's": ("for the kids", "something my six-year-old can watch"),
    "Comedy": ("something funny", "make me laugh"),
    "Crime": ("gangsters and the mafia", "a heist"),
    "Documentary": ("real people and true events, not actors", "something factual about the world"),
    "Drama": ("a serious, moving story", "a character study that makes me cry"),
    "Fantasy": ("wizards and dragons", "a fairy tale with magic"),
    "Film-Noir": ("a hard-boiled detective in black and white", "shadows, a femme fatale and cigarettes"),
    "Horror": ("something scary", "monsters that give me nightmares"),
    "Musical": ("people who sing and dance", "songs from Broadway"),
    "Mystery": ("a whodunit", "who is the murderer? a puzzle to solve"),
    "Romance": ("a love story", "two people falling in love"),
    "Sci-Fi": ("spaceships and aliens", "robots in the future"),
    "Thriller": ("suspense that keeps me on the edge of my seat", "a nail-biter with twists"),
    "War": ("soldiers at the front", "battles of the second world war"),
    "Western": ("cowboys and gunslingers", "the wild frontier, horses and saloons"),
}
AUF_DEUTSCH = {
    "Action": "Action",
    "Adventure": "Abenteuer",
    "Animation": "Zeichentrick",
    "Children's": "Kinderfilme",
    "Comedy": "Komödien",
    "Crime": "Krimis",
    "Documentary": "Dokumentarfilme",
    "Drama": "Dramen",
    "Fantasy": "Märchen und Magie",
    "Horror": "Gruselfilme",
    "Musical": "Musicals",
    "Mystery": "Rätselhaftes",
    "Romance": "Liebesfilme",
    "Sci-Fi": "Science-Fiction",
    "Thriller": "Thriller",
    "War": "Kriegsfilme",
    "Western": "Western",
}


@dataclass(frozen=True, eq=False)
class Asked:
    """Requests for the targets of some cases.

    Attributes:
        rows: cases that have one. `[n]` int64
        texts: `n`
        members: items that truly have what is asked for. Each `[m]` int64
    """

    rows: np.ndarray
    texts: list[str]
    members: list[np.ndarray]

    @classmethod
    def of(cls, made: Sequence[tuple[str, np.ndarray] | None]) -> "Asked":
        """The requests among those made for all cases."""
        rows = [n for n, one in enumerate(made) if one is not None]
        return cls(np.array(rows, np.int64), *map(list, zip(*(made[n] for n in rows), strict=True)))


class Bench:
    """One run with its request term, asked about the targets of a split.

    Args:
        recommender: recommender of the run.
        term: request term.
        part: split.
        encode: sentence vectors of texts.
    """

    def __init__(
        self, recommender: Recommender, term: RequestTerm, part: str, encode: Callable[[list[str]], Tensor]
    ) -> None:
        self.recommender = recommender
        self.ranker = recommender.ranker.without("request").with_term(term)
        self.lexicon = Lexicon(recommender.fitted_on)
        self.cases = make_split(recommender.fitted_on, recommender.config.data.split).cases(part)  # type: ignore[arg-type]
        self.queries = recommender.queries(self.cases.histories)
        self.encode, self.term = encode, term
        self.scores = self.ranker.scores(self.queries)
        ExcludeHistory().apply(self.scores, self.cases.histories)

    def encoded(self, texts: list[str]) -> Tensor:
        """Sentence vectors, each distinct text read once. `[N, E]`"""
        distinct = list(dict.fromkeys(texts))
        vectors, place = self.encode(distinct), {text: n for n, text in enumerate(distinct)}
        return vectors[[place[text] for text in texts]]

    def reader(self, texts: list[str]) -> RequestReader:
        """A reader that has read these texts, and the names of the categories, at once."""
        made = RequestReader(self.lexicon, self.term, self.encode, kept=len(texts) + 10_000)
        made.remember(texts)
        return made

    def ours(self, asked: Asked, guidance: float = 1.0, *, history: bool = True) -> tuple[Tensor, Tensor]:
        """Scores under the requests, and the rules' exclusions in them. `[n, I]` each; the second before the rules."""
        reader = self.reader(asked.texts)
        base = self.scores[asked.rows] if history else self._popular(asked)
        total = base.clone()
        for row, text in enumerate(asked.texts):
            read = reader.read(text, guidance)
            total[row] += self.term.of_request(read.encoded)
            for rule in read.rules:
                rule.apply(total[row : row + 1], self.cases.histories.select([asked.rows[row]]))
        return total, base

    def _popular(self, asked: Asked) -> Tensor:
        counts = self.recommender.popularity.double().clamp_min(0.5).log().float()
        return counts.expand(len(asked.rows), -1).clone()

    def summed(self, asked: Asked, weight: float, *, history: bool = True) -> Tensor:
        """Score + weight x cosine. `[n, I]`"""
        base = self.scores[asked.rows] if history else self._popular(asked)
        return base + weight * self.encoded(asked.texts) @ self.term.sentences.T

    def filtered(self, asked: Asked, *, history: bool = True) -> Tensor:
        """The score, and -inf for items that do not have what is asked for. `[n, I]`"""
        base = self.scores[asked.rows] if history else self._popular(asked)
        out = torch.full_like(base, float("-inf"))
        for row, members in enumerate(asked.members):
            out[row, torch.from_numpy(members)] = base[row, torch.from_numpy(members)]
        return out

    def ndcg(self, asked: Asked, scores: Tensor) -> Tensor:
        """NDCG@10 of each request's target. `[n]`"""
        targets = torch.from_numpy(self.cases.targets[asked.rows])
        return accuracy(ranks_from_scores(scores, targets), (10,))["ndcg@10"]

    # -- requests ----------------------------------------------------------------------------------------------

    def categories(
        self, forms: Sequence[str] = CATEGORY, names: dict[str, str] | None = None, only: Any = None
    ) -> Asked:
        """A request for a category of each target; `names` translates it, `only` limits the categories."""
        rng = np.random.default_rng(7)

        def one(item: int) -> tuple[str, np.ndarray] | None:
            own = [c for c in self.lexicon.categories[item] if (names is None or c in names)]
            own = [c for c in own if only is None or set(words_of(c)) & only]
            if not own:
                return None
            name = own[int(rng.integers(len(own)))]
            said = name if names is None else names[name]
            return forms[int(rng.integers(len(forms)))].format(a=said), self.lexicon.members[name]

        return Asked.of([one(int(item)) for item in self.cases.targets])

    def paraphrases(self) -> Asked:
        """A request that means a category of each target without its name."""
        rng = np.random.default_rng(8)

        def one(item: int) -> tuple[str, np.ndarray] | None:
            own = [name for name in self.lexicon.categories[item] if name in SAID]
            if not own:
                return None
            name = own[int(rng.integers(len(own)))]
            return SAID[name][int(rng.integers(2))], self.lexicon.members[name]

        return Asked.of([one(int(item)) for item in self.cases.targets])

    def keywords(self, only: set[str] | None = None) -> Asked:
        """A request with a rare word of each target's title."""
        rng, writer = np.random.default_rng(9), RequestWriter(self.lexicon, self.lexicon.domain)

        def one(item: int) -> tuple[str, np.ndarray] | None:
            words = [word for word in writer._words(item) if only is None or set(words_of(word)) & only]
            if not words:
                return None
            word = words[int(rng.integers(len(words)))]
            members = self.lexicon._postings[words_of(word)[0]]
            return KEYWORD[int(rng.integers(len(KEYWORD)))].format(a=word), members

        return Asked.of([one(int(item)) for item in self.cases.targets])


def random_words(texts: list[str], *arguments: Any, **options: Any) -> Tensor:
    """Vectors of texts without a sentence model: the normalised mean of a random vector for each word. `[N, 384]`"""
    rows = []
    for text in texts:
        words = words_of(text) or [""]
        seeds = [int.from_bytes(word.encode()[:7].ljust(7, b"\0"), "big") for word in words]
        rows.append(np.mean([np.random.default_rng(seed).standard_normal(384) for seed in seeds], 0))
    vectors = torch.from_numpy(np.array(rows)).float() if rows else torch.zeros(0, 384)
    return torch.nn.functional.normalize(vectors, dim=-1)


def learnt(
    recommender: Recommender,
    progress: Progress,
    without: frozenset[str] = frozenset(),
    language_model: str | None = None,
) -> RequestTerm:
    """The request term of a run, learnt now."""
    return training.RequestTraining(recommender.run, progress, without, language_model).train()


def held_words(lexicon: Lexicon) -> frozenset[str]:
    """A tenth of the words of categories and titles, drawn at random."""
    words = sorted({word for name in lexicon.members for word in words_of(name)})
    rare = sorted(word for word in lexicon._postings if lexicon.is_rare(word))
    rng = np.random.default_rng(11)
    drawn = [rng.choice(one, max(1, round(SHARE * len(one))), replace=False).tolist() for one in (words, rare) if one]
    return frozenset(word for one in drawn for word in one)


class Study:
    """Figures of several runs, collected by row and method."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[Tensor]]] = {}
        self.more: dict[str, list[Any]] = {}

    def add(self, row: str, **methods: Tensor) -> None:
        for method, values in methods.items():
            self.values.setdefault(row, {}).setdefault(method, []).append(values)

    def compare(self, row: str, bench: Bench, asked: Asked, weight: float, *, history: bool = True) -> None:
        """The four methods on the same requests."""
        if not len(asked.rows):
            return
        ours, base = bench.ours(asked, history=history)
        self.add(
            row,
            none=bench.ndcg(asked, base),
            sum=bench.ndcg(asked, bench.summed(asked, weight, history=history)),
            ours=bench.ndcg(asked, ours),
            oracle=bench.ndcg(asked, bench.filtered(asked, history=history)),
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each kind of request: means, and paired differences of ours to sum and to oracle."""
        made = []
        for row, methods in self.values.items():
            number = len(next(iter(methods.values()))[0])
            line: dict[str, Any] = {"row": row, "users": number, "runs": len(methods["ours"])}
            line |= {
                name: float(torch.stack([one.mean() for one in values]).mean()) for name, values in methods.items()
            }
            for other in ("sum", "oracle"):
                if other in methods:
                    paired = paired_over_seeds(methods["ours"], methods[other])
                    line[f"ours - {other}"] = paired.difference
                    line[f"p to {other}"] = paired.p
            made.append(line)
        return made


def best_weight(bench: Bench, asked: Asked) -> float:
    """The weight of the sum that is best on these requests."""
    return max(COSINE, key=lambda weight: float(bench.ndcg(asked, bench.summed(asked, weight)).mean()))


def negative(bench: Bench) -> dict[str, float]:
    """What "no X" does, X being the most frequent category of a user's list that the target does not have."""
    plain = top(bench.scores, 10).items
    texts, rows, names = [], [], []
    for n, items in enumerate(plain.tolist()):
        target = set(bench.lexicon.categories[int(bench.cases.targets[n])])
        counts: dict[str, int] = {}
        for item in items:
            for name in bench.lexicon.categories[item]:
                if name not in target:
                    counts[name] = counts.get(name, 0) + 1
        if counts:
            name = max(counts, key=lambda one: counts[one])
            texts.append(f"please no {name}")
            rows.append(n)
            names.append(name)
    asked = Asked(np.array(rows), texts, [bench.lexicon.members[name] for name in names])
    soft = replace(asked, texts=[f"less {name}" for name in names])
    found: dict[str, float] = {"users": float(len(rows))}
    for label, scores in (
        ("before", bench.scores[asked.rows]),
        ("no X", bench.ours(asked)[0]),
        ("less X", bench.ours(soft)[0]),
    ):
        lists = top(scores, 10).items
        inside = [np.isin(one, members).mean() for one, members in zip(lists.numpy(), asked.members, strict=True)]
        found[f"share {label}"] = float(np.mean(inside))
        found[f"ndcg {label}"] = float(bench.ndcg(asked, scores).mean())
    return found


def guidance(bench: Bench, asked: Asked) -> dict[str, float]:
    """Share of the first ten that has what is asked for, by guidance."""
    some = Asked(asked.rows[:300], asked.texts[:300], asked.members[:300])
    found = {}
    for weight in GUIDANCE:
        lists = top(bench.ours(some, weight)[0], 10).items.numpy()
        found[f"{weight:g}"] = float(np.mean([np.isin(a, b).mean() for a, b in zip(lists, some.members, strict=True)]))
    return found


def latency(recommender: Recommender, texts: list[str]) -> dict[str, float]:
    """Median milliseconds of a list for one user, alone and with a request that is new, and that is known."""
    users, times = recommender.interactions.users, dict[str, list[float]]()
    recommender.recommend(users[0], request=texts[0])
    for n in range(60):
        user, text = users[n % len(users)], f"{texts[n % len(texts)]} {n}"
        for name, wish in (("without", None), ("new request", text), ("known request", text)):
            began = time.perf_counter()
            recommender.recommend(user, request=wish)
            times.setdefault(name, []).append(1000 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


def study_run(
    path: Path, parts: Sequence[str], study: Study, progress: Progress, language_model: str | None = None
) -> None:
    """Add the figures of one run."""
    recommender = Recommender.load(path)
    term = learnt(recommender, progress, language_model=language_model)
    encode = sentence_encoder(term.sentence_model)
    bench, check = Bench(recommender, term, "test", encode), Bench(recommender, term, "validation", encode)
    words = best_weight(check, check.keywords())
    has_categories = len(bench.lexicon.members) > 1
    named = bench.categories() if has_categories else None
    category = best_weight(check, check.categories()) if has_categories else words
    study.more.setdefault("weights", []).append({"sum": [category, words], "ours": term.weights})
    if named is not None and "categories" in parts:
        study.compare("categories", bench, named, category)
    if "keywords" in parts:
        study.compare("keywords", bench, bench.keywords(), words)
    films = has_categories and set(bench.lexicon.members) <= {*SAID, "unknown"}
    if films and "paraphrases" in parts:
        study.compare("paraphrases", bench, bench.paraphrases(), category)
    if films and "german" in parts:
        study.compare("german", bench, bench.categories(GERMAN, AUF_DEUTSCH), category)
    if "no history" in parts:
        if named is not None:
            study.compare("categories, no history", bench, named, category, history=False)
        study.compare("keywords, no history", bench, bench.keywords(), words, history=False)
    if named is not None and "negative" in parts:
        study.more.setdefault("negative", []).append(negative(bench))
    if named is not None and "guidance" in parts:
        study.more.setdefault("guidance", []).append(guidance(bench, named))
    if "unseen" in parts:
        held = held_words(bench.lexicon)
        blind = Bench(recommender, learnt(recommender, progress, held), "test", encode)
        if has_categories:
            study.compare("categories, unseen words", blind, blind.categories(only=held), category)
            study.compare("the same, trained on", bench, bench.categories(only=held), category)
        study.compare("keywords, unseen words", blind, blind.keywords(set(held)), words)
    if "random" in parts:
        with patch.object(training, "sentence_vectors", random_words):
            scattered = Bench(recommender, learnt(recommender, progress), "test", random_words)
        if named is not None:
            study.add("categories, random vectors", ours=scattered.ndcg(named, scattered.ours(named)[0]))
        asked = scattered.keywords()
        study.add("keywords, random vectors", ours=scattered.ndcg(asked, scattered.ours(asked)[0]))
    if "latency" in parts:
        own = Recommender(replace(recommender.run, ranker=recommender.run.ranker.without("request").with_term(term)))
        texts = (named or bench.keywords()).texts
        study.more.setdefault("latency", []).append(latency(own, texts))


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs that differ by their seed.")],
    out: Annotated[Path, typer.Option(help="JSON file of the figures.")],
    names: Annotated[str, typer.Option("--parts", help="Parts, separated by commas.")] = ",".join(PARTS),
    language_model: Annotated[
        str | None, typer.Option(help="Language model that relates words to the categories.", metavar="MODEL")
    ] = None,
) -> None:
    """Measure requests in words on the test users of runs."""
    parts = [name.strip() for name in names.split(",")]
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ConfigError(f"--parts {sorted(unknown)[0]!r}: no such part; there are: {', '.join(PARTS)}")
    study = Study()
    with listening() as progress:
        for path in runs:
            progress.say(str(path))
            study_run(path, parts, study, progress, language_model)
    rows = study.rows()
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    for name, found in study.more.items():
        print(name, *found, sep="\n  ")
    out.write_text(json.dumps({"rows": rows, **study.more}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(run_command(main, "studies.requests"))
