"""Engines that generate text from prompts given as embeddings, such as vLLM for many users."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from deftrec.errors import ConfigError


class TextEngine(ABC):
    """Greedy generation from embeddings: prompts contain continuous tokens, which no vocabulary has."""

    @abstractmethod
    def generate(self, prompts: Sequence[Tensor], max_tokens: int, end: int) -> list[list[int]]:
        """Token ids generated after each prompt, without the end.

        Args:
            prompts: embeddings without padding. Each `[T, D]`
            max_tokens: largest number of tokens of one text.
            end: token id that ends a text.
        """


class VllmEngine(TextEngine):
    """vLLM with prompt embeddings (https://docs.vllm.ai/en/stable/features/prompt_embeds/), on a GPU.

    Supported: causal language models that vLLM runs, frozen or with a LoRA adapter. Not supported: encoders such as
    MiniLM, whose output layer vLLM does not know, and fully tuned models, whose weights lie in the run. Raises a
    `ConfigError` if vLLM is not installed.

    Args:
        model: hub id or local folder of the base model.
        adapter: folder of a LoRA adapter in peft's format; None: the base alone.
        options: further arguments of `vllm.LLM`.
    """

    def __init__(self, model: str, adapter: Path | None = None, **options: Any) -> None:
        try:
            import vllm
            from vllm.lora.request import LoRARequest
        except ImportError as error:
            raise ConfigError(
                "vLLM is not installed; on a machine with a GPU: pip install vllm (its releases pin their own torch)"
            ) from error
        self.vllm = vllm
        self.engine = vllm.LLM(model=model, enable_prompt_embeds=True, enable_lora=adapter is not None, **options)
        self.adapter = None if adapter is None else LoRARequest("deftrec", 1, str(adapter))

    def generate(self, prompts: Sequence[Tensor], max_tokens: int, end: int) -> list[list[int]]:
        """See `TextEngine.generate`."""
        sampling = self.vllm.SamplingParams(temperature=0.0, max_tokens=max_tokens, stop_token_ids=[end])
        requests = [{"prompt_embeds": prompt.detach().cpu()} for prompt in prompts]
        answers = self.engine.generate(requests, sampling, lora_request=self.adapter, use_tqdm=False)
        return [[piece for piece in answer.outputs[0].token_ids if piece != end] for answer in answers]
