"""GGUF files are dequantised once, and damaged ones are refused."""

import os
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError, MissingExtraError
from deftrec.language.backbone import read_backbone
from deftrec.pretrained_files.architecture import architecture_of
from deftrec.pretrained_files.locate import model_folder
from deftrec.pretrained_files.origin import origin_in
from hub import Hub

WIDTH, INNER, HEADS, LAYERS = 32, 64, 2, 2
WORDS = ["<unk>", "<s>", "</s>", *(chr(code) for code in range(97, 123)), "Ġ", "ab", "cd"]


def tiny_gguf(file: Path, architecture: str = "llama") -> Path:
    """A Llama of two blocks with quantised matrices (Q8_0) and a tokenizer, as llama.cpp writes it."""
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    rng = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        values = rng.normal(scale=0.1, size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0 if len(shape) == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", len(WORDS), WIDTH)
    add("output_norm.weight", WIDTH)
    for block in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{name}.weight", WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            add(f"blk.{block}.{name}.weight", INNER, WIDTH)
        add(f"blk.{block}.ffn_down.weight", WIDTH, INNER)
        add(f"blk.{block}.attn_norm.weight", WIDTH)
        add(f"blk.{block}.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))
    return tiny_gguf(tmp_path / "tiny.gguf")


def test_it_is_the_model_that_transformers_reads(file: Path) -> None:
    folder = model_folder(str(file))
    ids = torch.tensor([[1, 3, 5, 7]])
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)(ids)
        found = AutoModelForCausalLM.from_pretrained(folder)(ids)
    torch.testing.assert_close(found.logits, expected.logits)
    assert AutoTokenizer.from_pretrained(folder)("abcd")["input_ids"] == [30, 31]
    assert list(origin_in(folder, str(file)).sha256) == ["model.safetensors"]


def test_it_is_converted_once_for_each_content(file: Path) -> None:
    folder = model_folder(str(file))
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert model_folder(str(file)) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with file.open("r+b") as opened:  # the last byte of the last matrix
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\x01")
    assert model_folder(str(file)) != folder


def test_a_language_model_is_built_from_it(file: Path) -> None:
    backbone = read_backbone(model_folder(str(file)), PretrainedOptions(model=str(file), layers=1))
    assert (backbone.width, backbone.causal) == (WIDTH, True)
    assert architecture_of(str(file)).folder == model_folder(str(file))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_file_that_is_cut_short(share: float, file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ConfigError, match=r"tiny\.gguf: cannot be read as a causal language model .+ fetch the file"):
        model_folder(str(file))
    assert not [path for path in (tmp_path / "home" / "models").iterdir() if not path.name.endswith(".lock")]


def test_other_architectures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFTREC_HOME", str(tmp_path / "home"))
    with pytest.raises(ConfigError, match=r"cannot be read as a causal language model"):
        model_folder(str(tiny_gguf(tmp_path / "encoder.gguf", "bert")))


def test_what_is_no_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.gguf: no such file; give a GGUF file"):
        model_folder(str(tmp_path / "missing.gguf"))
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(ConfigError, match=r"page\.gguf: not a GGUF file: it does not begin with GGUF"):
        model_folder(str(tmp_path / "page.gguf"))


def test_the_missing_package_names_the_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r'reading tiny\.gguf needs gguf: pip install "deftrec\[llm\]"'):
        model_folder(str(file))


def test_it_comes_from_the_hub_by_the_name_of_its_file(file: Path, hub: Hub) -> None:
    hub.files = {"tiny.gguf": file.read_bytes(), "other.gguf": b"GGUF of another quantisation", "README.md": b"# tiny"}
    here = model_folder(str(file))
    from_hub = model_folder("group/model/tiny.gguf")
    assert (from_hub / "model.safetensors").read_bytes() == (here / "model.safetensors").read_bytes()
    assert not any(
        "other.gguf" in path for path in hub.asked if "/resolve/" in path
    )  # one file of the repository alone


def test_a_file_that_the_hub_does_not_have_is_named(file: Path, hub: Hub) -> None:
    hub.files = {"tiny.gguf": file.read_bytes()}
    with pytest.raises(ConfigError, match=r"group/model on the hub has no file big\.gguf"):
        model_folder("group/model/big.gguf")
