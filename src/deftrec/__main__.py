"""Entry of the command line: the script `deftrec`, and `python -m deftrec`, which `accelerate launch` starts."""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command that the process was started with, and return its exit code."""
    before = signal.getsignal(signal.SIGINT)
    listens = before is signal.default_int_handler  # a shell may have the process ignore Ctrl-C
    if listens:
        signal.signal(signal.SIGINT, _end)
    from deftrec.streams import prepare_streams

    prepare_streams()  # before a library opens a file
    from deftrec.cli import main as run  # takes most of a second, and nothing has to be undone if it is interrupted

    if not listens:
        return run()
    signal.signal(signal.SIGINT, before)
    try:
        return run()
    finally:
        signal.signal(signal.SIGINT, _end)  # Python may take a while to end
        exec("")  # noqa: S102 - after an interruption inside another `exec` Python would end by the signal


def _end(*_: object) -> None:
    """End the process without a traceback."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
