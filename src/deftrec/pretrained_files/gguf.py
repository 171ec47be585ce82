"""GGUF files, the format of llama.cpp: dequantised once into a folder of safetensors, which everything else reads."""

import hashlib
from pathlib import Path
from typing import Any

from deftrec.data.download import default_home, sha256_of
from deftrec.errors import ConfigError, MissingExtraError, first_line
from deftrec.files import atomic_directory, locked, recover, writable
from deftrec.pretrained_files.reading import quiet

MAGIC = b"GGUF"
FORMAT = 1  # of the folders that `dequantised` writes


def dequantised(file: Path) -> Path:
    """Folder with the fp32 weights, configuration and tokenizer of a GGUF file, written into the user's cache once.

    The folder's name holds the SHA-256 of the file, so a changed file gets a folder of its own. A process that is
    killed leaves nothing behind, and of several processes one converts and the others wait.

    Raises:
        ConfigError: no GGUF file, a file that is cut short, or no causal language model that `transformers` knows.
        MissingExtraError: the package `gguf` is missing.
        UnwritableError: the cache cannot be written.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; give a GGUF file or the folder of a Hugging Face model")
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{file}: not a GGUF file: it does not begin with {MAGIC.decode()}")
    digest = hashlib.sha256(f"{FORMAT} {sha256_of(file)}".encode()).hexdigest()[:16]
    folder = default_home() / "models" / f"{file.stem}-{digest}"
    if (recover(folder) / "config.json").is_file():
        return folder
    with writable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=True):
        if not (folder / "config.json").is_file():
            model, tokenizer = _read(file)
            with atomic_directory(folder) as temporary:
                _write(model, tokenizer, temporary)
    return folder


def _read(file: Path) -> tuple[Any, Any]:
    """The causal language model of a GGUF file in fp32, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer  # a slow import, only where needed

    try:
        import gguf  # noqa: F401 - `transformers` would not name the extra to install
    except ModuleNotFoundError as error:
        raise MissingExtraError("gguf", "llm", f"reading {file.name}") from error
    source: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False, "local_files_only": True}
    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
            return model, AutoTokenizer.from_pretrained(file.parent, **source)
        except Exception as error:  # a damaged file raises errors of many types
            raise ConfigError(
                f"{file}: cannot be read as a causal language model ({first_line(error)}); fetch the file again if it "
                "is cut short, or give one of an architecture that transformers reads from GGUF"
            ) from error


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer; `save_pretrained` refuses weights that were quantised."""
    from safetensors.torch import save_file

    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)  # the word embeddings once more
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
