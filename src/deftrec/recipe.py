"""Recipes: a YAML file (or its name) and `--set` overrides become a `Config`; `auto` becomes a number."""

import contextlib
import copy
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from deftrec.config import Config, KindOptions, NanoOptions
from deftrec.data import Interactions
from deftrec.data.kinds import default_roles, with_roles
from deftrec.errors import ConfigError
from deftrec.sizes import Sizes, sized_values

M = TypeVar("M", bound=BaseModel)

FAST, DEFAULT = "fast", "default"  # the recipe of the small reader, and its other name

KINDS = "data.kinds."  # key of the role of a kind of events, before its name

REPEATED = 0.001  # share of repeated interactions below which a model cannot learn to recommend items again


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; YAML would ignore the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in lines:
                raise ConfigError(f"{name!r} stands there twice (lines {lines[name]} and {line}); put them together")
            lines[name] = line
        return super().construct_mapping(node, deep)


def recipes_folder() -> Path:
    """Folder of the shipped recipes: inside the installed package, or at the root of a checkout."""
    packaged = Path(__file__).parent / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"


def shipped_recipes() -> list[str]:
    """Names of the recipes that are shipped; `default` is another name of `fast`."""
    return sorted([*(file.stem for file in recipes_folder().glob("*.yaml")), DEFAULT])


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Config:
    """The configuration of a recipe with `a.b=c` overrides applied.

    Raises:
        ConfigError: no such recipe, not YAML, an unknown key (the nearest valid one is named) or an invalid value.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and path.name == name_or_path:
        path = recipes_folder() / f"{FAST if path.name == DEFAULT else path.name}.yaml"
    if not path.is_file():
        names = ", ".join(shipped_recipes())
        raise ConfigError(f"no recipe {name_or_path!r}; give a YAML file or one of: {names}")
    values = read_yaml(path) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of options, not {type(values).__name__}")
    try:
        return _with_overrides(copy.deepcopy(values), overrides)
    except ConfigError:
        build_config(values, str(path))  # a mistake in the recipe itself is reported under its path
        raise


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; a `ConfigError` if it cannot be read, is not YAML, or names a key twice."""
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

    Errors are those of `load_recipe`.
    """
    return _with_overrides(config.model_dump(mode="json"), overrides)


def _with_overrides(values: dict[str, Any], overrides: list[str] | None) -> Config:
    for override in overrides or []:
        _apply(values, override)
    return build_config(values, "`overrides=...`")


def build_config(values: dict[str, Any], source: str) -> Config:
    """Validate `values`.

    A `ConfigError` names the key, the value and, for an unknown key, the nearest valid one, after `source`.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_message(error)}") from error


def _message(error: ValidationError) -> str:
    """The first mistake, in one line."""
    known = set(_all_keys(Config))
    problem = error.errors()[0]
    kind, given, key = problem["type"], problem["input"], _key(problem)
    if kind == "extra_forbidden":
        if key in known:
            return f"option {key!r} is of another language.kind than the one chosen"
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
        return f"unknown option {key!r}; did you mean {near[0]!r}?"
    while key and key not in known:  # the location of a value in a list or union
        key = key.rpartition(".")[0]
    if kind in {"model_type", "model_attributes_type"}:
        return f"{key} is a group of options" + ("" if given is None else f", not {given!r}")
    if kind == "union_tag_not_found":
        return f"{key} needs kind: nano or kind: pretrained"
    if kind == "union_tag_invalid":
        context = problem["ctx"]
        return f"option '{key}.kind': should be one of {context['expected_tags']}, not {context['tag']!r}"
    # Each member of a union complains for itself.
    first, *others = [one["msg"] for one in error.errors() if f"{_key(one)}.".startswith(f"{key}.")]
    message = ", or ".join(
        [first.removeprefix("Value error, "), *(one.removeprefix("Input should be ") for one in others)]
    )
    value = "" if isinstance(given, dict | BaseModel) else f", not {given!r}"
    return (f"option {key!r}: " if key else "") + message + value


def _key(problem: Mapping[str, Any]) -> str:
    """The location of a mistake as a user writes it: without the tag that pydantic adds for a discriminated union."""
    return ".".join(str(part) for part in problem["loc"] if part not in {"nano", "pretrained"})


def _apply(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"`overrides={override!r}`: write key=value, for example `training.epochs=5`")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`overrides={override!r}`: the value is not YAML") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    *groups, last = _path(key)
    for group in groups:
        values = values.setdefault(group, {})
        if not isinstance(values, dict):
            raise ConfigError(f"`overrides={override!r}`: {group!r} is a value, not a group of options")
    values[last] = value


def _path(key: str) -> list[str]:
    """The groups of an option, and its name; the name of a kind of events may have dots."""
    if not key.startswith(KINDS):
        return key.split(".")
    kind, dot, option = key.removeprefix(KINDS).rpartition(".")
    named = [kind, option] if dot and option in KindOptions.model_fields else [key.removeprefix(KINDS)]
    return [*KINDS.split(".")[:-1], *named]


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

    Options that are set stay, whatever `size` says. Raises a `ValidationError` if the values contradict each other.
    """
    values = sized_values(sizes, config.size)
    derived = {
        **values,
        "batch_size": values["collaborative_batch_size"],
        "encoder": "spectral" if config.size == "small" else "lightgcn",
        "values": False,  # which data with values decide
        "mask_seen": config.retrieval.seen == "exclude" or sizes.repeated < REPEATED,
    }
    groups = ("data", "tokenizer", "language", "objective", "training")
    filled = {name: _filled(getattr(config, name), derived) for name in groups}
    collaborative = _filled(config.collaborative, {**derived, "epochs": values["collaborative_epochs"]})
    size = "medium" if config.size == "auto" else config.size
    resolved = config.model_copy(update={**filled, "collaborative": collaborative, "size": size})
    return Config.model_validate(resolved.model_dump())  # a copy is not checked


def _filled(options: M, values: Mapping[str, object]) -> M:
    """`options` with every `auto` that has a value replaced by it."""
    automatic = {name for name, value in options if value == "auto"}
    return options.model_copy(update={name: values[name] for name in automatic & values.keys()})


def with_events(config: Config, interactions: Interactions, trained: Sequence[str] = ()) -> tuple[Config, Interactions]:
    """The options with a role for every kind of event, and the interactions with their roles (`with_roles`).

    The kinds `trained` of a run to start from come first, in their order, as its model knows them by place; the data
    may lack some of them. Raises a `ConfigError` for a kind whose name has no default role, or roles that the data
    cannot have.
    """
    options, signals = config.data, interactions.signals.columns
    if "kind" in signals:
        given = {kind: one.role for kind, one in options.kinds.items()}
        found = default_roles(dict.fromkeys([*trained, *interactions.signals["kind"].unique().sort()]), given)
        kinds = {kind: options.kinds.get(kind, KindOptions(role=role)) for kind, role in found.items()}
        options = options.model_copy(update={"kinds": kinds})
    elif options.kinds:
        kind = next(iter(options.kinds))
        mend = "import the data with `kind=...`, or leave the option out"
        raise ConfigError(f"data.kinds.{kind}: the interactions of {interactions.meta.name} have no kinds; {mend}")
    tokenizer, timed = config.tokenizer, interactions.days is not None
    valued = "value" in signals and (bool(options.kinds) or options.roles.by_value)
    read = {
        "kinds": tokenizer.kinds and "kind" in signals,
        "values": valued if tokenizer.values == "auto" else tokenizer.values and "value" in signals,
        "gaps": tokenizer.gaps and timed,
        "request_time": tokenizer.request_time and timed,
    }
    update: dict[str, Any] = {"data": options, "tokenizer": tokenizer.model_copy(update=read)}
    if isinstance(config.language, NanoOptions) and not timed:
        update["language"] = config.language.model_copy(update={"relative_time": False})
    config = config.model_copy(update=update)
    return config, with_roles(interactions, options.roles)
