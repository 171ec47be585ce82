"""Logs as JSON lines: what happened, to which request; of people, ids at most, and no words of theirs."""

import json
import logging
import sys
import time
from typing import Any, TextIO

LOGGER = logging.getLogger("deftrec.serving")


class JsonLines(logging.Formatter):
    """One line a record. Line breaks in a value are escaped, so nobody can write a line of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def log(event: str, level: int = logging.INFO, *, trace: bool = False, **fields: object) -> None:
    """Write a line: what happened, and about what."""
    LOGGER.log(level, "%s", event, extra={"fields": fields}, exc_info=trace)


def log_to(stream: TextIO = sys.stderr) -> None:
    """Send this package's and the server's records to `stream`, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in ("deftrec.serving", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
