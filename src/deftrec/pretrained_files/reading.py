"""A model's folder is read: quietly, and if it cannot be read, one line says why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from deftrec.errors import ConfigError


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Inside the block, `transformers` reads `folder` without bars and reports of its own.

    Every call in it says `trust_remote_code=False`: left out, `transformers` asks on the terminal, and runs what lies
    there.

    Raises:
        ConfigError: there is no configuration, tokenizer or safetensors weights that fit together.
    """
    from transformers.utils import logging  # seconds that nobody else should wait for

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{folder}: cannot be read as a language model ({reason})") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
