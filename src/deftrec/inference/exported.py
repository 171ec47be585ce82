"""A pre-trained language model as one OpenVINO graph, for CPUs."""

import threading
import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from deftrec.errors import ConfigError, MissingExtraError
from deftrec.inference.reader import PretrainedReader
from deftrec.language import PretrainedLanguageModel

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
ALIKE = {torch.float32: 0.9999, torch.bfloat16: 0.98}
"""Least cosine between the hidden states of the graph and those of the model."""
_GRAPHS: "WeakKeyDictionary[nn.Module, dict[torch.dtype, Any]]" = WeakKeyDictionary()
"""Compiled graphs by language model: items added to a run do not change its language model."""
_ONE_AT_A_TIME = threading.Lock()  # held while a graph is compiled, so that threads do not compile it twice


class ExportedReader(PretrainedReader):
    """Reads whole histories with a graph; histories that grow event by event are read with PyTorch.

    The graph is compiled once per model for any number of rows and tokens, about 15 seconds for all-MiniLM-L6-v2. It
    contains the keys and values of the prompt and uses as many threads as PyTorch. Raises a `MissingExtraError` if
    OpenVINO is not installed; and a `ConfigError` if the model is on a GPU, cannot be exported, or its graph gives
    other results.

    Args:
        language: the language model.
        dtype: type of the graph's matrix products; float32 equals the plain path up to rounding.
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

    def answer(self, ways: Tensor, last: Tensor, days: Tensor | None = None) -> Tensor:
        """See `Reader.answer`."""
        found = self.graph.create_infer_request().infer([ways.float().contiguous().numpy(), last.numpy()])
        return torch.from_numpy(found[0])

    def _check(self, exact: PretrainedReader, alike: float) -> None:
        """Compare graph and model: an exporter may fix a size of its example, and weights may have changed since."""
        ways = torch.randn(5, 21, self.language.width, generator=torch.Generator().manual_seed(0))
        last = torch.arange(16, 21)
        with torch.no_grad():
            right = exact.answer(ways, last)
        try:
            found = float(cosine_similarity(self.answer(ways, last), right).min())
        except RuntimeError:
            found = 0.0
        if not found > alike:
            raise ConfigError("the OpenVINO graph of this language model gives other results: set runtime to torch")


class _Answer(nn.Module):
    """`Reader.answer` as a module. `[B, T, D]`, `[B]` int64 -> `[B, D]`"""

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
        raise ConfigError("runtime openvino runs on a CPU, and this run is on a GPU: set runtime to torch")
    any_number = torch.export.Dim.AUTO
    shapes = {0: any_number, 1: any_number}, {0: any_number}
    example = torch.zeros(3, 7, language.width), torch.tensor([6, 5, 2])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the exporter uses deprecated names of torch
            program = torch.export.export(_Answer(reader).eval(), example, dynamic_shapes=shapes, strict=False)
            model = openvino.convert_model(program)
        hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": PRECISIONS[dtype]}
        return openvino.Core().compile_model(model, "CPU", hints)
    except Exception as error:  # exporters raise errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"this language model cannot be exported ({reason}): set runtime to torch") from error
