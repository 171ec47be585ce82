"""JSON files as pydantic models: one that is missing, broken or of another kind is an error with file, key and mend."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from deftrec.errors import DeftRecError, in_a_line

M = TypeVar("M", bound=BaseModel)


def read_record(path: Path, kind: type[M], mend: str) -> M:
    """Read a JSON file; `mend` says what to do where it cannot be read.

    Raises a `DeftRecError` if the file is missing, not JSON in UTF-8, or not of this kind; the message names the key.
    """
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise DeftRecError(f"{path}: missing or damaged ({_reason(error)}); {mend}") from error


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, behind the key that it is about, if any."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    return f"key {key!r}: {first['msg']}" if key else first["msg"]


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_fault(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return in_a_line(error)[:200]
