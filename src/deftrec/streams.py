"""The three standard streams as commands need them: open, able to write every letter, and flushed at the end."""

import codecs
import errno
import json
import os
import sys
from contextlib import suppress
from typing import TextIO

READER_GONE = 141  # exit code of a program that SIGPIPE ends: 128 + 13
ESCAPES = "deftrec.escapes"  # name of the error handler of encodings


def prepare_streams() -> None:
    r"""Make the standard streams usable, whatever the shell has left of them.

    A closed one (`2>&-`) becomes the null device, before another file gets its number. A letter that stdout or stderr
    cannot encode is written as `\u00e9`, which is the same text in JSON.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if _is_closed(getattr(sys, name)):
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123 - open until the process ends
            os.set_inheritable(stream.fileno(), True)  # programs that this one starts get it too
            setattr(sys, name, stream)
    codecs.register_error(ESCAPES, _escapes)
    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):  # not a stand-in for a stream, as notebooks have
            output.reconfigure(errors=ESCAPES)


def flush_streams(code: int) -> int:
    """Write what stdout and stderr still hold, and return the exit code: `code`, unless they cannot be written.

    The code is `READER_GONE`, without a word, where the reader of a pipe has closed it; and 1, with a line on stderr,
    for another failure, such as a full disk.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _mute(stream)
            code = READER_GONE
        except OSError as error:
            _mute(stream)
            if stream is sys.stdout:
                code = code or 1
                print(f"error: standard output: {error.strerror}", file=sys.stderr)
    return code


def _is_closed(stream: TextIO | None) -> bool:
    """Whether the shell has closed a stream; its number may belong to another file now, such as a shell script."""
    if stream is None:
        return True
    try:
        os.read(stream.fileno(), 0) if stream.readable() else os.write(stream.fileno(), b"")
    except OSError as error:
        return error.errno == errno.EBADF  # a stand-in for a stream has no number
    return False


def _mute(stream: TextIO) -> None:
    """Lead the stream to the null device, so that Python writes what it holds there when it ends."""
    with suppress(OSError), open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), stream.fileno())


def _escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
