"""The rule for ids of users and items, which files, frames, data directories, HTTP and assistants share."""

import re

ID_LENGTH = 256

NO_ID = rf"(?s)^$|[\x00-\x1f\x7f]|^.{{{ID_LENGTH + 1}}}"
"""Texts that are no id, as an expression of polars and of Python: databases refuse NUL, log lines break, and so on."""

ID_RULE = f"ids are integers, or texts of 1 to {ID_LENGTH} whole characters, without control characters"

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which no encoding of text can hold."""

_NO_ID = re.compile(NO_ID)


def check_id(text: str) -> str:
    """Return `text` if it is an id. Otherwise raise a `ValueError` with the rule."""
    if _NO_ID.search(text) or HALF_CHARACTER.search(text):
        raise ValueError(ID_RULE)
    return text
