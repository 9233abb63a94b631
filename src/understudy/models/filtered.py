"""A policy that keeps to actions the log has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.protocols import DiscretePolicy, State
from understudy.models.policies import Discrete, acting
from understudy.models.state import nested, number, only, part, revive
from understudy.ops.bellman import likely


@dataclass(frozen=True)
class Filtered(Discrete):
    """π(·|x) of ``policy`` among the allowed actions with π̂_b(a|x) ≥ threshold · max_a' π̂_b(a'|x).

    ``imitation`` is π̂_b, a fitted behavior policy. Source: Fujimoto et al. 2019 (discrete BCQ), equation 5.
    """

    policy: DiscretePolicy
    imitation: DiscretePolicy
    threshold: float

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        behavior = self.imitation.probs(context, allowed)
        return self.policy.probs(context, likely(np, behavior, self.threshold, allowed))

    def state(self) -> State:
        parts = {"policy": self.policy.state(), "imitation": self.imitation.state()}
        return nested("filtered", {"threshold": self.threshold}, parts)

    @classmethod
    def from_state(cls, state: State) -> Filtered:
        only(state, ["threshold"], (), ["policy", "imitation"])
        inner, imitation = (acting(revive(part(state, name))) for name in ("policy", "imitation"))
        return cls(inner, imitation, number(state, "threshold", 0.0, 1.0))
