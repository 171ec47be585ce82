"""The grammar of a request: which of its words are wanted, and which are not.

    request   = clause { ("," | ";" | "." | "but" | "and" before a negation) clause }
    clause    = [negation] words { ("or" | "and" | "nor") words }      a negation holds for all words of its clause
    negation  = firm | soft
    firm      = "no" | "not" | "without" | "nothing" | "never" | "none of" | "except" | "excluding" | "avoid"
              | "anything but" | "don't want" | "rather than" | "instead of" | "free of" | "neither"
    soft      = "less" | "fewer" | "not too" | "not so" | "not very" | "not much" | "no more" | "as little"

"Nothing but X", "not only X", "not without X" and "nothing less than X" want X. Text in double quotation marks, and the
title of an item, are read as they stand. Everything else is wanted: "something funny, no horror" wants "something
funny" and does not want "horror".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deftrec.errors import ConfigError

LONGEST, MOST = 500, 8
"""Largest number of characters of a request, and of things that it does not want."""

WANTS = ("nothing but", "not only", "not just", "not without", "nothing less than", "none but", "no less than")
SOFT = (
    *("not too much", "not too", "not so much", "not so", "not very", "not much", "not another", "no more"),
    *("as little", "less of", "less", "fewer"),
)
FIRM = (
    *("anything but", "everything but", "all but", "don't want", "do not want", "don't like", "do not like"),
    *("no kind of", "none of", "free of", "rather than", "instead of", "other than", "except for", "except"),
    *("can't stand", "cannot stand", "hate", "dislike", "isn't", "aren't", "is not", "are not", "excluding"),
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
PLACE = re.compile(r"\x01(\d+)\x01")  # of a quotation, while the words around it are read
BREAKS = re.compile(r"[;!?\n]+|,(?!\d)|\.(?=\s|$)|\bbut\b(?!\s*\d)", re.IGNORECASE)
LETTER = re.compile(r"[^\W_]|\x01")


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    ordered = sorted(words, key=len, reverse=True)
    return re.compile(
        r"\b(?:" + "|".join(re.escape(one).replace(r"\ ", r"\s+") for one in ordered) + r")\b(?!-\w)", re.I
    )


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
        wanted: wanted words in one text; empty if the request only says what is not wanted.
        unwanted: words that are not wanted, one entry for each thing.
    """

    wanted: str
    unwanted: tuple[Unwanted, ...]


def negates(text: str) -> bool:
    """Whether the grammar finds a negation in a text, such as the title "No Country for Old Men"."""
    return any(pattern.search(text) for _, pattern in KINDS) or BUT.search(text) is not None


def parse_request(
    text: str, titles: Sequence[str] = (), is_name: Callable[[str], bool] = lambda text: False
) -> ParsedRequest:
    """Read a request.

    Args:
        text: the request.
        titles: titles of items in which `negates` finds a negation.
        is_name: whether a text is the name of a category.

    Raises:
        ConfigError: the request has no word, is longer than `LONGEST` characters, does not want more than `MOST`
            things, wants and does not want the same, or can be read in two ways.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"the request has {len(text):,} characters; say it in {LONGEST} or fewer")
    text = " ".join("".join(one if one.isprintable() else " " for one in text.replace("’", "'")).split())
    quoted: list[str] = []

    def kept(found: re.Match[str]) -> str:
        quoted.append((found[1] if found.re is QUOTED else found[0]).strip())
        return f"\x01{len(quoted) - 1}\x01"

    def spelt(words: str) -> str:
        return PLACE.sub(lambda found: quoted[int(found[1])], words)

    said = QUOTED.sub(kept, text)
    within = sorted((one for one in titles if one.casefold() in said.casefold()), key=len, reverse=True)
    if within:
        whole_titles = "|".join(re.escape(one) for one in within)
        said = re.sub(rf"(?<!\w)(?:{whole_titles})(?!\w)", kept, said, flags=re.IGNORECASE)
    wanted: list[str] = []
    unwanted: list[Unwanted] = []
    refusing = False
    for clause in _clauses(said):
        parts = _parts(clause)
        for kind, words in parts:
            several = [words] if is_name(_bare(words)) else JOINED.split(words)  # "H&R Block" is one name
            names = [_bare(one) for one in several if LETTER.search(one)]
            if kind == "wanted" and refusing and len(parts) == 1 and all(map(is_name, names)):
                raise ConfigError(
                    f"the request can be read in two ways: say 'no {names[0]}' if that is not wanted either, or name "
                    "it first if it is wanted"
                )
            if kind == "wanted":
                wanted.append(spelt(words))
            else:
                unwanted += [Unwanted(spelt(one), kind == "firm") for one in names]
        refusing = bool(parts) and parts[-1][0] == "firm"
    if not any(LETTER.search(one) for one in [*wanted, *(one.text for one in unwanted)]):
        raise ConfigError("the request has no words; say what is wanted, such as 'science fiction, nothing violent'")
    if len(unwanted) > MOST:
        raise ConfigError(f"the request does not want {len(unwanted)} things; name {MOST} or fewer")
    for one in unwanted:
        if one.text.casefold() in {only(part).casefold() for part in wanted}:
            raise ConfigError(f"the request wants {one.text!r} and does not want it; leave one of the two out")
    return ParsedRequest(", ".join(wanted), tuple(unwanted))


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
