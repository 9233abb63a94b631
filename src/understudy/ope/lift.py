"""The gate's evidence: an e-process that bets on the paired difference between a candidate and the incumbent.

Two processes are averaged, half the first unit of wealth each. ``ips`` needs nothing but weights. ``dr`` adds a reward
model as a control term, never more of it than keeps each bet's worst draw above a fixed floor (ops/paired.py). Any
average of e-processes is one, so the proof holds whether or not the model is any good (docs/adr/0010).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Lift, Pair
from understudy.core.hashing import canonical, content_id
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Regressor, ValueModel
from understudy.core.registry import find
from understudy.core.steps import Steps, bandit_steps, concat
from understudy.ops import returns
from understudy.ops.betting import BETS, DR_BOUNDS, DR_SHARES, SHARES, Wealth, start
from understudy.ops.draws import Draws
from understudy.ops.paired import controlled_difference, ips_difference

Model = Literal["forward"] | Regressor | ValueModel | None

# Forward cross-fitting: the first rows get no model; from then on one fit on all earlier rows at each doubling.
FIRST_FIT = 128


def lift(
    data: LoggedDataset,
    candidate: Policy,
    incumbent: Policy | None,
    *,
    names: tuple[str, str],
    margin: float = 0.0,
    q: Model = "forward",
    level: float = 0.95,
    seed: int = 0,
    bounds: bool = True,
) -> Lift:
    """Evidence that the candidate's value exceeds the incumbent's by more than ``margin``, valid at every look.

    E_t = ½ Σ_j p_j Π_{i≤t} (1 + λ_j X^ips_i) + ½ Σ_j p_j Π_{i≤t} (1 + .8 X^dr_ij),   X = (D − m)/(B + m).

    Args:
        data: logged decisions that neither policy was trained on or chosen by.
        incumbent: None = whatever policy made the log, row by row; its weights are 1.
        names: of the candidate and of the incumbent.
        margin: smallest lift worth shipping, in units of reward; negative states non-inferiority.
        q: ``"forward"`` (or a Regressor) is refitted on the past of each row; a ValueModel must come from other
            data; None bets on weights alone.
        level: of each of the one-sided bounds ``low`` and ``high``.
        bounds: False computes the proof alone, in a quarter of the time: no ``low``, ``high`` or reverse process.
    Returns:
        A Lift. Where a unit has, or may later have, several episodes, one draw is the mean over the unit's episodes:
        the value compared is then the average over units, and ``anytime`` is False, because a unit that returns
        changes a draw already bet on; each look is then a test of its own.
    Raises:
        EvidenceError: no propensities; a margin outside the range; fewer than two units.
    """
    problem, log = data.problem, _read(data, candidate, incumbent)
    if not abs(margin) < log.width:
        raise EvidenceError(
            f"a margin of {margin:g} is not inside the reward's range of width {log.width:g}",
            "No policy could, or every policy would, pass such a test.",
            field="margin",
        )
    values, notes = _values(log, q, problem, seed)
    m, need = margin / log.width, -float(np.log1p(-level))
    high, against = None, 0.0
    if bounds:
        behind = _draws(log.swapped(), values)
        against = behind.wealth(-m).peak
        high = -behind.bound(need, -m, against) * log.width
        del behind
    ahead = _draws(log, values)  # after the reverse is done with, so that one set of draws is in memory at a time
    wealth = ahead.wealth(m)
    u = len(ahead.ips)
    return Lift(
        candidate=names[0],
        incumbent=names[1],
        n=len(log.action),
        margin=margin,
        log_e=wealth.log_e,
        peak_log_e=wealth.peak,
        mean=float(ahead.best.mean()) * log.width,
        low=ahead.bound(need, m, wealth.peak) * log.width if bounds else None,
        high=high,
        second_moment=float(np.square(ahead.ips).mean()),
        parts=_parts(wealth),
        level=level,
        std_error=float(ahead.best.std(ddof=1) / np.sqrt(u)) * log.width,
        reverse_peak_log_e=against,
        growth=float(wealth.log_wealth.max()) / u,
        n_units=u,
        anytime=problem.unit != "unit" and u == len(log.w_new),
        design=_design(margin, q, seed),
        pair=_pair(log),
        notes=notes,
    )


def no_lift(names: tuple[str, str], why: str, *, margin: float = 0.0) -> Lift:
    """A lift that could not be computed, so that the gate can say "refused", and why."""
    return Lift(candidate=names[0], incumbent=names[1], n=0, margin=margin, log_e=0.0, peak_log_e=0.0, mean=0.0,
                low=None, second_moment=0.0, notes=(why,))  # fmt: skip


@dataclass(frozen=True)
class _Log:
    """What the draws are made of: one entry per episode, ordered by the first appearance of its unit."""

    unit: np.ndarray  # i64[m] 0, 1, 2, …, nondecreasing
    context: np.ndarray  # f32[m, d]
    action: np.ndarray  # i32[m], or f32[m, q]
    reward: np.ndarray  # f64[m] return, scaled to [0, 1]
    w_new: np.ndarray  # f64[m]
    w_old: np.ndarray  # f64[m]
    new: np.ndarray | None  # f64[m, k] candidate, of a bandit with named actions
    old: np.ndarray | None  # f64[m, k] incumbent
    behavior: np.ndarray | None  # f64[m, k] where the log knows it whole
    low: float
    width: float

    def swapped(self) -> _Log:
        """The same log with the roles of the two policies exchanged."""
        return replace(self, w_new=self.w_old, w_old=self.w_new, new=self.old, old=self.new)


def _read(data: LoggedDataset, candidate: Policy, incumbent: Policy | None) -> _Log:
    steps = concat(list(data.scan()))
    if steps.propensity is None:
        raise EvidenceError(
            f"none of the {steps.n} decisions has a propensity",
            "How often a policy would have done the same is unknown, so no lift can be proven from this log.",
            "Log the probability of every action at the moment it is taken.",
            field="propensity",
        )
    low, width = _range(data.problem, steps)
    order, unit = _order(steps)
    if len(unit) == 0 or unit[-1] == 0:
        raise EvidenceError(f"the log holds {int(len(unit) > 0)} unit; a proof needs at least two", field="unit")
    total = np.add.reduceat(steps.reward * _discounts(steps, data.problem), steps.starts[:-1])
    new, w_new = _play(candidate, steps, data.problem)
    old, w_old = (steps.propensities, np.ones(steps.m)) if incumbent is None else _play(incumbent, steps, data.problem)
    if steps.m != steps.n:
        new = old = None  # a reward model of single steps is no control for a return
    behavior = _behavior(steps, old)
    first = steps.starts[:-1]
    return _Log(
        unit=unit,
        context=steps.context[first][order],
        action=steps.action[first][order],
        reward=np.clip((total - low) / width, 0.0, 1.0)[order],
        w_new=w_new[order],
        w_old=w_old[order],
        new=None if new is None else new[order],
        old=None if old is None else old[order],
        behavior=None if behavior is None else behavior[order],
        low=low,
        width=width,
    )


def _order(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Episodes by first appearance of their unit: (order i64[m], rank of the unit i64[m] after ordering)."""
    by_time = np.argsort(steps.time[steps.starts[:-1]], kind="stable")
    _, first, inverse = np.unique(steps.unit[by_time], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[inverse]
    inner = np.argsort(rank, kind="stable")
    return by_time[inner], rank[inner]


def _range(problem: Problem, steps: Steps) -> tuple[float, float]:
    """Lowest return and width of its range. An episode may be shorter than the horizon, so 0 is then in range."""
    low, high = problem.reward_range
    low, high = returns.bounds(low, high, problem.discount, problem.horizon, steps.span is not None)
    if not np.isfinite([low, high]).all():
        raise EvidenceError(
            "returns have no bound: steps take unequal time, and the problem has no horizon",
            "A proof needs the lowest and highest return there can be.",
            "Give the problem a horizon.",
            field="horizon",
        )
    return low, high - low


def _discounts(steps: Steps, problem: Problem) -> np.ndarray:
    return returns.factors(steps, problem.discount)


def _play(policy: Policy, steps: Steps, problem: Problem) -> tuple[np.ndarray | None, np.ndarray]:
    """(probabilities of all actions f64[n, k] or None, Π_t π(a_t|x_t)/b(a_t|x_t) of each episode f64[m])."""
    probs = getattr(policy, "probs", None)
    if problem.actions.discrete and probs is not None:
        table = probs(steps.context, steps.allowed)
        chance = np.take_along_axis(table, steps.action[:, None].astype(np.int64), 1)[:, 0]
    else:
        table, chance = None, policy.prob(steps.context, steps.action, steps.allowed)
    return table, np.multiply.reduceat(chance / steps.propensity, steps.starts[:-1])


def _behavior(steps: Steps, old: np.ndarray | None) -> np.ndarray | None:
    """Probabilities of every action when it was logged: as logged, or the incumbent's where it made the log."""
    if steps.propensities is not None:
        return steps.propensities
    if old is None or steps.propensity is None:
        return None
    own = np.take_along_axis(old, steps.action[:, None].astype(np.int64), 1)[:, 0]
    return old if np.allclose(own, steps.propensity, rtol=1e-6, atol=0.0) else None


def _values(log: _Log, q: Model, problem: Problem, seed: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """q̂ of the scaled reward for every action, from data that its row is no part of. f64[m, k]"""
    if q is None:
        return None, ()
    if log.new is None or log.old is None or log.behavior is None:
        return None, ("the log does not hold the probability of every action: bets on weights alone",)
    if q != "forward" and hasattr(q, "values"):
        values = (np.asarray(q.values(log.context)) - log.low) / log.width  # pyright: ignore
        return np.clip(values, 0.0, 1.0), ()
    regressor: Any = find("models", "ridge")() if q == "forward" else q
    return _forward(log, lambda steps, at: regressor.fit(steps, problem, seed=seed + at)), ()


def _forward(log: _Log, fit: Callable[[Steps, int], Any]) -> np.ndarray:
    """Refit on all earlier units whenever their number has doubled; NaN before the first fit.

    A row's model has seen only units that came before it, so given the past each bet is on a fixed function. Models
    from both sides (ordinary folds) would make a row's draw depend on later rewards, and wealth no martingale.
    """
    values = np.full(log.new.shape, np.nan)  # pyright: ignore
    raw = log.low + log.width * log.reward
    size, at, units = FIRST_FIT, 0, int(log.unit[-1]) + 1
    while size < units:
        past, end = np.searchsorted(log.unit, [size, 2 * size])
        steps = bandit_steps(log.context[:past], log.action[:past], raw[:past])
        model = fit(steps, at)
        fresh = (np.asarray(model.values(log.context[past:end])) - log.low) / log.width
        values[past:end] = np.clip(fresh, 0.0, 1.0)
        size, at = 2 * size, at + 1
    return values


def _draws(log: _Log, values: np.ndarray | None) -> Draws:
    ips = ips_difference(log.w_new, log.w_old, log.reward)
    if values is None:
        return Draws(_per_unit(ips, log.unit), None)
    dr = np.repeat(ips[:, None], len(DR_BOUNDS), axis=1)  # what the control leaves where there is no model yet
    known = ~np.isnan(values[:, 0])
    if known.any():
        assert log.new is not None and log.old is not None and log.behavior is not None
        new, old, behavior = log.new[known], log.old[known], log.behavior[known]
        dr[known] = controlled_difference(
            new, old, behavior, log.action[known], log.reward[known], values[known], DR_BOUNDS
        )
    return Draws(_per_unit(ips, log.unit), _per_unit(dr, log.unit))


def _per_unit(draws: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Mean over each unit's episodes. f64[m, …] → f64[u, …]"""
    counts = np.bincount(unit)
    if len(counts) == len(draws):
        return draws
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.add.reduceat(draws, starts) / counts.reshape(-1, *[1] * (draws.ndim - 1))


def _parts(wealth: Wealth) -> dict[str, float]:
    """Final logarithm of each averaged process, each starting from 1."""
    j, logs = len(BETS), wealth.log_wealth
    parts = {"ips": replace(start(SHARES), log_wealth=logs[:j]).log_e}
    return parts if len(logs) == j else {**parts, "dr": replace(start(DR_SHARES), log_wealth=logs[j:]).log_e}


def _design(margin: float, q: Model, seed: int) -> str:
    """Hash of what must stay the same between looks at one candidate; changing it starts another test."""
    model: Any = q if q is None or isinstance(q, str) else repr(type(q))
    if q is not None and not isinstance(q, str) and hasattr(q, "state"):
        state = q.state()  # pyright: ignore[reportAttributeAccessIssue]
        arrays = {name: content_id(np.ascontiguousarray(a).tobytes()) for name, a in state.arrays.items()}
        model = [state.kind, state.config, arrays]
    return content_id(canonical([margin, model, seed]))


def _pair(log: _Log) -> Pair:
    total, heaviest = float(log.w_new.sum()), int(log.w_new.argmax())
    matched, disagree, unsupported = log.w_new > 0, np.zeros(len(log.w_new), bool), 0.0
    ahead = log.w_new > log.w_old * (1 + 1e-6)  # the candidate does this more often than the incumbent
    if log.new is not None:
        best = _most_probable(log.new)
        matched = np.take_along_axis(best, log.action[:, None].astype(np.int64), 1)[:, 0]
        unsupported = _unsupported(log)
        if log.old is not None:
            disagree = ahead = (best != _most_probable(log.old)).any(1)
    return Pair(
        n=len(log.w_new),
        n_units=int(log.unit[-1]) + 1,
        ess=total**2 / float(np.square(log.w_new).sum()) if total > 0 else 0.0,
        max_weight_share=float(log.w_new[heaviest]) / total if total > 0 else 0.0,
        heaviest=heaviest,
        disagreement=float(disagree.mean()),
        matched=int(matched.sum()),
        matched_disagreeing=int((matched & ahead).sum()),
        unsupported=unsupported,
    )


def _unsupported(log: _Log) -> float:
    """Share of the candidate's probability on actions of behavior probability 0; else on actions never logged."""
    assert log.new is not None
    if log.behavior is not None:
        return float((log.new * (log.behavior <= 0)).sum(1).mean())
    never = np.bincount(log.action, minlength=log.new.shape[1]) == 0
    return float(log.new[:, never].sum(1).mean())


def _most_probable(table: np.ndarray) -> np.ndarray:
    return table >= table.max(1, keepdims=True) * (1 - 1e-9)
