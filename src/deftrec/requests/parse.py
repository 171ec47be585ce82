"""The grammar of a request: which of its words are wanted, and which are not.

    request   = clause { ("," | ";" | "." | "but" | "and" before a negation) clause }
    clause    = [negation] words { ("or" | "and" | "nor") words }      a negation holds for all words of its clause
    negation  = firm | soft
    firm      = "no" | "not" | "without" | "nothing" | "never" | "none of" | "except" | "excluding" | "avoid"
              | "anything but" | "don't want" | "rather than" | "instead of" | "free of" | "neither"
    soft      = "less" | "fewer" | "not too" | "not so" | "not very" | "not much" | "no more" | "as little"

"Nothing but X", "not only X", "not without X" and "nothing less than X" want X. Text in double quotation marks, and the
title of an item, are wanted as they stand. Everything else is wanted: "something funny, no horror" wants "something
funny" and does not want "horror".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deftrec.errors import ConfigError

LONGEST = 500
"""Largest number of characters of a request."""

WANTS = ("nothing but", "not only", "not just", "not without", "nothing less than", "none but", "no less than")
SOFT = (
    *("not too much", "not too", "not so much", "not so", "not very", "not much", "not another", "no more"),
    *("as little", "less of", "less", "fewer"),
)
FIRM = (
    *("anything but", "everything but", "all but", "don't want", "do not want", "don't like", "do not like"),
    *("no kind of", "none of", "free of", "rather than", "instead of", "except for", "except", "excluding"),
    *("without", "nothing", "neither", "never", "avoid", "not", "no"),
)
"""What makes the words behind it wanted, less wanted, and not wanted."""

FILLER = (
    *("any", "anything", "a", "an", "the", "with", "of", "more", "too", "as", "please", "that is", "that are"),
    "like",
)
"""Words between a negation and what it is about."""

JOINED = re.compile(r"\s*(?:\bor\b|\bnor\b|\band\b|/|&)\s*", re.IGNORECASE)
QUOTED = re.compile(r'["“”„«»]([^"“”„«»]+)["“”„«»]')
BREAKS = re.compile(r"[;!?\n]+|,(?!\d)|\.(?=\s|$)|\bbut\b(?!\s*\d)", re.IGNORECASE)
LETTER = re.compile(r"[^\W_]")


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    ordered = sorted(words, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(re.escape(one).replace(r"\ ", r"\s+") for one in ordered) + r")\b", re.I)


KINDS = (("wanted", _pattern(WANTS)), ("soft", _pattern(SOFT)), ("firm", _pattern(FIRM)))
OPENS = re.compile(rf"^(?:{'|'.join(re.escape(one) for one in sorted(FILLER, key=len, reverse=True))})\s+", re.I)
BUT = re.compile(r"\b(?:nothing|anything|everything|all|none)\s+but\b", re.I)


@dataclass(frozen=True)
class Unwanted:
    """Words that a request does not want; `firm`: not at all, else less of it."""

    text: str
    firm: bool


@dataclass(frozen=True)
class ParsedRequest:
    """A request read by the grammar.

    Attributes:
        wanted: what is wanted, in one text; empty if the request only says what is not.
        unwanted: what is not wanted.
    """

    wanted: str
    unwanted: tuple[Unwanted, ...]


def negates(text: str) -> bool:
    """Whether the grammar finds a negation in a text, such as the title "No Country for Old Men"."""
    return any(pattern.search(text) for _, pattern in KINDS) or BUT.search(text) is not None


def parse_request(text: str, titles: Sequence[str] = ()) -> ParsedRequest:
    """Read a request.

    Args:
        text: the request.
        titles: titles of items in which `negates` finds a negation.

    Raises:
        ConfigError: the request has no word, is longer than `LONGEST` characters, or wants and does not want the same.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"the request has {len(text):,} characters; say it in {LONGEST} or fewer")
    text = " ".join("".join(one if one.isprintable() else " " for one in text.replace("’", "'")).split())
    if not LETTER.search(text):
        raise ConfigError("the request has no words; say what is wanted, such as 'science fiction, nothing violent'")
    for title in (one for one in titles if one.casefold() in text.casefold()):
        text = re.sub(rf"(?<!\w){re.escape(title)}(?!\w)", f'"{title}"', text, flags=re.IGNORECASE)
    quoted = [one.strip() for one in QUOTED.findall(text) if LETTER.search(one)]
    wanted: list[str] = []
    unwanted: list[Unwanted] = []
    for clause in _clauses(QUOTED.sub(" ", text)):
        for kind, words in _parts(clause):
            if kind == "wanted":
                wanted.append(words)
            else:
                unwanted += [Unwanted(_bare(one), kind == "firm") for one in JOINED.split(words) if LETTER.search(one)]
    whole = ", ".join(quoted + wanted)
    for one in unwanted:
        same = one.text.casefold()
        if same in {part.casefold() for part in [*quoted, *(only(part) for part in wanted)]}:
            raise ConfigError(f"the request wants {one.text!r} and does not want it; leave one of the two out")
    return ParsedRequest(whole, tuple(unwanted))


def only(text: str) -> str:
    """What is wanted without the words before it: "only horror" -> "horror"."""
    return re.sub(r"^(?:only|just|some|something|more|a|an|the|please)\s+", "", text, flags=re.IGNORECASE)


def _clauses(text: str) -> list[str]:
    """Parts of a request between punctuation marks and "but", which stays where it belongs to a negation."""
    kept = BUT.sub(lambda found: found.group().replace(" but", "\x00"), text)
    return [one.replace("\x00", " but").strip(" ,.-") for one in BREAKS.split(kept)]


def _parts(clause: str) -> list[tuple[str, str]]:
    """Kinds and words of a clause, cut before every negation in it."""
    starts = []
    place = 0
    while place < len(clause):
        matches = [(kind, match) for kind, pattern in KINDS if (match := pattern.search(clause, place))]
        if not matches:
            break
        # The first one; of those that begin together the longest.
        kind, match = min(matches, key=lambda one: (one[1].start(), -len(one[1].group())))
        starts.append((kind, match))
        place = match.end()
    parts = [("wanted", clause[: starts[0][1].start()] if starts else clause)]
    for number, (kind, match) in enumerate(starts):
        end = starts[number + 1][1].start() if number + 1 < len(starts) else len(clause)
        parts.append((kind, clause[match.end() : end]))
    cleaned = [(kind, _bare(words) if kind != "wanted" else words.strip(" ,.-")) for kind, words in parts]
    cleaned = [(kind, re.sub(r"\s+(?:and|or|nor|just|also)$", "", words, flags=re.I)) for kind, words in cleaned]
    return [(kind, words) for kind, words in cleaned if LETTER.search(words)]


def _bare(words: str) -> str:
    """Words without the filler around them."""
    words = re.sub(r"\s+please$", "", words.strip(" ,.-"), flags=re.IGNORECASE)
    while (shorter := OPENS.sub("", words)) != words:
        words = shorter
    return words
