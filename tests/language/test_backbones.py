"""What a pre-trained model is read as: refused where it cannot be used, and the same under every option of memory."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from asking import D, lay, pretrained

from deftrec.config import PretrainedOptions
from deftrec.errors import ConfigError, MissingExtraError
from deftrec.language import Layout, build_language_model
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.recipe import build_config
from deftrec.text.sentences import sentence_vectors
from toy import tiny_model


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fnet", "ignores the attention mask, so that a history would read later items"),
        ("umt5", "ignores the attention mask or the positions, so that histories in one row would influence"),
        ("mamba", r"does not read embeddings under a custom mask \(.+\)"),
        ("electra", "reads embeddings of width 16 but returns states of width 32"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(kind: str, message: str, tmp_path: Path) -> None:
    folder = tiny_model(kind, tmp_path)
    with pytest.raises(ConfigError, match=f"{message}.*; choose another language.model"):
        pretrained(folder)


def test_the_check_draws_nothing_that_others_draw(folders: dict[str, Path]) -> None:
    torch.manual_seed(3)
    pretrained(folders["llama"], tuning="frozen")
    drawn = torch.rand(4)
    torch.manual_seed(3)
    torch.testing.assert_close(drawn, torch.rand(4), atol=0, rtol=0)


def sentences(folder: Path) -> torch.Tensor:
    return sentence_vectors(["red"], folder, max_tokens=9, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("read", [pretrained, sentences])
def test_code_that_lies_beside_a_model_is_not_run(
    read: Callable[[Path], object], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["bert"], folder)
    (folder / "own.py").write_text(
        "from pathlib import Path\nfrom transformers import PretrainedConfig\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\nclass Own(PretrainedConfig):\n    model_type = 'own'\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with pytest.raises(ConfigError, match="cannot be read as a language model"):
        read(folder)
    assert not (tmp_path / "ran").exists()


@torch.no_grad()
def test_roberta_counts_from_behind_its_padding(folders: dict[str, Path]) -> None:
    """Moved by one place, its positions give other conditions; `test_models` holds them against the library's own."""
    model = pretrained(folders["roberta"])
    tokens = torch.randn(1, 4, 1, D)
    before = model(tokens, lay([4]))
    model.positions.offset += 1  # type: ignore[attr-defined]
    assert not torch.isclose(before, model(tokens, lay([4])), atol=1e-4).all()


@pytest.mark.parametrize(
    ("kind", "positions", "reads"), [("roberta", 20, 19), ("gemma3_text", 64, 40), ("llama", 24, 24), ("bart", 24, 24)]
)
def test_how_long_a_model_reads(kind: str, positions: int, reads: int, tmp_path: Path) -> None:
    """A padding place is no position, and a layer with a window looks no further."""
    folder = tiny_model(kind, tmp_path, positions=positions)
    words = len(pretrained(tiny_model(kind, tmp_path / "long")).prompts.before[0])
    options = PretrainedOptions(model=str(folder), prompts=("what comes next : {history}",))
    model = build_language_model(options, domain="", ways=1, max_history=positions).eval()
    assert model.max_history == reads - words
    assert model(torch.randn(1, reads - words, 1, D), lay([reads - words])).isfinite().all()


def test_t5_reads_any_number_of_tokens(tmp_path: Path) -> None:
    model = pretrained(tiny_model("t5", tmp_path))
    tokens = torch.randn(1, 100, 1, D)
    assert model(tokens, lay([100])).isfinite().all()


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora"])
@pytest.mark.parametrize("kind", ["bert", "llama", "qwen3", "gemma3_text", "t5", "bart"])
def test_checkpointing_changes_no_gradient(kind: str, tuning: str, folders: dict[str, Path]) -> None:
    tokens = torch.randn(2, 5, 2, D)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        model = pretrained(folders[kind], tuning=tuning, gradient_checkpointing=checkpointing, dropout=0.0)
        model.train()
        wanted = tokens.clone().requires_grad_()
        model(wanted, lay([5], [2, 3])).square().sum().backward()
        named = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
        gradients.append({**named, "tokens": wanted.grad})
    plain, again = gradients
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_checkpointing_keeps_less(folders: dict[str, Path]) -> None:
    kept = []
    for checkpointing in (False, True):
        model = pretrained(folders["llama"], gradient_checkpointing=checkpointing).train()
        count = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.randn(2, 9, 2, D), lay([9], [9]))
        kept.append(count)
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("kind", ["bert", "llama", "gemma3_text", "t5", "bart"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_weights_in_bf16_say_nearly_the_same(kind: str, attention: str, folders: dict[str, Path]) -> None:
    tokens, layout = torch.randn(2, 5, 2, D), lay([5], [2, 3])
    exact = pretrained(folders[kind], tuning="lora", attention=attention)
    half = pretrained(folders[kind], tuning="lora", attention=attention, dtype="bf16")
    for name, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
    expected, found = exact(tokens, layout), half(tokens, layout)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.05 * expected.norm()
    half.train()
    half(tokens, layout).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in half.parameters() if p.requires_grad)
    with torch.autocast("cpu", torch.bfloat16):
        assert (half.eval()(tokens, layout) - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_trained_stay_as_the_files_hold_them(stored: torch.dtype, tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path, dtype=stored)
    kept = torch.bfloat16 if stored == torch.bfloat16 else torch.float32
    assert pretrained(folder, tuning="lora").dtype == kept
    assert pretrained(folder, tuning="frozen").dtype == kept
    assert pretrained(folder, tuning="lora", dtype="fp32").dtype == torch.float32
    full = pretrained(folder, tuning="full")
    assert {parameter.dtype for parameter in full.parameters()} == {torch.float32}


# -- adapters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_a_merged_adapter_equals_one_beside(kind: str, folders: dict[str, Path]) -> None:
    model = pretrained(folders[kind], tuning="lora")
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    tokens, layout = torch.randn(2, 5, 2, D), lay([5], [2, 3])
    plain = pretrained(folders[kind], tuning="frozen")(tokens, layout)
    beside = model(tokens, layout)
    model.model.merge_adapter()  # type: ignore[operator]
    merged = model(tokens, layout)
    assert not torch.isclose(beside, plain, atol=1e-2).all()
    torch.testing.assert_close(merged, beside, atol=1e-4, rtol=1e-4)
    model.model.unmerge_adapter()  # type: ignore[operator]
    torch.testing.assert_close(model(tokens, layout), beside, atol=1e-4, rtol=1e-4)


def test_what_four_bits_need(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"nf4 needs a GPU, and none is found here; set language\.tuning to lora"):
        pretrained(folders["llama"], tuning="nf4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r'nf4 needs bitsandbytes: pip install "deftrec\[nf4\]"'):
        pretrained(folders["llama"], tuning="nf4")


def test_weights_of_four_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the kernels that bitsandbytes has for a CPU where there is no GPU."""
    pytest.importorskip("bitsandbytes", reason="extra nf4")
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    folder = tiny_model("bert", tmp_path, width=64)
    model, exact = (pretrained(folder, tuning=tuning, attention="eager", dtype="fp32") for tuning in ("nf4", "lora"))
    device = next(model.parameters()).device
    tokens, layout = torch.randn(2, 5, 2, 64), lay([5], [2, 3])
    moved = Layout(layout.segments.to(device), layout.positions.to(device))
    with torch.no_grad():
        expected, found = exact(tokens, layout), model.to(device)(tokens.to(device), moved).cpu()
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.7 * expected.norm()
    assert all("lora_" in name or name == "scale" for name in stored_state(model))
    state = {name: torch.full_like(tensor, 0.1) for name, tensor in stored_state(model).items()}
    load_stored_state(model, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in stored_state(model).items())
    model.train()
    model(tokens.to(device), moved).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == ("lora_" in name or name == "scale"), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bf16"}, "dtype bf16 applies to weights that are not trained"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"test: option 'language': .*{message}"):
        build_config({"language": {"kind": "pretrained", **options}}, "test")
