"""Errors for the user: each message names the fault, its place and the remedy."""


class DeftRecError(Exception):
    """Base class of errors that the command line prints as one line, without a traceback."""


def in_a_line(error: BaseException) -> str:
    """The message of an error in one line, or its class if there is no message."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class if there is no message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class DataError(DeftRecError):
    """Input data is missing, malformed or inconsistent; the message names file, row and column."""


class ConfigError(DeftRecError):
    """An option or recipe key is unknown or has an invalid value; the message names the nearest valid one."""


class UnwritableError(DeftRecError, OSError):
    """A file or directory cannot be written or locked; the message names it and the reason."""


class DownloadError(DeftRecError):
    """A file cannot be downloaded, or its content is not the expected one."""


class MissingExtraError(DeftRecError):
    """An optional library is missing.

    Args:
        library: name of the library.
        extra: extra of `deftrec` that installs it.
        purpose: feature that needs the library.
    """

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {library}: pip install "deftrec[{extra}]"')
