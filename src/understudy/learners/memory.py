"""What online learners keep of the past: the newest decisions, and a feature map that knows nothing of the future."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.core.errors import StoreError
from understudy.core.hashing import canonical
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, OnlineLearner, Progress, State
from understudy.core.steps import Steps, bandit_steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.state import array, bad, only, part, whole

FIRST = 16  # decisions before the first feature map; until then nothing is learned and the policy is uniform


@dataclass
class Memory:
    """The newest ``capacity`` decisions, and a feature map refitted when 16, 32, 64, … have been seen.

    Refitting ends when the doubled number would exceed the capacity: from then on the map stays as it is.
    """

    problem: Problem
    capacity: int
    signed_log: bool
    quadratic: bool = False
    seen: int = 0
    features: FeatureMap | None = None
    context: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # f32[rows, d]
    action: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))  # i32[rows]
    reward: np.ndarray = field(default_factory=lambda: np.zeros(0))  # f64[rows]

    @property
    def kept(self) -> int:
        """How many decisions are at hand."""
        return min(self.seen, self.capacity)

    def add(self, context: np.ndarray, action: int, reward: float) -> bool:
        """One decision, f32[d]. True if the feature map is new: whatever was made with the old one is void."""
        at = self.seen % self.capacity
        if at >= len(self.reward):
            self._grow(len(context))
        self.context[at], self.action[at], self.reward[at] = context, action, reward
        self.seen += 1
        doubled = self.seen >= FIRST and self.seen & (self.seen - 1) == 0
        if doubled and self.seen <= self.capacity:
            self.features = fit_feature_map(self.problem, [self.steps()], self.signed_log, self.quadratic)
            return True
        return False

    def steps(self) -> Steps:
        """The decisions at hand, in no order that matters."""
        n = self.kept
        return bandit_steps(self.context[:n], self.action[:n], self.reward[:n])

    def _grow(self, d: int) -> None:
        size, n = min(max(2 * len(self.reward), FIRST), self.capacity), self.kept
        context, action, reward = np.zeros((size, d), np.float32), np.zeros(size, np.int32), np.zeros(size)
        if n:
            context[:n], action[:n], reward[:n] = self.context[:n], self.action[:n], self.reward[:n]
        self.context, self.action, self.reward = context, action, reward

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the decisions at hand, by name."""
        return {name: getattr(self, name)[: self.kept].copy() for name in ("context", "action", "reward")}

    def restore(self, state: State) -> None:
        """Take over ``seen``, decisions and feature map from a saved state. Raises StoreError if they do not fit."""
        self.seen = whole(state, "seen", 0, 2**62)
        n, d = self.kept, len(self.problem.features)
        context, action = state.arrays.get("context"), array(state, "action", (n,), np.int32)
        if context is None or context.dtype != np.float32 or context.shape != (n, d if n else 0):
            raise bad(f"{state.kind}: context must be f32[{n}, {d}]")
        if ((action < 0) | (action >= self.problem.actions.k)).any():
            raise bad(f"{state.kind}: an action lies outside the problem's")
        # Copies: what is read from a file cannot be written to.
        self.context, self.action = context.copy(), action.copy()
        self.reward = array(state, "reward", (n,)).copy()
        if self.seen >= FIRST:
            self.features = FeatureMap.from_state(part(state, "features"))


def same_settings(
    kind: str, settings: dict[str, Any], state: State, arrays: Iterable[str], keys: Iterable[str] = ()
) -> int:
    """The seed of a saved state, if it is of this kind and these settings. Raises StoreError otherwise."""
    if state.kind != kind:
        raise bad(f"a {state.kind} stands where a saved {kind} belongs")
    fitted = ["features"] if whole(state, "seen", 0, 2**62) >= FIRST else []
    only(state, ["settings", "seed", "seen", *keys, *(() if fitted else ["parts"])],
         [*arrays, "context", "action", "reward"], fitted)  # fmt: skip
    if canonical(state.config["settings"]) != canonical(settings):
        raise StoreError(
            f"the saved {kind} was learning with other settings: {state.config['settings']}",
            "Going on with new ones, it would be neither the old learner nor the new.",
            "Start afresh from the log, or use the old settings.",
        )
    for key in keys:
        whole(state, key, 0, 2**62)
    return whole(state, "seed", 0, 2**62)


def learn_all(learner: OnlineLearner, data: LoggedDataset, seed: int, progress: Progress) -> Any:
    """What an online learner knows after a whole log, oldest first."""
    learning = learner.init(data.problem, seed=seed)
    for batch in data.scan():
        learning = learner.update(learning, batch)
        progress("fit", {"steps": float(learning.seen)})
    return learning
