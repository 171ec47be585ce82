"""Errors that a user can act on: each message says what is wrong, where, and the mend."""


class DeftRecError(Exception):
    """Base of every error that the command line prints as one line, without a traceback."""


def in_a_line(error: BaseException) -> str:
    """What went wrong, in one line; the kind of error where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class DataError(DeftRecError):
    """Input data is missing, malformed or inconsistent; the message names file, row and column."""


class ConfigError(DeftRecError):
    """An option or recipe key is unknown or has an invalid value; the message names the nearest valid one."""


class UnwritableError(DeftRecError, OSError):
    """A file cannot be written where it was asked for; the message names it and why."""


class DownloadError(DeftRecError):
    """A file could not be fetched, or what came is not what was asked for."""


class MissingExtraError(DeftRecError):
    """An optional library is needed; the message says which extra installs it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {library}: pip install "deftrec[{extra}]"')
