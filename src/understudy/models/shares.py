"""A policy that looks at nothing: every action by a share that was fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import State
from understudy.models.policies import Discrete
from understudy.models.state import array, bad, only
from understudy.ops import explore


@dataclass(frozen=True)
class Shares(Discrete):
    """π(a|x) ∝ share_a over the allowed actions; where all of those have share 0, any of them alike."""

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shares or not np.isfinite(self.shares).all() or min(self.shares) < 0:
            raise ConfigError(f"shares must be finite and ≥ 0; got {list(self.shares)}", field="probs")
        if abs(sum(self.shares) - 1) > explore.TOLERANCE:
            raise ConfigError(f"shares must sum to 1; {list(self.shares)} sum to {sum(self.shares)}", field="probs")

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        n, p = len(context), np.asarray(self.shares, np.float64)
        if allowed is None:
            return np.broadcast_to(p, (n, len(p))).copy()
        ok = explore.mask((n, len(p)), allowed)
        inside = np.where(ok, p, 0.0)
        weights = np.where(inside.sum(1, keepdims=True) > 0, inside, ok)
        return weights / weights.sum(1, keepdims=True)

    def state(self) -> State:
        return State("shares", {}, {"shares": np.asarray(self.shares, np.float64)})

    @classmethod
    def from_state(cls, state: State) -> Shares:
        only(state, [], ["shares"])
        try:
            return cls(tuple(array(state, "shares", (None,)).tolist()))
        except ConfigError as error:
            raise bad(error.what) from error
