"""Time of a pre-trained language model as an exported graph: PyTorch, ONNX Runtime and OpenVINO on equal embeddings.

    pip install onnx onnxscript onnxruntime openvino        beside the project's own environment
    OMP_NUM_THREADS=1 python benchmarks/exported_graph.py RUN [--repeats 15] [--fast]

The language model of a run (`language.kind: pretrained`) reads embeddings under a causal mask, in fp32: as PyTorch runs
it, and as a graph exported once for any number of rows and tokens. Then the fast path of `deftrec.inference`, which
reads the prompt beforehand: `runtime="openvino"` beside its default, in bf16 too where this machine multiplies it
faster; with `--fast` only these, and OpenVINO alone is needed. Results are compared first; then all are timed in turn,
one thread each, and medians of the milliseconds are printed beside PyTorch's.

Expected before measuring: nine tenths of the work are products for which all three call libraries of like quality, so
a graph saves what lies between them: 5 to 15 % in batches, 30 % and more for a single user.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from deftrec import Recommender
from deftrec.ensemble import Ensemble
from deftrec.hardware import inference_dtype
from deftrec.inference import reader_of
from deftrec.inference.reader import Reader
from deftrec.language import PretrainedLanguageModel

SHAPES = {"a batch of long histories": (14, 145), "a batch of short histories": (64, 23), "one user": (1, 91)}
"""Rows and tokens, those of the prompt included."""


class Reading(nn.Module):
    """`LanguageModel.read` as the one function of a module."""

    def __init__(self, language: PretrainedLanguageModel) -> None:
        super().__init__()
        self.language = language

    def forward(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        return self.language.read(embeddings, mask, positions)


def inputs(rows: int, tokens: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of an average norm, attention mask, positions."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(rows, tokens, width, generator=generator) / width**0.5
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(rows, -1, -1).contiguous()
    return embeddings, mask, torch.arange(tokens).expand(rows, -1).contiguous()


def exported(reading: Reading, width: int, folder: Path) -> Path:
    """The graph, for any number of rows and tokens."""
    path = folder / "reading.onnx"
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    shapes = ({0: rows, 1: tokens}, {0: rows, 1: tokens, 2: tokens}, {0: rows, 1: tokens})
    torch.onnx.export(reading, inputs(3, 7, width), path, dynamo=True, dynamic_shapes=shapes, external_data=False)
    return path


def runners(reading: Reading, path: Path) -> dict[str, Callable[[tuple[Tensor, ...]], np.ndarray]]:
    """Readers by name, each with one thread."""
    import onnxruntime
    import openvino

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", hints)

    @torch.no_grad()
    def plain(given: tuple[Tensor, ...]) -> np.ndarray:
        return reading(*given).numpy()  # type: ignore[no-any-return]

    def onnx(given: tuple[Tensor, ...]) -> np.ndarray:
        return session.run(None, dict(zip(names, (one.numpy() for one in given), strict=True)))[0]  # type: ignore[no-any-return]

    def vino(given: tuple[Tensor, ...]) -> np.ndarray:
        return compiled([one.numpy() for one in given])[0]  # type: ignore[no-any-return]

    return {"PyTorch": plain, "ONNX Runtime": onnx, "OpenVINO": vino}


def timed(what: str, ways: Mapping[str, Callable[[], np.ndarray]], repeats: int) -> None:
    """Print the median times of all `ways`; the first is the reference."""
    right = next(iter(ways.values()))()
    apart = {name: float(np.abs(answer() - right).max()) for name, answer in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, answer in ways.items():
            started = time.process_time()
            answer()
            seconds[name].append(time.process_time() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = next(iter(medians.values()))
    print(what)
    for name, middle in medians.items():
        print(f"  {name}: {1000 * middle:.1f} ms, {middle / base:.2f} of the first; apart {apart[name]:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--fast", action="store_true", help="time the fast path alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = Recommender.load(given.run, torch.device("cpu")).model
    language = (model.members[0] if isinstance(model, Ensemble) else model).language
    if not isinstance(language, PretrainedLanguageModel):
        raise SystemExit(f"{given.run}: its language model is not pre-trained")
    if not given.fast:
        compare_graphs(language, given.repeats)
    compare_readers(language, given.repeats)


def compare_graphs(language: PretrainedLanguageModel, repeats: int) -> None:
    """Time PyTorch, ONNX Runtime and OpenVINO on the same embeddings, those of the prompt included."""
    reading = Reading(language).eval()
    with TemporaryDirectory() as folder:
        ways = runners(reading, exported(reading, language.width, Path(folder)))
        for what, (rows, tokens) in SHAPES.items():
            asked = inputs(rows, tokens, language.width)
            answers = {name: partial(read, asked) for name, read in ways.items()}
            timed(f"{what}, {rows} x {tokens} tokens", answers, repeats)


def compare_readers(language: PretrainedLanguageModel, repeats: int) -> None:
    """Time the fast path by PyTorch and by OpenVINO, in fp32 and in the precision that suits this machine."""
    readers = {}
    for dtype in dict.fromkeys([torch.float32, inference_dtype("auto", torch.device("cpu"))]):
        called = str(dtype).removeprefix("torch.")
        readers[f"fast path, {called}"] = reader_of(language, dtype)
        readers[f"with openvino, {called}"] = reader_of(language, dtype, "openvino")
    words = len(language.words())
    for what, (rows, together) in SHAPES.items():
        tokens = max(1, together - words)
        embeddings = inputs(rows, tokens, language.width)[0]
        answers = {name: partial(answered, reader, embeddings) for name, reader in readers.items()}
        timed(f"{what}, {rows} x {tokens} tokens after the prompt", answers, repeats)


@torch.no_grad()
def answered(reader: Reader, embeddings: Tensor) -> np.ndarray:
    """Hidden state of a reader of `deftrec.inference` after the last token of every row."""
    rows, tokens, _ = embeddings.shape
    return reader.answer(embeddings, torch.full((rows,), tokens - 1)).numpy()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
