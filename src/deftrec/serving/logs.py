"""Logs as JSON lines. They hold no user ids, queries or keys."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("deftrec.serving")


class JsonLines(logging.Formatter):
    """Formats a record as one JSON line; line breaks in values are escaped, so that no value can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def log(event: str, level: int = logging.INFO, *, trace: bool = False, **fields: object) -> None:
    """Log an event with its fields."""
    LOGGER.log(level, "%s", event, extra={"fields": fields}, exc_info=trace)


def log_to(stream: TextIO = sys.stderr) -> None:
    """Write the records of this package and of uvicorn to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in ("deftrec.serving", "deftrec.reasoning", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
