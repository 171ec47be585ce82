"""Options in the errors of the library, which have Python's names there, as flags of the command line."""

import re

OPTION = re.compile(r"`(?P<name>[a-z_]+(?:\.[a-z_]+)*)=(?P<value>[^`]*)`")
RENAMED = {"start": "from", "overrides": "set"}
"""Flags of another name than their argument in Python."""


def with_flags(message: str) -> str:
    """The message of an error with flags for options.

    "`resume=True`" becomes "--resume", "`out=DIR`" "--out DIR", "`start=...`" "--from", and an option of a recipe such
    as "`training.epochs=5`" "--set training.epochs=5".
    """
    return OPTION.sub(_flag, message)


def _flag(option: re.Match[str]) -> str:
    name, value = option["name"], option["value"]
    if "." in name:
        return f"--set {name}={value}"
    flag = "--" + RENAMED.get(name, name).replace("_", "-")
    return flag if value in {"True", "..."} else f"{flag} {value}"
