"""Reads a request in words: what is wanted and what is not, encoded for the request term, and rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np
import torch
from torch import Tensor

from deftrec.arguments import real_number
from deftrec.errors import ConfigError
from deftrec.pretrained_files.locate import model_folder
from deftrec.requests.attributes import AttributeReader, ReadAttributes
from deftrec.requests.lexicon import NOBODY, Lexicon, Match, words_of
from deftrec.requests.parse import LONGEST, parse_request
from deftrec.retrieval import Deny, EncodedRequest, RequestTerm, Rule
from deftrec.text import sentence_vectors

GUIDANCE = 8.0
"""Largest guidance."""

FIRM, SOFT = -0.35, -0.1
"""Weights of what is not wanted, and of what less is wanted of, as shares of that of what is wanted."""

REQUEST_TOKENS = 32
"""Largest number of tokens of a request that are read."""

TEMPERATURE = 0.05
"""Temperature of the softmax over the categories that a request is compared with by meaning."""

PLAIN = 0.4
"""Share of that softmax above which a category is named as understood."""

KEPT = 1024
"""Number of encoded texts that a process keeps."""


def sentence_encoder(model: str) -> Callable[[list[str]], Tensor]:
    """Sentence vectors of requests by a model of this name, which stays in memory once it is used.

    Its files are checked once. Errors are those of `model_folder`, when the first text is read.
    """
    folder = lru_cache(maxsize=1)(model_folder)  # which reads the whole file of the weights

    def encode(texts: list[str]) -> Tensor:
        return sentence_vectors(
            texts,
            folder(model),
            max_tokens=REQUEST_TOKENS,
            device=torch.device("cpu"),
            dtype=torch.float32,
            keep=True,
        )

    return encode


@dataclass(frozen=True, eq=False)
class ReadRequest:
    """A request, read.

    Attributes:
        encoded: input of the request term, which adds to the scores.
        rules: exclude the categories that the request refuses, and what its attributes say ("under 20 euros").
        notes: descriptions of the parts as they were understood, such as "excluded: category Horror".
    """

    encoded: EncodedRequest
    rules: tuple[Rule, ...]
    notes: tuple[str, ...]


class RequestReader:
    """Reads requests for the items of a catalogue.

    Args:
        lexicon: words of the items.
        term: the run's request term.
        encode: sentence vectors of texts. N texts -> `[N, E]`
        kept: number of encoded texts that stay in memory.
    """

    def __init__(
        self, lexicon: Lexicon, term: RequestTerm, encode: Callable[[list[str]], Tensor], kept: int = KEPT
    ) -> None:
        self.lexicon, self.term, self._encode, self._kept = lexicon, term, encode, kept
        self.attributes = AttributeReader(lexicon.interactions)
        self._known: dict[str, Tensor] = {}

    def read(self, text: str, guidance: float = 1.0) -> ReadRequest:
        """Read a request; `guidance` from 0 (no effect) to `GUIDANCE` multiplies its weight in the score.

        Raises:
            ConfigError: the guidance is out of range, or one of `parse_request`.
        """
        if not isinstance(text, str):
            raise ConfigError(f"request is {text!r}; give a text, such as 'science fiction, nothing violent'")
        mend = f"give a number from 0 (none) to {GUIDANCE:g}, 1 as learnt"
        real_number(guidance, "guidance", 0, GUIDANCE, mend)
        lexicon = self.lexicon
        attributes = self.attributes.read(text) if len(text) <= LONGEST else ReadAttributes(text)
        rules: list[Rule] = [*attributes.rules]
        notes: list[str] = [*attributes.notes]
        if not guidance:
            return ReadRequest(self._encoded([]), (), ("guidance 0: the request has no effect",))
        if rules and not words_of(attributes.rest):
            return ReadRequest(self._encoded([]), tuple(rules), tuple(notes))
        parsed = parse_request(
            attributes.rest, lexicon.negating_titles, lambda one: lexicon.category_of(one) is not None
        )
        self.remember([parsed.wanted, *(one.text for one in parsed.unwanted)])
        parts: list[_Part] = []
        # "please, no horror" wants nothing in particular.
        if parsed.wanted and (words_of(parsed.wanted) or not parsed.unwanted):
            match = self._match(parsed.wanted)
            parts.append(_Part(parsed.wanted, match, guidance))
            named = f" ({', '.join(match.categories)})" if match.categories else ""
            notes.append(f"wanted: {parsed.wanted}{named}")
        for one in parsed.unwanted:
            match = self._match(one.text)
            if one.firm and match.kind == "category" and not match.rest:
                # "crime dramas" are items of both categories; "crime or drama" are two parts.
                denied = reduce(np.intersect1d, [self.lexicon.members[name] for name in match.categories])
                excluded = f"category {' and '.join(match.categories)}"
                rules.append(Deny(torch.from_numpy(denied), f"request: no {excluded}"))
                notes.append(f"excluded: {excluded}")
            else:
                parts.append(_Part(one.text, match, (FIRM if one.firm else SOFT) * guidance))
                notes.append(f"{'not wanted' if one.firm else 'less'}: {one.text}")
        return ReadRequest(self._encoded(parts), tuple(rules), tuple(notes))

    def remember(self, texts: Sequence[str]) -> None:
        """Encode texts at once, as far as they are not known."""
        missing = [text for text in dict.fromkeys(texts) if text and text not in self._known]
        if missing:
            self._known |= dict(zip(missing, self._encode(missing), strict=True))
            for text in list(self._known)[: max(0, len(self._known) - max(self._kept, len(texts)))]:
                self._known.pop(text, None)

    def _vector(self, text: str) -> Tensor:
        self.remember([text])
        return self._known[text]

    def _match(self, text: str) -> Match:
        """Items that have words of a text, or belong to the categories that it comes nearest to by meaning.

        A text that names a category means that one.
        """
        match = self.lexicon.match(text)
        names = self.term.categories
        if match.kind == "category" or not names:
            return match
        meanings = self.term.meanings.cpu()
        shares = (meanings @ self._vector(text) / TEMPERATURE).softmax(0)
        values = np.zeros(self.lexicon.n_items, np.float32)
        values[match.items] = match.values
        for share, name in zip(shares.tolist(), names, strict=True):
            members = self.lexicon.members.get(name, NOBODY)
            values[members] = np.maximum(values[members], share)
        found = np.flatnonzero(values)
        if match.kind == "keyword":
            return replace(match, items=found, values=values[found])
        nearest = tuple(names[n] for n in shares.argsort(descending=True).tolist() if shares[n] > PLAIN)
        return replace(match, items=found, values=values[found], categories=nearest)

    def _encoded(self, parts: "list[_Part]") -> EncodedRequest:
        weights = [self.term.weights[part.match.kind] for part in parts]
        rows = [self._vector(part.text) for part in parts]
        factors = torch.tensor([part.factor for part in parts])
        learnt, cosine, words = (torch.tensor([one[key] for one in weights]) for key in ("learnt", "cosine", "words"))
        found = [np.zeros(0, np.int64), *(part.match.items for part in parts)]
        values = [
            torch.from_numpy(part.match.values) * part.factor * float(w) for part, w in zip(parts, words, strict=True)
        ]
        return EncodedRequest(
            torch.stack(rows) if rows else self.term.sentences[:0].cpu(),
            learnt * factors,
            cosine * factors,
            torch.from_numpy(np.concatenate(found)),
            torch.cat([torch.zeros(0), *values]),
        )


@dataclass(frozen=True)
class _Part:
    """A text of a request with the items that have its words, and the factor of its weights."""

    text: str
    match: Match
    factor: float
