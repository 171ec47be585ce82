"""Recipes: a YAML file (or its name) and `--set` overrides become a `Config`; `auto` becomes a number."""

import contextlib
import copy
import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from deftrec.config import Config, LanguageOptions, NanoOptions
from deftrec.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

ABLATIONS = "ablations.yaml"
"""Beside the recipes, and none of them: the variants of `deftrec ablate`."""

REPEATED = 0.001
"""Of a smaller share of interactions that repeat one of their user's, a model learns nothing worth knowing."""


class _Loader(yaml.SafeLoader):
    """Reads YAML, but of two keys of one name, where YAML keeps the second in silence, neither."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in lines:
                raise ConfigError(f"{name!r} stands there twice (lines {lines[name]} and {line}); put them together")
            lines[name] = line
        return super().construct_mapping(node, deep)


def recipes_folder() -> Path:
    """Where the shipped recipes lie: inside the installed package, or at the root of a checkout."""
    packaged = Path(__file__).parent / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"


def shipped_recipes() -> list[str]:
    """Names of the recipes that are shipped."""
    return sorted(file.stem for file in recipes_folder().glob("*.yaml") if file.name != ABLATIONS)


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Config:
    """The configuration of a recipe with `a.b=c` overrides applied.

    Raises:
        ConfigError: no such recipe, not YAML, an unknown key (the nearest valid one is named) or an invalid value.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and path.name == name_or_path:
        path = recipes_folder() / f"{path.name}.yaml"
    if not path.is_file():
        names = ", ".join(shipped_recipes())
        raise ConfigError(f"no recipe {name_or_path!r}; give a YAML file or one of: {names}")
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of options, not {type(values).__name__}")
    changed = copy.deepcopy(values)
    try:
        for override in overrides or []:
            _apply(changed, override)
        return build_config(changed, "--set")
    except ConfigError:
        build_config(values, str(path))  # says so where the recipe itself is at fault
        raise


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: it cannot be read, is not YAML, or names a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506, a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def overridden(config: Config, overrides: list[str] | None) -> Config:
    """`config` with `a.b=c` overrides applied.

    Raises:
        ConfigError: as `load_recipe`.
    """
    values = config.model_dump(mode="json")
    for override in overrides or []:
        _apply(values, override)
    return build_config(values, "--set")


def build_config(values: dict[str, Any], source: str) -> Config:
    """Validate `values`; errors name the key, the value and, for an unknown key, the nearest valid one."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        known = set(_all_keys(Config))
        problem = error.errors()[0]
        if problem["type"] == "extra_forbidden":
            # A discriminated union puts its tag into the location; it is no key that a user wrote.
            key = ".".join(str(part) for part in problem["loc"] if part not in {"nano", "pretrained"})
            if key in known:
                raise ConfigError(
                    f"{source}: option {key!r} is of another language.kind than the one chosen"
                ) from error
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
            raise ConfigError(f"{source}: unknown option {key!r}; did you mean {near[0]!r}?") from error
        key = _known_part(problem["loc"], known)
        if problem["type"] in {"model_type", "model_attributes_type"}:
            given = "" if problem["input"] is None else f", not {problem['input']!r}"
            raise ConfigError(f"{source}: {key} is a group of options{given}") from error
        if problem["type"] == "union_tag_not_found":
            raise ConfigError(f"{source}: {key} needs kind: nano or kind: pretrained") from error
        if problem["type"] == "union_tag_invalid":
            kinds, kind = problem["ctx"]["expected_tags"], problem["ctx"]["tag"]
            raise ConfigError(f"{source}: option '{key}.kind': should be one of {kinds}, not {kind!r}") from error
        where = f"option {key!r}: " if key else ""
        # Each member of a union complains for itself.
        problems = [one["msg"] for one in error.errors() if _known_part(one["loc"], known) == key]
        message = ", or ".join([problems[0], *(one.removeprefix("Input should be ") for one in problems[1:])])
        message = message.removeprefix("Value error, ")
        value = "" if isinstance(problem["input"], dict | BaseModel) else f", not {problem['input']!r}"
        raise ConfigError(f"{source}: {where}{message}{value}") from error


def _known_part(location: tuple[int | str, ...], known: set[str]) -> str:
    """The key that a user wrote: a location without what pydantic adds for unions and places in lists."""
    parts = [str(part) for part in location if part not in {"nano", "pretrained"}]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def _apply(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {override!r}: write key=value, for example --set training.epochs=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    *groups, last = key.split(".")
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {group!r} is a value, not a group of options")
    values[last] = value


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for inner in candidates:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += _all_keys(inner, f"{prefix}{name}.")
    return keys


def adapt(
    config: Config, *, positions: int, interactions: int, users: int, items: int, repeated: float = 0.0
) -> Config:
    """Resolve every `auto` from the size of what is fitted.

    The steps lie between the sizes that were measured (5 k, 50 k, 100 k, 130 k and 800 k positions, 40 k of short
    histories, 270 k of long ones). Small data wants many passes and half of its collaborative vectors dropped; large
    data few passes and larger batches; very large data, and much of long histories, a wider model whose features learn;
    sparse data such features and half of the vectors dropped, where it is large or its histories are short; long
    histories more passes and less dropout, very many of them even less.

    Args:
        positions: (history, next item) pairs of train.
        interactions: interactions of train.
        users, items: how many of each.
        repeated: share of the interactions whose user had the item before.
    """
    small, middle = positions < 20_000, positions < 90_000
    large_graph = interactions >= 300_000
    mean_length = positions / max(1, users)
    long, large, huge = mean_length >= 80, positions >= 500_000, positions >= 2_000_000
    wide = large or (long and positions >= 200_000)
    epochs = 40 if small else 20 if middle else 6 if huge else 12
    if long and not huge:
        epochs = max(epochs, 16 if large else 20)
    # Few takers an item; middling data with long histories were better off as the dense ones are.
    sparse = interactions / max(1, items) < 40 and (mean_length < 20 or not middle)
    # What a seed does to a small model is worth more than what most settings do; averaging takes it out.
    members = 4 if small else 3 if middle else 2 if positions < 300_000 else 1
    adapted = config.model_copy(
        update={
            "data": _filled(config.data, max_history=200 if mean_length >= 120 else 128 if long else 64),
            "collaborative": _filled(
                config.collaborative,
                batch_size=max(1024, min(65_536, interactions // (15 if large_graph else 40))),
                epochs=40 if large_graph else 60 if interactions >= 100_000 else 120,
            ),
            "tokenizer": _filled(
                config.tokenizer,
                drop_collaborative=0.5 if small or sparse else 0.1,
                # The mean of a short history tells the language model nothing that it has not just read.
                users="folded" if mean_length >= 20 else "none",
                trainable_features=not small and (sparse or wide) and items <= 200_000,
            ),
            "language": _language(config.language, wide=wide, long=long),
            "objective": _filled(config.objective, mask_seen=config.retrieval.seen == "exclude" or repeated < REPEATED),
            "training": _filled(
                config.training,
                learning_rate=1.5e-3 if small or wide else 1e-3 if middle else 2e-3,
                batch_positions=1024 if small else 2048,
                epochs=epochs,
                ensemble_size=members,
            ),
        }
    )
    return Config.model_validate(adapted.model_dump())  # a copy is not checked


def _language(options: LanguageOptions, wide: bool, long: bool) -> LanguageOptions:
    if not isinstance(options, NanoOptions):
        return options
    return _filled(options, width=128 if wide else 64, dropout=0.3 if not long else 0.1 if wide else 0.2)


def _filled(options: M, **values: object) -> M:
    """`options` with every `auto` among `values` replaced."""
    return options.model_copy(update={key: value for key, value in values.items() if getattr(options, key) == "auto"})
