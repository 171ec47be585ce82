"""Which weights a run was trained on: without them, what it keeps is worth nothing."""

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deftrec.config import LanguageOptions, PretrainedOptions
from deftrec.data.download import sha256_of
from deftrec.errors import ConfigError, DeftRecError
from deftrec.pretrained_files.locate import commit_of, model_folder


class Origin(BaseModel):
    """Where the weights of a pre-trained language model come from.

    Attributes:
        model: as it was asked for: a hub id, a local path, or `minilm`.
        revision: the hub's commit that was read; None for anything else.
        sha256: of each file of weights, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    revision: str | None
    sha256: dict[str, str]


def origin_of(options: LanguageOptions) -> Origin | None:
    """What `options` read; fetched if it is not there. None for a model trained from scratch.

    Raises:
        ConfigError, DownloadError: see `model_folder`.
    """
    if not isinstance(options, PretrainedOptions):
        return None
    return origin_in(model_folder(options.model, options.revision), options.model)


def origin_in(folder: Path, model: str) -> Origin:
    """What lies in `folder`, which `model` asked for.

    Raises:
        ConfigError: there are no weights.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: no *.safetensors; give a model whose weights are kept so")
    about = {file.name: file.stat() for file in files}
    sha256 = {file.name: _digest(file, about[file.name].st_size, about[file.name].st_mtime_ns) for file in files}
    return Origin(model=model, revision=commit_of(folder), sha256=sha256)


def pinned(options: LanguageOptions, origin: Origin | None) -> LanguageOptions:
    """`options` that read the commit of `origin`, whatever the hub has by then."""
    if not isinstance(options, PretrainedOptions) or origin is None or origin.revision is None:
        return options
    return options.model_copy(update={"revision": origin.revision})


def check_origin(expected: Origin | None, found: Origin | None, trained: str, option: str = "language.model") -> None:
    """Refuse other weights than the ones something was trained on.

    Weights decide: the same ones under another name or in another place are the same.

    Args:
        expected: what was recorded; None, where nothing was, is no reason to refuse.
        found: what is there now.
        trained: what was trained, for the message.
        option: that names the model.

    Raises:
        DeftRecError: names the first file that differs, what was expected and what was found.
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
    """SHA-256 of a file, computed once while its size and time of change stay as they are."""
    return sha256_of(file)
