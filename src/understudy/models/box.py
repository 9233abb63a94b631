"""Policies over continuous actions that look at nothing: uniform over the box of what can be done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import State
from understudy.models.state import array, bad, only


@dataclass(frozen=True)
class UniformBox:
    """Every action in [low, high] alike: π(a|x) = Π_j 1 / (high_j − low_j) inside, 0 outside."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        sound = len(self.low) == len(self.high) > 0 and all(a < b for a, b in zip(self.low, self.high))
        if not sound or not np.isfinite([*self.low, *self.high]).all():
            raise bad(f"uniform_box: needs finite low < high in every dimension; got {self.low}, {self.high}")

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(a|x), a density: f32[n, q] → f64[n]."""
        inside = ((action >= np.asarray(self.low, np.float32)) & (action <= np.asarray(self.high, np.float32))).all(1)
        return np.where(inside, self._density, 0.0)

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an action per row. → (f32[n, q], its density f64[n])."""
        n = len(context)
        action = rng.uniform(self.low, self.high, (n, len(self.low))).astype(np.float32)
        return action, np.full(n, self._density)

    @property
    def _density(self) -> float:
        return float(1.0 / np.prod(np.subtract(self.high, self.low)))

    def state(self) -> State:
        return State(
            "uniform_box", {}, {"low": np.asarray(self.low, np.float64), "high": np.asarray(self.high, np.float64)}
        )

    @classmethod
    def from_state(cls, state: State) -> UniformBox:
        only(state, [], ["low", "high"])
        low = array(state, "low", (None,))
        return cls(tuple(low.tolist()), tuple(array(state, "high", (len(low),)).tolist()))
