"""Checks of the arguments that programs give to the library; every fault is a `ConfigError` or `DataError`."""

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any, get_args

import torch

from deftrec.errors import ConfigError

LARGEST_SEED = 2**64 - 1


def whole_number(value: Any, name: str, least: int, mend: str) -> int:
    """A whole number, also one of NumPy; a `ConfigError` that ends with `mend` for anything else and below `least`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise ConfigError(f"{name} is {value!r}; {mend}")
    return number


def check_seed(seed: Any) -> int | None:
    """A seed of random numbers, or None; a `ConfigError` for anything but a whole number of 64 bits."""
    if seed is None:
        return None
    mend = "give a whole number from 0 to 2^64 - 1"
    found = whole_number(seed, "seed", 0, mend)
    if found > LARGEST_SEED:
        raise ConfigError(f"seed is {seed!r}; {mend}")
    return found


def check_k(k: Any, offset: Any = 0) -> tuple[int, int]:
    """The length of a list and the number of items before it; a `ConfigError` for a list without a place."""
    items = whole_number(k, "k", 1, "ask for 1 item or more, as a whole number")
    return items, whole_number(offset, "offset", 0, "give 0 or the number of items before the list")


def one_of(value: Any, name: str, choices: Any) -> None:
    """Raise a `ConfigError` where a value is none of the `choices` of a type `Literal`."""
    if value not in get_args(choices):
        raise ConfigError(f"{name} is {value!r}; give {' or '.join(map(repr, get_args(choices)))}")


def real_number(value: Any, name: str, least: float, most: float, mend: str) -> None:
    """Raise a `ConfigError` that ends with `mend` where a value is no number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= most:
        raise ConfigError(f"{name} is {value!r}; {mend}")


def true_or_false(value: Any, name: str) -> bool:
    """A truth value; a `ConfigError` for anything else, since the text "no" would count as true."""
    if isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"}:
        return bool(value)
    raise ConfigError(f"{name} is {value!r}; give True or False")


def in_order(values: Any, name: str) -> Any:
    """Values that have an order; a `ConfigError` for a set, whose order changes from one process to the next."""
    if isinstance(values, set | frozenset):
        raise ConfigError(f"{name} is a set, which has no order; give a list")
    return values


def cutoffs_of(k: Any) -> tuple[int, ...] | None:
    """Cutoffs of metrics, without repetitions; None stands for the usual ones."""
    if k is None:
        return None
    several = list(k) if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    mend = "give whole numbers of 1 or more, such as k=(5, 10)"
    if not several:
        raise ConfigError(f"k has no cutoff; {mend}")
    return tuple(dict.fromkeys(whole_number(one, "k", 1, mend) for one in several))


def device_of(device: Any) -> torch.device | None:
    """A device that this machine has; a `ConfigError` for another one."""
    if device is None:
        return None
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device {device!r} cannot be used here ({reason}); give 'cpu', or None to choose") from error
    return found
