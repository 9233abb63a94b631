"""Gymnasium's spaces as features and actions of a Problem, and what is known of its environments by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature

Encode = Callable[[Sequence[Any]], np.ndarray]  # w observations → f32[w, d]
Decode = Callable[[np.ndarray], Iterable[Any]]  # w actions of ours → w of Gymnasium's

# Feature names and action names; the range of rewards. Elsewhere features are x0, x1, … and actions 0, 1, …
KNOWN: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[float, float]]] = {
    "CartPole": (("cart_position", "cart_velocity", "pole_angle", "pole_velocity"), ("left", "right"), (0.0, 1.0)),
    "Pendulum": (("cosine", "sine", "velocity"), (), (-(np.pi**2 + 6.4 + 0.004), 0.0)),
    "Acrobot": (("cos_1", "sin_1", "cos_2", "sin_2", "velocity_1", "velocity_2"), ("back", "none", "forth"), (-1, 0)),
    "MountainCar": (("position", "velocity"), ("left", "none", "right"), (-1.0, 0.0)),
    "MountainCarContinuous": (("position", "velocity"), (), (-0.1, 100.0)),
}
UNKNOWN = (-1e6, 1e6)


def known_range(id: str) -> tuple[float, float]:
    """The lowest and the highest reward; ±10⁶ where nobody said."""
    known = KNOWN.get(stem(id))
    return UNKNOWN if known is None else known[2]


def stem(id: str) -> str:
    """``phys2d/CartPole-v1`` → ``CartPole``."""
    return id.rpartition("/")[2].rpartition("-v")[0] or id


def features_of(id: str, space: Any) -> tuple[tuple[Feature, ...], Encode]:
    """A Box is its numbers in order, a Discrete one category; what else Gymnasium can flatten, is flattened."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        names, low = tuple(str(i) for i in range(int(space.n))), int(space.start)
        return (Feature(name="x0", kind="category", values=names),), lambda seen: _codes(seen, low)
    if isinstance(space, spaces.Box):
        encode: Encode = lambda seen: np.array(seen, np.float32).reshape(len(seen), -1)
        d = int(np.prod(space.shape))
    else:
        flat = spaces.flatten_space(space)
        if not isinstance(flat, spaces.Box):
            raise ConfigError(
                f"environment {id!r} shows {space}", "A context is a row of numbers and categories.", field=id
            )
        encode, d = lambda seen: np.array([spaces.flatten(space, x) for x in seen], np.float32), flat.shape[0]
    known = KNOWN.get(stem(id), ((), (), UNKNOWN))[0]
    names = known if len(known) == d else tuple(f"x{i}" for i in range(d))
    return tuple(Feature(name=name) for name in names), encode


def _codes(seen: Sequence[Any], low: int) -> np.ndarray:
    return np.array(seen, np.float32).reshape(-1, 1) - low


def actions_of(id: str, space: Any) -> tuple[ActionSpace, Decode]:
    """Discrete actions by name or number; a Box needs finite bounds."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        k, start = int(space.n), int(space.start)
        known = KNOWN.get(stem(id), ((), (), UNKNOWN))[1]
        names = known if len(known) == k else tuple(str(i + start) for i in range(k))
        return ActionSpace(names=names), lambda action: (action + start).tolist()
    if isinstance(space, spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
        low, high = (tuple(side.astype(np.float64).ravel().tolist()) for side in (space.low, space.high))
        shape, kind = space.shape, space.dtype
        return ActionSpace(low=low, high=high), lambda action: action.reshape(-1, *shape).astype(kind)
    raise ConfigError(
        f"environment {id!r} takes {space}",
        "An action is one of several, or numbers between finite bounds.",
        "Wrap it in a package of your own: entry point understudy.envs.",
        field=id,
    )
