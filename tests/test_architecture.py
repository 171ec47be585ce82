"""The folders in the order in which data flow through them; a part imports only parts that stand before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import deftrec

PACKAGE = Path(deftrec.__file__).parent

ORDER = [
    *("errors", "records", "streams", "files", "tensors", "progress", "listeners", "hardware", "projection", "flops"),
    *("modes", "arguments", "habits", "notebook"),
    *("attributes", "data"),  # before the options, which name its splits
    *("sizes", "config", "recipe"),
    *("pretrained_files", "collaborative", "text", "tokenizer", "language", "diffusion"),
    *("batch", "model"),
    "ensemble",
    "inference",
    "reasoning",
    *("evaluation", "formatting"),  # formatting names the type of a result
    "retrieval",
    "requests",
    "run",
    "incremental",
    "training",
    *("explanation", "recommendation", "evaluation_cases"),
    *("rerankers", "loaded", "list_making", "recommender"),
    "session",
    *("bulk", "doctor", "serving", "benchmark", "report"),
    *("cli", "__main__"),
]

# Torch modules know nothing about files, external ids, the command line or progress bars.
PURE = ["collaborative", "text", "tokenizer", "diffusion", "language", "model"]
FOREIGN = {"polars", "rich", "typer", "deftrec.files", "deftrec.data.interactions", "deftrec.progress", "deftrec.cli"}
FETCHES = PACKAGE / "language" / "weights.py"  # it downloads files


def files() -> Iterator[tuple[str, Path]]:
    """Every file of the package with the part it belongs to; the package's own `__init__.py` belongs to none."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.name != "__init__.py" or len(inside.parts) > 1:
            yield inside.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_part_has_its_place() -> None:
    assert {part for part, _ in files()} <= set(ORDER), "a new part: give it its place in ORDER and in the docs"


def test_imports_point_to_parts_before() -> None:
    wrong = []
    for part, path in files():
        for line, name in imports(path):
            package, _, rest = name.partition(".")
            used = rest.split(".")[0]
            if package != "deftrec" or used in {part, "__version__"}:
                continue
            if used not in ORDER or ORDER.index(used) > ORDER.index(part):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {part} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("part", PURE)
def test_torch_modules_know_no_files_ids_or_bars(part: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for owner, path in files()
        if owner == part and path != FETCHES
        for line, name in imports(path)
        if any(name == foreign or name.startswith(f"{foreign}.") for foreign in FOREIGN)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_command_line_knows_no_tensors() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for owner, path in files()
        if owner == "cli"
        for line, name in imports(path)
        if name.startswith(("deftrec.model", "deftrec.diffusion", "deftrec.tokenizer", "deftrec.language"))
    ]
    assert not wrong, "\n".join(wrong)


def test_optional_libraries_are_imported_where_they_are_used() -> None:
    service = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "prometheus_client", "mcp")
    optional = (
        *service,
        "matplotlib",
        "tensorboard",
        "torch.utils.tensorboard",
        "diffusers",
        "ir_measures",
        "vector_quantize_pytorch",
        "faiss",
        "bitsandbytes",
        "ray",
    )
    for part, path in files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            if part == "serving":  # whose door says which extra is missing
                names = [name for name in names if not name.startswith(service)]
            assert not any(name.startswith(optional) for name in names), f"{path}:{node.lineno}: {names}"


def test_the_service_is_imported_on_demand() -> None:
    for part, path in files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert part == "serving" or not any(name.startswith("deftrec.serving") for name in top), path


def test_torch_stays_in_the_engine_and_its_index() -> None:
    """HTTP, store and queue know item numbers, never tensors; the server only sets the number of threads."""
    users = {
        path.name
        for part, path in files()
        if part == "serving"
        for _, name in imports(path)
        if name.split(".")[0] == "torch"
    }
    assert {"engine.py", "approximate.py"} <= users
    assert users <= {"catalogue.py", "engine.py", "approximate.py", "recall.py", "run.py", "server.py"}
