"""Policies over k discrete actions: each gives a pmf per row, and acts by drawing from exactly that pmf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import DiscretePolicy, State, ValueModel
from understudy.models.state import array, bad, choice, nested, number, only, part, revive, whole
from understudy.ops import explore


class Discrete:
    """``prob`` and ``act`` of a policy that offers ``probs``."""

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        raise NotImplementedError

    def prob(self, context: np.ndarray, action: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(a|x) of given actions, i32[n] → f64[n]."""
        return _pick(self.probs(context, allowed), action)

    def act(
        self, context: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an action per row by inverse CDF from one uniform number each. → (i32[n], its π(a|x) f64[n])."""
        p = self.probs(context, allowed)
        action = explore.draw(p, rng.random(len(p)))
        return action, _pick(p, action)


def _pick(p: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.take_along_axis(p, action.astype(np.int64)[:, None], 1)[:, 0]


@dataclass(frozen=True)
class Uniform(Discrete):
    """Every allowed action alike."""

    k: int

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        return explore.uniform((len(context), self.k), allowed)

    def state(self) -> State:
        return State("uniform", {"k": self.k})

    @classmethod
    def from_state(cls, state: State) -> Uniform:
        only(state, ["k"])
        return cls(whole(state, "k", 1, 2**20))


@dataclass(frozen=True)
class Fixed(Discrete):
    """Always the same action; where it is not allowed, any allowed one alike."""

    k: int
    action: int

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        scores = np.zeros((len(context), self.k))
        scores[:, self.action] = 1.0
        return explore.greedy(scores, allowed)

    def state(self) -> State:
        return State("fixed", {"k": self.k, "action": self.action})

    @classmethod
    def from_state(cls, state: State) -> Fixed:
        only(state, ["k", "action"])
        k = whole(state, "k", 1, 2**20)
        return cls(k, whole(state, "action", 0, k - 1))


_VOTING_ROWS = 2048  # rows whose members are held at a time
# What ``amount`` is called in each rule, and where it must lie.
RULES = {
    "greedy": ("nothing", 0.0, 0.0),
    "epsilon_greedy": ("epsilon", 0.0, 1.0),
    "softmax": ("strength", 0.0, 1e9),
    "squarecb": ("gamma", 0.0, 1e12),
    "proportional": ("nothing", 0.0, 0.0),
    "votes": ("epsilon", 0.0, 1.0),
}


@dataclass(frozen=True)
class Explore(Discrete):
    """A value model's estimates turned into probabilities by an exploration rule.

    rule: ``greedy``; ``epsilon_greedy`` (amount = ε); ``softmax`` (amount = λ); ``squarecb`` (amount = γ);
    ``proportional`` (the values are weights ≥ 0); ``votes`` (each member of an ensemble votes for its best action,
    the votes mixed with ε = amount of uniform).
    """

    model: ValueModel
    rule: str = "greedy"
    amount: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigError(f"unknown exploration rule {self.rule!r}", hint=f"One of: {', '.join(RULES)}")
        name, low, high = RULES[self.rule]
        if not low <= self.amount <= high:
            raise ConfigError(
                f"{self.rule}: amount ({name}) must lie in [{low}, {high}]; got {self.amount}", field="amount"
            )
        if self.rule == "votes" and not hasattr(self.model, "members"):
            raise ConfigError("the rule votes needs an ensemble (forest, bag or lin_ts)", field="rule")

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        if self.rule == "votes":
            return self._votes(context, allowed)
        values = self.model.values(context)
        if self.rule == "greedy":
            return explore.greedy(values, allowed)
        if self.rule == "proportional":
            return explore.by_weight(values, allowed)
        return getattr(explore, self.rule)(values, self.amount, allowed)

    def _votes(self, context: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        parts = []
        for start in range(0, len(context), _VOTING_ROWS):
            rows = slice(start, start + _VOTING_ROWS)
            ok = None if allowed is None else allowed[rows]
            share = explore.member_votes(self.model.members(context[rows]), ok)  # type: ignore[attr-defined]
            parts.append(explore.mix([explore.uniform(share.shape, ok), share], [self.amount, 1 - self.amount]))
        return np.concatenate(parts) if parts else explore.greedy(self.model.values(context), allowed)

    def state(self) -> State:
        return nested("explore", {"rule": self.rule, "amount": self.amount}, {"model": self.model.state()})

    @classmethod
    def from_state(cls, state: State) -> Explore:
        only(state, ["rule", "amount"], (), ["model"])
        rule = choice(state, "rule", tuple(RULES))
        _, low, high = RULES[rule]
        model = _valued(revive(part(state, "model")))
        if rule == "votes" and not hasattr(model, "members"):
            raise bad("explore: the rule votes stands over a model without members")
        return cls(model, rule, number(state, "amount", low, high))


@dataclass(frozen=True)
class Mixture(Discrete):
    """π(a|x) = Σ_i w_i π_i(a|x): one of several policies, drawn anew for every decision."""

    policies: tuple[DiscretePolicy, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        explore.mix([np.zeros((0, 0))] * len(self.policies), self.weights)

    def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
        """π(·|x), f64[n, k]."""
        return explore.mix([policy.probs(context, allowed) for policy in self.policies], self.weights)

    def state(self) -> State:
        parts = {f"policy{i}": policy.state() for i, policy in enumerate(self.policies)}
        own = nested("mixture", {}, parts)
        return State(own.kind, own.config, own.arrays | {"weights": np.asarray(self.weights, np.float64)})

    @classmethod
    def from_state(cls, state: State) -> Mixture:
        weights = array(state, "weights", (None,))
        names = [f"policy{i}" for i in range(len(weights))]
        only(state, [], ["weights"], names)
        policies = tuple(acting(revive(part(state, name))) for name in names)
        try:
            return cls(policies, tuple(float(w) for w in weights))
        except ConfigError as error:
            raise bad(error.what) from error


def floored(policy: DiscretePolicy, k: int, epsilon: float) -> DiscretePolicy:
    """(1 − ε)·π + ε·uniform: every allowed action keeps a propensity of at least ε/K. ε = 0 is π itself."""
    return policy if epsilon == 0 else Mixture((policy, Uniform(k)), (1 - epsilon, epsilon))


def _valued(model: Any) -> ValueModel:
    if not hasattr(model, "values"):
        raise bad(f"a {type(model).__name__} stands where a value model belongs")
    return model


def acting(policy: Any) -> DiscretePolicy:
    """A policy read back from a file, if it is one over named actions. Raises StoreError otherwise."""
    if not hasattr(policy, "probs"):
        raise bad(f"a {type(policy).__name__} stands where a policy belongs")
    return policy
