"""SHA-256 of every file of a run, kept in `run.json` and checked wherever a file is read.

Files that change after training carry checksums of their own: `overlay.safetensors` and `requests.safetensors` as a
whole, `reasoning.sqlite` for each vector.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deftrec.data.download import sha256_of
from deftrec.data.interactions import FILES as DATA_FILES
from deftrec.errors import DeftRecError

RECORD, OPTIONS = "run.json", "config.json"
RECORDS = (RECORD, OPTIONS)  # read without the data
DATA = tuple(f"data/{name}" for name in DATA_FILES)
TENSORS = tuple(f"{name}.safetensors" for name in ("model", "ranker", "scaling", "reasoner", "residual"))
FILES = ("request.json", *RECORDS, *DATA, *TENSORS)

CHECKSUMS = "files"  # key of run.json
RESTORE = "restore it from a copy, or train the run again"


def sealed(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run with the checksum of each of its files, of the record itself too."""
    files = {name: _checksum(folder / name) for name in FILES if name != RECORD and (folder / name).is_file()}
    return {**record, CHECKSUMS: {**files, RECORD: _record_checksum({**record, CHECKSUMS: files})}}


def check_files(folder: Path, files: dict[str, str], names: Iterable[str]) -> None:
    """Compare files with their checksums; one that is neither there nor in `files` is left out.

    Raises a `DeftRecError` if a file is missing, or is not the one that was saved.
    """
    for name in names:
        path = folder / name
        try:
            found = _checksum(path) if name in files or path.exists() else None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeftRecError(f"{path}: missing or damaged ({reason}); {RESTORE}") from error
        if found != files.get(name):
            raise DeftRecError(f"{path}: damaged or changed since it was saved, as its SHA-256 says; {RESTORE}")


def _checksum(path: Path) -> str:
    if path.name == RECORD:
        return _record_checksum(json.loads(path.read_text(encoding="utf-8")))
    if path.name == OPTIONS:
        return _json_checksum(_without_places(json.loads(path.read_text(encoding="utf-8"))))
    return sha256_of(path)


def _record_checksum(record: dict[str, Any]) -> str:
    files = {name: digest for name, digest in record[CHECKSUMS].items() if name != RECORD}
    return _json_checksum({**record, CHECKSUMS: files})


def _without_places(options: Any, key: str = "") -> Any:
    """The options without the names of pre-trained models: they may move, and have checksums of their own."""
    if isinstance(options, dict):
        return {name: _without_places(value, name) for name, value in options.items()}
    return "" if key == "model" and isinstance(options, str) else options


def _json_checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
