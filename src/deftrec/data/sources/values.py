"""Values of JSON and of Python objects as the text of a column."""

import json
import math
from collections.abc import Iterator
from typing import Any

from deftrec.data.ids import HALF_CHARACTER

FOREIGN = "\0"
"""First character of a value that is neither text nor a number; its JSON follows. No id and no text begins so."""

SHOWN = 80  # maximum number of characters of a value in a message


def as_text(value: Any) -> str | None:
    """The text of a value: text as it is, a number in digits, None for None, and else `FOREIGN` with its JSON.

    A text with half of a surrogate pair (`"a\\ud83d"`) is foreign too: there is no such character, and two texts
    must not become one. Raises a `TypeError` for a value that JSON does not know.
    """
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, str):
        return FOREIGN + json.dumps(value) if value[:1] == FOREIGN or HALF_CHARACTER.search(value) else str(value)
    if value is None:
        return None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return FOREIGN + json.dumps(value)


def texts_in(value: Any) -> Iterator[str]:
    """The texts in a value or in nested lists, without empty ones; a `TypeError` if it is or holds a record.

    Numbers and truth values are written as JSON writes them, half of a surrogate pair and NUL become U+FFFD.
    """
    if isinstance(value, dict):
        raise TypeError
    if isinstance(value, list | tuple):
        for one in value:
            yield from texts_in(one)
    elif isinstance(value, str):
        if HALF_CHARACTER.search(value):
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if value := value.replace("\0", "\ufffd").strip():
            yield value
    elif value is not None and not (isinstance(value, float) and not math.isfinite(value)):
        yield (as_text(value) or "").removeprefix(FOREIGN)


def read_foreign(text: str) -> Any:
    """The value of a text that begins with `FOREIGN`; the text itself if no JSON follows."""
    try:
        return json.loads(text.removeprefix(FOREIGN))
    except ValueError:
        return text


def shown(value: object) -> str:
    """A value as a message shows it, cut if it is long."""
    if value is None or value == "":
        return "an empty value"
    foreign = isinstance(value, str) and value.startswith(FOREIGN) and value[1:].isprintable()
    text = str(value)[1:] if foreign else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]}...{text[-1]}"
