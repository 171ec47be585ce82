"""Other engines get the very prompts that the model itself reads; vLLM is asked as its documentation says."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from asking import D, lay
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from deftrec.config import PretrainedOptions, ReasoningOptions
from deftrec.errors import ConfigError
from deftrec.language import PretrainedLanguageModel, RationaleWriter, TextEngine, VllmEngine, build_language_model
from toy import tiny_model


class HuggingFaceEngine(TextEngine):
    """The library's own greedy generation, as an oracle."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.model = model

    def generate(self, prompts: Sequence[Tensor], max_tokens: int, end: int) -> list[list[int]]:
        texts = []
        for prompt in prompts:
            out = self.model.generate(
                inputs_embeds=prompt[None], max_new_tokens=max_tokens, do_sample=False, eos_token_id=end, pad_token_id=0
            )
            texts.append([piece for piece in out[0].tolist() if piece != end])
        return texts


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_generates_what_the_library_would(tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tiny_model("llama", tmp_path)
    if not tied:  # words are scored by a layer of their own
        LlamaForCausalLM(LlamaConfig.from_pretrained(folder, tie_word_embeddings=False)).save_pretrained(folder)
    words = ReasoningOptions(weight=0.1, max_tokens=6)
    options = PretrainedOptions(model=str(folder), prompts=("next : {history}",), titles=2, reasoning=words)
    titles = ["red", "old new", "", "blue"]
    language = build_language_model(options, domain="", ways=2, max_history=4, titles=titles).eval()
    assert isinstance(language, PretrainedLanguageModel)
    assert language.causal
    assert (language.output is None) == tied
    oracle = LlamaForCausalLM.from_pretrained(folder).eval()
    if tied:  # the files of a base model have no such layer
        oracle.lm_head.weight = oracle.model.embed_tokens.weight
    writer = RationaleWriter(D, words, causal=True)
    ways, layout, items = torch.randn(3, 4, 2, D), lay([4], [1], [3], width=4), torch.tensor([[0, 1, 2, 3]] * 3)
    mine = writer.generate(language, ways, layout, items).text
    engine = HuggingFaceEngine(oracle)
    theirs = engine.generate(writer.prompts(language, ways, layout, items), 6, language.end)
    assert [[piece for piece in row if piece not in {-1, language.end}] for row in mine.tolist()] == theirs


def test_without_vllm_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="pip install vllm"):
        VllmEngine("some/model")


@pytest.mark.parametrize("adapter", [None, Path("adapter")])
def test_what_vllm_is_asked(adapter: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class LLM:
        def __init__(self, **options: Any) -> None:
            asked["llm"] = options

        def generate(self, requests: list[dict[str, Tensor]], sampling: Any, **options: Any) -> list[Any]:
            asked.update(requests=requests, sampling=sampling, **options)
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=(5, n, 9))]) for n in range(len(requests))]

    vllm, lora = ModuleType("vllm"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams = LLM, lambda **options: options  # type: ignore[attr-defined]
    lora.LoRARequest = lambda *arguments: arguments  # type: ignore[attr-defined]
    for name, module in (("vllm", vllm), ("vllm.lora", ModuleType("vllm.lora")), ("vllm.lora.request", lora)):
        monkeypatch.setitem(sys.modules, name, module)
    prompts = [torch.randn(4, D), torch.randn(2, D, requires_grad=True)]
    engine = VllmEngine("some/model", adapter, dtype="bfloat16")
    assert engine.generate(prompts, 12, end=9) == [[5, 0], [5, 1]]
    assert asked["llm"] == {
        "model": "some/model",
        "enable_prompt_embeds": True,
        "enable_lora": adapter is not None,
        "dtype": "bfloat16",
    }
    assert asked["sampling"] == {"temperature": 0.0, "max_tokens": 12, "stop_token_ids": [9]}
    assert [list(one) for one in asked["requests"]] == [["prompt_embeds"]] * 2
    assert all(torch.equal(one["prompt_embeds"], two) for one, two in zip(asked["requests"], prompts, strict=True))
    assert not any(one["prompt_embeds"].requires_grad for one in asked["requests"])
    assert asked["lora_request"] == (None if adapter is None else ("deftrec", 1, "adapter"))
