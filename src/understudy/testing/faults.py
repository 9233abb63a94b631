"""Twenty ways in which logs go wrong, each as one function: (kind of log, n, seed) → the faulty log.

A fault touches 5 % of the rows unless it is global by nature (a scale, a code path, a column). ``FAULTS`` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from understudy.core.hashing import mix
from understudy.core.problem import Feature
from understudy.core.steps import Origin, Steps
from understudy.testing.worlds import WINDOW, K, Kind, Twist, World, arrivals, draw, world

SHARE = 0.05


@dataclass(frozen=True)
class Fault:
    """One fault: how to make it, where, and how it may be named.

    Args:
        make: (kind, n, seed) → World, or None where it cannot happen in that kind of log.
        scope: "5 %" of the rows, or "global".
        names: findings that lead a reader to its cure.
        says: what it looks like.
    """

    make: Callable[[Kind, int, int], World | None]
    scope: str
    names: frozenset[str]
    says: str


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 20])


def _some(rng: np.random.Generator, n: int, share: float = SHARE) -> np.ndarray:
    """bool[n]: exactly share · n rows."""
    hit = np.zeros(n, bool)
    hit[rng.choice(n, round(share * n), replace=False)] = True
    return hit


def _at(pmf: np.ndarray, action: np.ndarray) -> np.ndarray:
    return pmf[np.arange(len(action)), action]


def _logged(w: World, pmf: np.ndarray) -> World:
    """The world with another pmf written into its log, chosen propensity and all."""
    return w.with_(propensities=pmf, propensity=_at(pmf, w.steps.action))


def another_action(kind: Kind, n: int, seed: int) -> World:
    """The propensity of another action stands beside the logged one; the pmf is intact."""
    w, rng = world(kind, n, seed), _rng(seed)
    others = w.steps.allowed.astype(np.float64) if w.steps.allowed is not None else np.ones((n, K))
    others[np.arange(n), w.steps.action] = 0
    assert w.steps.propensity is not None
    return w.with_(propensity=np.where(_some(rng, n), _at(w.pmf, draw(rng, others)), w.steps.propensity))


def argmax_score(kind: Kind, n: int, seed: int) -> World:
    """Where the top action was taken, its probability before exploration is logged."""
    w = world(kind, n, seed)
    top = w.base.argmax(1)
    pmf = w.pmf.copy()
    pmf[np.arange(n), top] = _at(w.base, top)
    return _logged(w, pmf)


def constant_one(kind: Kind, n: int, seed: int) -> World:
    """Propensity 1 everywhere, on a policy that explores."""
    w = world(kind, n, seed)
    return _logged(w, np.eye(K)[w.steps.action])


def rounded(kind: Kind, n: int, seed: int) -> World:
    """Propensities with one decimal; a taken action that would round to 0 is written 0.1."""
    w = world(kind, n, seed)
    pmf = np.round(w.pmf, 1)
    return w.with_(propensities=pmf, propensity=np.maximum(_at(pmf, w.steps.action), 0.1))


def scaled(kind: Kind, n: int, seed: int) -> World:
    """Every propensity times one constant: 0.5, 0.7 or 0.9."""
    w = world(kind, n, seed)
    return _logged(w, w.pmf * _rng(seed).choice([0.5, 0.7, 0.9]))


def override(kind: Kind, n: int, seed: int) -> World:
    """Something downstream puts one promoted item in place of 10 % of the actions; the log keeps the drawn one's."""
    return world(kind, n, seed, Twist(override=0.1, promoted=int(_rng(seed).integers(K))))


def random_override(kind: Kind, n: int, seed: int) -> World:
    """As before, but with any other action at random: from the chosen propensity alone no test can see it."""
    return world(kind, n, seed, Twist(override=0.1))


def epsilon(kind: Kind, n: int, seed: int) -> World:
    """The ε in the log is half, or twice, the ε in force."""
    w = world(kind, n, seed)
    logged = kind.epsilon * _rng(seed).choice([0.5, 2.0])
    return _logged(w, w.pmf + (logged - kind.epsilon) * (_uniform(w) - w.base))


def _uniform(w: World) -> np.ndarray:
    allowed = np.ones(w.pmf.shape, bool) if w.steps.allowed is None else w.steps.allowed
    return allowed / allowed.sum(1, keepdims=True)


def shifted(kind: Kind, n: int, seed: int) -> World:
    """Propensities joined one row late."""
    w = world(kind, n, seed)
    assert w.steps.propensity is not None
    return w.with_(propensities=np.roll(w.pmf, 1, 0), propensity=np.roll(w.steps.propensity, 1))


def previous_version(kind: Kind, n: int, seed: int) -> World:
    """Propensities recomputed with the policy version before the one that chose."""
    w = world(kind, n, seed)
    return _logged(w, w.previous)


def before_masking(kind: Kind, n: int, seed: int) -> World | None:
    """Probabilities from before disallowed actions were removed."""
    if not kind.masked:
        return None
    w = world(kind, n, seed)
    return _logged(w, w.unmasked)


def action_leak(kind: Kind, n: int, seed: int) -> World:
    """A feature was filled after the decision: the price of what was shown, with some noise."""
    w, rng = world(kind, n, seed), _rng(seed)
    price = rng.permutation(K) + 1.0
    return _with_feature(w, "price", price[w.steps.action] + rng.normal(size=n) * 0.3)


def reward_leak(kind: Kind, n: int, seed: int) -> World:
    """A feature was filled after the outcome: the reward, with some noise."""
    w, rng = world(kind, n, seed), _rng(seed)
    return _with_feature(w, "satisfaction", w.steps.reward + rng.normal(size=n) * 0.3 * w.steps.reward.std())


def _with_feature(w: World, name: str, values: np.ndarray) -> World:
    problem = msgspec.structs.replace(w.problem, features=(*w.problem.features, Feature(name=name)))
    context = np.column_stack([w.steps.context, values]).astype(np.float32)
    return replace(w.with_(context=context), problem=problem)


def duplicated_decisions(kind: Kind, n: int, seed: int) -> World:
    """5 % of the decisions stand twice, under new ids, a second later."""
    w, rng = world(kind, n, seed), _rng(seed)
    kept = round(n / (1 + SHARE))
    copied = np.sort(rng.choice(kept, n - kept, replace=False))
    rows = np.concatenate([np.arange(kept), copied])
    time = w.steps.time[rows] + np.where(np.arange(n) >= kept, 1_000_000, 0)
    order = np.argsort(time, kind="stable")
    steps = _rows(w.steps, rows[order]).with_(time=time[order])
    assert steps.origin is not None
    new = np.where(order >= kept, mix(steps.origin.decision, 13), steps.origin.decision)
    return replace(w, steps=steps.with_(origin=replace(steps.origin, decision=new)))


def _rows(steps: Steps, rows: np.ndarray) -> Steps:
    """One-step episodes at these rows, in this order, repeats and all."""
    columns = {
        name: None if value is None else (value.take(rows) if isinstance(value, Origin) else value[rows])
        for name, value in vars(steps).items()
        if name != "starts"
    }
    return Steps(starts=np.arange(len(rows) + 1, dtype=np.int64), **columns)  # type: ignore[arg-type]


def duplicated_rewards(kind: Kind, n: int, seed: int) -> World:
    """5 % of the outcomes that arrived were sent twice and added up."""
    w, rng = world(kind, n, seed), _rng(seed)
    origin, value = _arrived(w)
    hit = np.zeros(n, bool)
    there = np.flatnonzero(origin.arrived > 0)
    hit[rng.choice(there, min(int(SHARE * n), len(there)), replace=False)] = True
    arrived = np.where(hit, 2 * origin.arrived, origin.arrived)
    return replace(w, steps=arrivals(w.steps, np.where(hit, 2 * value, value), origin.delay, arrived))


def _arrived(w: World) -> tuple[Origin, np.ndarray]:
    assert w.steps.origin is not None and w.steps.outcomes is not None
    return w.steps.origin, np.nan_to_num(w.steps.outcomes[:, 0])


def misjoined_rewards(kind: Kind, n: int, seed: int) -> World | None:
    """5 % of the outcomes go to another decision whose window was open when they arrived."""
    return None if kind.reward == "counts" else misjoined_anywhere(kind, n, seed)


def misjoined_anywhere(kind: Kind, n: int, seed: int) -> World:
    """The same where several outcomes per decision are normal: then nothing in the joined table is out of place."""
    w, rng = world(kind, n, seed), _rng(seed)
    origin, value = _arrived(w)
    there = np.flatnonzero(origin.arrived > 0)
    sources = rng.choice(there, min(int(SHARE * n), len(there)), replace=False)
    time = w.steps.time / 1e6
    value, delay, arrived = value.copy(), origin.delay.copy(), origin.arrived.copy()
    moment, moved, count = time[sources] + delay[sources], value[sources], arrived[sources]
    value[sources], delay[sources], arrived[sources] = 0.0, np.nan, 0
    low, high = np.searchsorted(time, moment - WINDOW), np.searchsorted(time, moment)
    for row, when, v, c in zip(rng.integers(low, np.maximum(high, low + 1)), moment, moved, count):
        value[row], arrived[row] = value[row] + v, arrived[row] + c
        delay[row] = np.fmin(delay[row], when - time[row])
    return replace(w, steps=arrivals(w.steps, value, delay, arrived))


def swapped_rewards(kind: Kind, n: int, seed: int) -> World:
    """5 % of the rows exchange their outcomes, delays and all: no test can see it (see docs/audit.md)."""
    w, rng = world(kind, n, seed), _rng(seed)
    origin, value = _arrived(w)
    hit = np.flatnonzero(_some(rng, n))
    rows = np.arange(n)
    rows[hit] = rng.permutation(hit)
    return replace(w, steps=arrivals(w.steps, value[rows], origin.delay[rows], origin.arrived[rows]))


def _lose(w: World, gone: np.ndarray) -> World:
    origin, value = _arrived(w)
    return replace(
        w,
        steps=arrivals(w.steps, value, np.where(gone, np.nan, origin.delay), np.where(gone, 0, origin.arrived)),
    )


def missing_by_action(kind: Kind, n: int, seed: int) -> World | None:
    """One action's outcomes get lost: 5 % of all rows, all of them that action's."""
    return None if kind.reward in ("events", "counts") else missing_events(kind, n, seed)


def missing_events(kind: Kind, n: int, seed: int) -> World:
    """The same where silence means 0: an action whose clicks get lost is an action that is clicked less."""
    w, rng = world(kind, n, seed), _rng(seed)
    action = rng.choice(np.flatnonzero(np.bincount(w.steps.action, minlength=K) >= n / 12))
    own = np.flatnonzero(w.steps.action == action)
    gone = np.zeros(n, bool)
    gone[rng.choice(own, min(int(SHARE * n), len(own)), replace=False)] = True
    return _lose(w, gone)


def missing_by_window(kind: Kind, n: int, seed: int) -> World:
    """In the second half the reward window was shorter, which loses the slowest tenth of that half's outcomes."""
    w = world(kind, n, seed)
    origin, _ = _arrived(w)
    late = np.arange(n) >= n // 2
    cut = np.nanquantile(origin.delay[late], 1 - 2 * SHARE)
    return _lose(w, late & (origin.delay > cut))


def unripe_default(kind: Kind, n: int, seed: int) -> World:
    """The join ran half a day after the last decision, whose outcomes may take a day: silence became the default."""
    w = world(kind, n, seed)
    origin, _ = _arrived(w)
    as_of = int(w.steps.time[int((1 - SHARE) * n)] + WINDOW * 1e6)
    gone = w.steps.time + np.nan_to_num(origin.delay) * 1e6 > as_of
    return replace(_lose(w, gone), rules=replace(w.rules, as_of=as_of))


def never_logged(kind: Kind, n: int, seed: int) -> World:
    """An action was allowed all the time, and the behavior policy never takes it."""
    return world(kind, n, seed, Twist(without=int(_rng(seed).integers(K))))


def drift(kind: Kind, n: int, seed: int) -> World:
    """Two features shift by 0.3 standard deviations in the middle of the log."""
    return world(kind, n, seed, Twist(drift=0.3))


_PROPENSITY = (
    "propensity_of_another_action",
    "propensity_before_masking",
    "propensity_scaled",
    "propensity_sum",
    "propensity_constant",
    "propensity_rounded",
    "propensity_shifted",
    "propensity_miscalibrated",
    "propensity_recomputed",
    "propensity_range",
)


def _fault(make: Callable[[Kind, int, int], World | None], scope: str, *names: str) -> Fault:
    said = (make.__doc__ or "").strip().splitlines()[0]
    return Fault(make, scope, frozenset(names or _PROPENSITY), said)


FAULTS: Mapping[str, Fault] = {
    "propensity of another action": _fault(another_action, "5 %"),
    "argmax logged with its pre-exploration score": _fault(argmax_score, "global"),
    "propensity 1 on a stochastic policy": _fault(constant_one, "global"),
    "propensities rounded to one decimal": _fault(rounded, "global"),
    "propensities scaled by a constant": _fault(scaled, "global"),
    "propensity of the top item after an override": _fault(override, "10 %"),
    "ε in the log different from the ε in force": _fault(epsilon, "global"),
    "propensities shifted by one row": _fault(shifted, "global"),
    "propensities of the previous policy version": _fault(previous_version, "global"),
    "probabilities before masking": _fault(before_masking, "global"),
    "chosen action leaked into the context": _fault(action_leak, "global", "action_leak"),
    "reward leaked into the context": _fault(reward_leak, "global", "reward_leak"),
    "duplicated decisions": _fault(duplicated_decisions, "5 %", "duplicated_decisions"),
    "duplicated rewards": _fault(duplicated_rewards, "5 %", "duplicated_rewards", "surplus_rewards"),
    "rewards joined to the wrong decision": _fault(misjoined_rewards, "5 %", "misjoined_rewards", "surplus_rewards"),
    "missing rate of rewards differing by action": _fault(missing_by_action, "5 %", "missing_by_action"),
    "missing rate differing by reward window": _fault(missing_by_window, "5 %", "missing_over_time"),
    "default applied before the window closed": _fault(unripe_default, "5 %", "unripe_default"),
    "an action never logged": _fault(never_logged, "global", "action_never_logged"),
    "context drift between halves": _fault(drift, "global", "context_drift"),
}


INVISIBLE: Mapping[str, tuple[Callable[[Kind, int, int], World | None], str]] = {
    "outcomes exchanged between decisions, delays and all": (
        swapped_rewards,
        "The rows are what a world with 5 % more noise in its rewards would log; every effect shrinks by 5 %.",
    ),
    "outcomes at another decision, several per decision being normal": (
        lambda kind, n, seed: misjoined_anywhere(kind, n, seed) if kind.reward == "counts" else None,
        "A decision with one outcome more, and one with one less, are nothing unusual there.",
    ),
    "lost outcomes of one action, silence meaning 0": (
        lambda kind, n, seed: missing_events(kind, n, seed) if kind.reward in ("events", "counts") else None,
        "An action whose clicks get lost is, in the table, an action that is clicked less.",
    ),
    "override by a random other action, chosen propensity only": (
        lambda kind, n, seed: random_override(kind, n, seed).chosen_only(),
        "The rows are what a mixture of policies with permuted actions would log with correct propensities.",
    ),
}

__all__ = ["FAULTS", "INVISIBLE", "SHARE", "Fault"]
