"""Recipes: a YAML file (or its name) and `--set` overrides become a `Config`; `auto` becomes a number."""

import contextlib
import copy
import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from deftrec.config import Config, NanoOptions
from deftrec.errors import ConfigError
from deftrec.sizes import Sizes, sized_values

M = TypeVar("M", bound=BaseModel)

ABLATIONS = "ablations.yaml"
"""Beside the recipes, and none of them: the variants of `deftrec ablate`."""

REPEATED = 0.001
"""Share of repeated interactions below which a model cannot learn to recommend items again."""


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
    """Read the content of a YAML file.

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


def resolve(config: Config, sizes: Sizes) -> Config:
    """`config` with every `auto` replaced by its value for data of these sizes (`deftrec.sizes`).

    Options that are set stay, whatever `size` says.

    Raises:
        ConfigError: the values contradict each other.
    """
    language, tokenizer = config.language, config.tokenizer
    values = sized_values(sizes, config.size)
    if isinstance(language, NanoOptions):
        language = _filled(language, width=values.width, layers=values.layers, dropout=values.dropout)
    training = _filled(
        config.training,
        learning_rate=values.learning_rate,
        batch_positions=values.batch_positions,
        epochs=values.epochs,
        ensemble_size=values.ensemble_size,
    )
    resolved = config.model_copy(
        update={
            "size": "medium" if config.size == "auto" else config.size,
            "data": _filled(config.data, max_history=values.max_history),
            "collaborative": _filled(
                config.collaborative,
                encoder="spectral" if config.size == "small" else "lightgcn",
                batch_size=values.collaborative_batch_size,
                epochs=values.collaborative_epochs,
            ),
            "tokenizer": _filled(
                tokenizer,
                drop_collaborative=values.drop_collaborative,
                users=values.users,
                trainable_features=values.trainable_features,
            ),
            "language": language,
            "objective": _filled(
                config.objective, mask_seen=config.retrieval.seen == "exclude" or sizes.repeated < REPEATED
            ),
            "training": training,
        }
    )
    return Config.model_validate(resolved.model_dump())  # a copy is not checked


def adapt(
    config: Config, *, positions: int, interactions: int, users: int, items: int, repeated: float = 0.0
) -> Config:
    """`resolve` with the sizes as arguments."""
    return resolve(config, Sizes(positions, interactions, users, items, repeated))


def _filled(options: M, **values: object) -> M:
    """`options` with every `auto` among `values` replaced."""
    return options.model_copy(update={key: value for key, value in values.items() if getattr(options, key) == "auto"})
