"""What a log could have held: where targets go that it cannot, and the heavy weights it may have missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from understudy.core.steps import Steps
from understudy.ope.tally import LOGGED, Plan
from understudy.ops.intervals import expected_contributions


@dataclass(frozen=True)
class Support:
    """Sums over rows that support and possible weights are read from; merges by ``+``.

    T targets, C targets and differences, S segments, k actions. Where some row lacks the propensity of every action,
    support is judged by counts of actions too, and possible weights are bounded from below (``_lumped``).
    """

    mass: np.ndarray  # f64[T, k] target's probability
    barred: np.ndarray  # f64[T] target's probability on actions that the logged propensities rule out
    taken: np.ndarray  # f64[k] how often the log took each action
    second: np.ndarray  # f64[S, C] Σ_a δ²/b, δ the target's probability or the difference of two
    fourth: np.ndarray  # f64[S, C] Σ_a δ⁴/b³
    powers: np.ndarray  # f64[S, 5] Σ r^0 … r^4, rewards scaled to [0, 1]
    known: float  # rows that carry the propensity of every action
    bounded: float  # rows of which possible weights are known, or bounded by the propensity of the taken action
    n: float

    def __add__(self, other: Support) -> Support:
        return Support(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def unsupported(self) -> np.ndarray:
        """f64[T] share of each target's probability without support, by propensities or else by counts of actions."""
        if self.known == self.n:
            return self.barred / self.n
        return np.maximum(self.barred, self.mass[:, self.taken == 0].sum(1)) / self.n

    def expected(self, segment: int | None) -> np.ndarray | None:
        """f64[C] equally large contributions to expect, seen or not; None where it cannot be known.

        Where only taken actions have a propensity: large weights to expect, if all other actions were one.
        """
        if self.bounded != self.n:
            return None
        second, fourth, powers = (
            part.sum(0) if segment is None else part[segment] for part in (self.second, self.fourth, self.powers)
        )
        n = max(powers[0], 1.0)
        if self.known != self.n:  # of bounds: how rare rewards are is judged by the rows that were seen
            powers = np.array([n, 0.0, 0.0, 0.0, 0.0])
        return expected_contributions(second / n, fourth / n, np.broadcast_to(powers, (len(second), 5)))


def support(
    steps: Steps, probs: Sequence[np.ndarray | None], plan: Plan, k: int, segment: np.ndarray | None
) -> Support:
    """Support of one batch. ``probs`` f64[n, k] of each target, None where there is no pmf; ``segment`` i64[m]."""
    n, size = float(steps.n), max(len(plan.segments), 1)
    where = np.zeros(steps.n, np.int64) if segment is None else np.repeat(segment, np.diff(steps.starts))
    discrete = steps.action.ndim == 1 and k > 0
    tables = discrete and not any(pi is None and name != LOGGED for pi, name in zip(probs, plan.targets))
    known, bounded = tables and steps.propensities is not None, tables and steps.propensity is not None
    mass, barred = np.zeros((len(probs), k)), np.zeros(len(probs))
    second = fourth = np.zeros((size, len(plan.columns)))
    b = steps.propensities
    if known and b is not None:
        second, fourth = _moments(b, [b if pi is None else pi for pi in probs], plan, where, size)
    elif bounded:
        b, probs_of = _lumped(steps, probs)
        second, fourth = _moments(b, probs_of, plan, where, size)
        barred = np.array([pi[b <= 0].sum() for pi in probs_of])
    for j, pi in enumerate(probs):
        if pi is not None:
            mass[j] = pi.sum(0)
            barred[j] = float(pi[steps.propensities <= 0].sum()) if steps.propensities is not None else barred[j]
    low, high = plan.reward_range
    r = (steps.reward - low) / (high - low)
    powers = np.stack([np.bincount(where, weights=r**j, minlength=size) for j in range(5)], axis=1)
    taken = np.bincount(steps.action, minlength=k).astype(np.float64) if discrete else np.ones(k)
    return Support(mass, barred, taken, second, fourth, powers, known * n, bounded * n, n)


def _lumped(steps: Steps, probs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Behavior [n, 2] and every target [n, 2]: the taken action, and all others as if they were one.

    Of b only b(a_i) is known, and that the others share 1 − b(a_i). Putting them together makes Σ_a π²/b and Σ_a π⁴/b³
    as small as they can be, and exact where one of the others is all that the target would have done. Without this, a
    log that took an action of probability .999 a thousand times would look like one that shares everything with a
    target that does something else.
    """
    assert steps.propensity is not None
    own = np.minimum(steps.propensity, 1.0)
    rest = np.where(own < 1 - 1e-9, 1.0 - own, 0.0)
    behavior = np.column_stack([own, rest])
    rows = np.arange(steps.n)
    taken = [own if pi is None else pi[rows, steps.action] for pi in probs]
    others = [rest if pi is None else np.maximum(1.0 - chance, 0.0) for pi, chance in zip(probs, taken)]
    return behavior, [np.column_stack(pair) for pair in zip(taken, others)]


def _moments(
    b: np.ndarray, probs: list[np.ndarray], plan: Plan, where: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """([S, C], [S, C]) sums of Σ_a δ²/b and Σ_a δ⁴/b³; actions that cannot be taken count nothing here."""
    inverse = np.divide(1.0, b, out=np.zeros_like(b), where=b > 0)
    order = {name: j for j, name in enumerate(plan.targets)}
    deltas = [*probs, *(probs[order[first]] - probs[order[other]] for first, other in plan.pairs)]
    second, fourth = np.empty((size, len(deltas))), np.empty((size, len(deltas)))
    for j, delta in enumerate(deltas):
        weighted = delta * inverse  # δ/b, the weight if that action were taken
        square = weighted * delta  # δ²/b
        second[:, j] = np.bincount(where, weights=square.sum(1), minlength=size)
        fourth[:, j] = np.bincount(where, weights=(square * weighted * weighted).sum(1), minlength=size)
    return second, fourth
