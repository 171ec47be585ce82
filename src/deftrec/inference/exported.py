"""A pre-trained model's reading as one OpenVINO graph, for CPUs: the same numbers with less between the products."""

import threading
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from deftrec.errors import ConfigError, MissingExtraError
from deftrec.inference.pretrained import PretrainedReader
from deftrec.language import PretrainedLanguageModel

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
ALIKE = {torch.float32: 0.9999, torch.bfloat16: 0.98}
"""Cosine of what graph and model answer, at least."""
_GRAPHS: "WeakKeyDictionary[nn.Module, dict[torch.dtype, Any]]" = WeakKeyDictionary()
"""Graphs of models that are still there: what comes to a run later changes its items, not its language model."""
_ONE_AT_A_TIME = threading.Lock()
"""Threads that ask for the same graph wait for it."""


class ExportedReader(PretrainedReader):
    """Answers whole histories by a graph; what is read on, event by event, goes through PyTorch in the same `dtype`.

    The graph is made once for a model, for any number of rows and tokens, with the keys and values of the prompt's
    words inside it; for all-MiniLM-L6-v2 that takes a quarter of a minute. It uses as many threads as PyTorch by then.

    Args:
        language: the model.
        dtype: of the graph's products; float32 gives what the plain path gives, to rounding.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ConfigError: the model is on a GPU, cannot be exported, or answers otherwise as a graph.
    """

    def __init__(self, language: PretrainedLanguageModel, dtype: torch.dtype) -> None:
        super().__init__(language, dtype)
        exact = PretrainedReader(language, torch.float32)
        with _ONE_AT_A_TIME:
            graphs = _GRAPHS.setdefault(language.model, {})
            if dtype not in graphs:
                graphs[dtype] = _compiled(exact, dtype)
            self.graph = graphs[dtype]
        self._check(exact, ALIKE[dtype])

    def answer(self, ways: Tensor, last: Tensor) -> Tensor:
        """See `Reader.answer`."""
        found = self.graph.create_infer_request().infer([ways.float().contiguous().numpy(), last.numpy()])
        return torch.from_numpy(found[0])

    def _check(self, exact: PretrainedReader, alike: float) -> None:
        """An exporter may take a size of its example for the only one there is; weights may have changed since.

        Raises:
            ConfigError: the graph does not answer as the model does.
        """
        ways = torch.randn(5, 21, self.language.width, generator=torch.Generator().manual_seed(0))
        last = torch.arange(16, 21)
        with torch.no_grad():
            right = exact.answer(ways, last)
        try:
            found = float(cosine_similarity(self.answer(ways, last), right).min())
        except RuntimeError:
            found = 0.0
        if not found > alike:
            raise ConfigError("this language model answers otherwise as a graph: leave runtime at torch")


class _Answer(nn.Module):
    """`Reader.answer` as the one function of a module. `[B, T, D]`, `[B]` int64 -> `[B, D]`"""

    def __init__(self, reader: PretrainedReader) -> None:
        super().__init__()
        self.language, self.reader = reader.language, reader

    def forward(self, ways: Tensor, last: Tensor) -> Tensor:
        return self.reader.answer(ways, last)


def _compiled(reader: PretrainedReader, dtype: torch.dtype) -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtraError("openvino", "openvino", "runtime openvino") from error
    language = reader.language
    if language.scale.device.type != "cpu":
        raise ConfigError("runtime openvino reads on the CPU, and this run is on a GPU: leave runtime at torch")
    any_number = torch.export.Dim.AUTO
    example = torch.zeros(3, 7, language.width), torch.tensor([6, 5, 2])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the exporter asks torch by names of older versions
            program = torch.export.export(
                _Answer(reader).eval(),
                example,
                dynamic_shapes=({0: any_number, 1: any_number}, {0: any_number}),
                strict=False,
            )
            model = openvino.convert_model(program)
        hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": PRECISIONS[dtype]}
        return openvino.Core().compile_model(model, "CPU", hints)
    except Exception as error:  # whatever an exporter cannot do with somebody's model
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"this language model cannot be exported ({reason}): leave runtime at torch") from error
