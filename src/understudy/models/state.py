"""Reading a state back: every number, array and nested state is checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import State
from understudy.core.registry import find

_HINT = "The file is damaged or was written by another version; take it again from the store, or train again."
MAX_DEPTH = 8  # states within states


def bad(what: str) -> StoreError:
    """The error for a state that is not what its kind writes."""
    return StoreError(what, "A policy that is not exactly the one that was saved must not act.", _HINT)


def revive(state: State) -> Any:
    """The policy or model that ``state`` describes, its kind looked up in the registry and nowhere else."""
    if _deep(state.config):
        raise bad(f"a saved {state.kind} holds more than {MAX_DEPTH} states within states")
    try:
        kind = find("states", state.kind)
    except ConfigError as error:
        raise StoreError(f"a saved policy names a kind nobody knows: {state.kind!r}", hint=error.hint) from error
    return kind.from_state(state)


def nested(kind: str, config: dict[str, Any], parts: dict[str, State]) -> State:
    """A state that holds others under names: their JSON beside its own, their arrays under ``name.``."""
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        arrays |= part.nest(name)
    inner = {name: {"kind": part.kind, "config": part.config} for name, part in parts.items()}
    return State(kind, config | {"parts": inner}, arrays)


def _deep(config: dict[str, Any]) -> bool:
    """Whether parts are nested beyond MAX_DEPTH; level by level, so that depth itself can do no harm."""
    level: list[Any] = [config]
    for _ in range(MAX_DEPTH + 1):
        found = [item.get("parts") for item in level if isinstance(item, dict)]
        inner = [entry for parts in found if isinstance(parts, dict) for entry in parts.values()]
        level = [entry.get("config") for entry in inner if isinstance(entry, dict)]
    return bool(level)


def part(state: State, name: str) -> State:
    """The nested state called ``name``."""
    inner = mapping(mapping(state.config, "parts"), name)
    if set(inner) != {"kind", "config"} or not isinstance(inner["kind"], str) or not isinstance(inner["config"], dict):
        raise bad(f"{state.kind}: part {name!r} needs kind and config")
    prefix = f"{name}."
    arrays = {key.removeprefix(prefix): array for key, array in state.arrays.items() if key.startswith(prefix)}
    return State(inner["kind"], inner["config"], arrays)


def only(state: State, keys: Iterable[str], arrays: Iterable[str] = (), parts: Iterable[str] = ()) -> None:
    """Exactly these config keys, arrays and parts, neither fewer nor more."""
    named = set(parts)
    expected = set(keys) | ({"parts"} if named else set())
    if set(state.config) != expected:
        raise bad(f"{state.kind}: config has {sorted(state.config)}, expected {sorted(expected)}")
    if named and set(mapping(state.config, "parts")) != named:
        raise bad(f"{state.kind}: parts are {sorted(state.config['parts'])}, expected {sorted(named)}")
    own = {key for key in state.arrays if key.partition(".")[0] not in named}
    if own != set(arrays):
        raise bad(f"{state.kind}: arrays are {sorted(own)}, expected {sorted(set(arrays))}")


def mapping(config: Any, key: str) -> dict[str, Any]:
    """A JSON object under ``key``."""
    value = config.get(key) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise bad(f"{key!r} is missing, or not an object")
    return value


def number(state: State, key: str, low: float = -np.inf, high: float = np.inf) -> float:
    """A finite number in [low, high]."""
    value = state.config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise bad(f"{state.kind}: {key!r} must be a finite number; got {value!r}")
    if not low <= value <= high:
        raise bad(f"{state.kind}: {key!r} must lie in [{low}, {high}]; got {value}")
    return float(value)


def whole(state: State, key: str, low: int = 0, high: int = 2**31) -> int:
    """A whole number in [low, high]."""
    value = state.config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad(f"{state.kind}: {key!r} must be a whole number in [{low}, {high}]; got {value!r}")
    return value


def choice(state: State, key: str, among: Sequence[str]) -> str:
    """One of the given words."""
    value = state.config.get(key)
    if not isinstance(value, str) or value not in among:
        raise bad(f"{state.kind}: {key!r} must be one of {', '.join(among)}; got {value!r}")
    return value


def array(state: State, name: str, shape: tuple[int | None, ...], dtype: type = np.float64) -> np.ndarray:
    """A finite array of that dtype and shape (None = any length)."""
    value = state.arrays.get(name)
    if value is None:
        raise bad(f"{state.kind}: array {name!r} is missing")
    matches = len(shape) == value.ndim and all(want in (None, have) for want, have in zip(shape, value.shape))
    if value.dtype != dtype or not matches:
        wanted = f"{np.dtype(dtype)}{list(shape)}"
        raise bad(f"{state.kind}: array {name!r} must be {wanted}; got {value.dtype}{list(value.shape)}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise bad(f"{state.kind}: array {name!r} holds numbers that are not finite")
    return value
