"""Identity of the pre-trained weights that a run depends on."""

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deftrec.config import LanguageOptions, PretrainedOptions
from deftrec.data.download import sha256_of
from deftrec.errors import ConfigError, DeftRecError
from deftrec.pretrained_files.locate import commit_of, model_folder


class Origin(BaseModel):
    """Source and checksums of pre-trained weights.

    Attributes:
        model: configured name: a hub id, a local path, or `minilm`.
        revision: hub commit; None for other sources.
        sha256: SHA-256 of each file of weights, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str | None
    sha256: dict[str, str]


def origin_of(options: LanguageOptions) -> Origin | None:
    """The weights that `options` name, downloaded if missing; None for a model trained from scratch.

    Raises:
        ConfigError, DownloadError: see `model_folder`.
    """
    if not isinstance(options, PretrainedOptions):
        return None
    return origin_in(model_folder(options.model, options.revision), options.model)


def origin_in(folder: Path, model: str) -> Origin:
    """The weights in `folder`, which `model` named.

    Raises:
        ConfigError: the folder contains no safetensors weights.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: no *.safetensors; give a model whose weights are kept so")
    about = {file.name: file.stat() for file in files}
    sha256 = {file.name: _digest(file, about[file.name].st_size, about[file.name].st_mtime_ns) for file in files}
    return Origin(model=model, revision=commit_of(folder), sha256=sha256)


def pinned(options: LanguageOptions, origin: Origin | None) -> LanguageOptions:
    """`options` with the hub commit of `origin` as revision."""
    if not isinstance(options, PretrainedOptions) or origin is None or origin.revision is None:
        return options
    return options.model_copy(update={"revision": origin.revision})


def check_origin(expected: Origin | None, found: Origin | None, trained: str, option: str = "language.model") -> None:
    """Refuse weights other than those of the training. Only checksums count, not names or places.

    Args:
        expected: recorded weights; None: nothing was recorded, so nothing is refused.
        found: present weights.
        trained: name of the trained run, for the message.
        option: option that names the model, for the message.

    Raises:
        DeftRecError: a file differs; the message names it with both checksums.
    """
    if expected is None or found is None or expected.sha256 == found.sha256:
        return
    name = min(
        name for name in {*expected.sha256, *found.sha256} if expected.sha256.get(name) != found.sha256.get(name)
    )
    raise DeftRecError(
        f"{trained}: its base model has changed: {name} was {_said(expected, name)}, and is {_said(found, name)}; put "
        f"the files of {_called(expected)} back, or name their folder in {option} of its config.json"
    )


def _said(origin: Origin, name: str) -> str:
    digest = origin.sha256.get(name)
    return f"absent from {_called(origin)}" if digest is None else f"SHA-256 {digest} of {_called(origin)}"


def _called(origin: Origin) -> str:
    return origin.model if origin.revision is None else f"{origin.model} at {origin.revision}"


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, cached until its size or modification time changes."""
    return sha256_of(file)
