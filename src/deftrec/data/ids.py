"""The rule for ids of users and items, which files, frames, data directories, HTTP and assistants share."""

import re
from collections.abc import Iterable
from typing import Any

from deftrec.errors import DataError

ID_LENGTH = 256

NO_ID = rf"(?s)^$|[\x00-\x1f\x7f\ufeff]|^.{{{ID_LENGTH + 1}}}"
"""Texts that are no id, as an expression of polars and of Python: databases refuse NUL, log lines break, and so on.

A byte order mark (U+FEFF) is not seen, and stands within a file that was made of several: two users would be one.
"""

ID_RULE = (
    f"ids are integers, or texts of 1 to {ID_LENGTH} whole characters, without control characters and byte order marks"
)

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which no encoding of text can hold."""

_NO_ID = re.compile(NO_ID)


def id_sequence(ids: Any) -> list[Any]:
    """Ids as a list; a `DataError` for a single one, since the digits of `"50"` may be ids too."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise DataError(f"ids are given in a list, not as {ids!r}; put it in square brackets")
    return list(ids)


def check_id(text: str) -> str:
    """Return `text` if it is an id. Otherwise raise a `ValueError` with the rule."""
    if _NO_ID.search(text) or HALF_CHARACTER.search(text):
        raise ValueError(ID_RULE)
    return text
