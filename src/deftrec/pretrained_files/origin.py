"""Identity of the pre-trained weights that a run depends on."""

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from deftrec.config import LanguageOptions, PretrainedOptions
from deftrec.data.download import sha256_of
from deftrec.errors import ConfigError, DeftRecError
from deftrec.pretrained_files.locate import model_folder


class Origin(BaseModel, frozen=True, extra="forbid"):
    """Source and checksums of pre-trained weights.

    Attributes:
        model: configured name: a hub id, a local path, or `minilm`.
        revision: hub commit; None for other sources.
        sha256: SHA-256 of each file of weights, by name.
    """

    model: str
    revision: str | None
    sha256: dict[str, str]

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model} at {self.revision}"

    def describe(self, file: str) -> str:
        """The checksum of a file of weights, for messages."""
        digest = self.sha256.get(file)
        return f"absent from {self}" if digest is None else f"SHA-256 {digest} of {self}"


def origin_of(options: LanguageOptions) -> Origin | None:
    """The weights that `options` name, downloaded if missing; None for a model trained from scratch.

    Errors are those of `model_folder`.
    """
    if not isinstance(options, PretrainedOptions):
        return None
    return origin_in(model_folder(options.model, options.revision), options.model)


def origin_in(folder: Path, model: str) -> Origin:
    """The weights in `folder`, which `model` named; a `ConfigError` if the folder contains no safetensors weights."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: no *.safetensors; give a model whose weights are kept so")
    sha256 = {file.name: _digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files}
    revision = folder.name if folder.parent.name == "snapshots" else None  # in the hub's cache, folders are commits
    return Origin(model=model, revision=revision, sha256=sha256)


def pinned(options: LanguageOptions, origin: Origin | None) -> LanguageOptions:
    """`options` with the hub commit of `origin` as revision."""
    if not isinstance(options, PretrainedOptions) or origin is None or origin.revision is None:
        return options
    return options.model_copy(update={"revision": origin.revision})


def check_origin(expected: Origin | None, found: Origin | None, trained: str, option: str = "language.model") -> None:
    """Refuse weights other than those of the training. Only checksums count, not names or places.

    Raises a `DeftRecError` if a file differs; the message names it with both checksums.

    Args:
        expected: recorded weights; None: nothing was recorded, so nothing is refused.
        found: present weights.
        trained, option: name of the trained run, and option that names the model, for the message.
    """
    if expected is None or found is None or expected.sha256 == found.sha256:
        return
    name = min(file for file, _ in expected.sha256.items() ^ found.sha256.items())
    raise DeftRecError(
        f"{trained}: its base model has changed: {name} was {expected.describe(name)}, and is {found.describe(name)}; "
        f"put the files of {expected} back, or name their folder in {option} of its config.json"
    )


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, cached until its size or modification time changes."""
    return sha256_of(file)
