"""Quiet reading of model folders by `transformers`, with one error type."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from deftrec.errors import ConfigError, first_line


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """`quiet`, with errors in one type.

    Calls in the block must pass `trust_remote_code=False`. Without it, `transformers` offers to run code from `folder`.
    Raises a `ConfigError` if configuration, tokenizer or safetensors weights are missing or do not fit together.
    """
    with quiet():
        try:
            yield
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ConfigError(f"{folder}: cannot be read as a language model ({first_line(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress bars and messages of `transformers` inside the block."""
    from transformers.utils import logging  # a slow import, only where needed

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
