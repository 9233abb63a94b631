"""Q̂ of a target policy, fitted to a log out-of-fold by unit. One fit per target: Q̂ depends on who acts next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.problem import Problem
from understudy.core.protocols import Policy, Regressor, ValueModel
from understudy.core.steps import Steps
from understudy.models.feature_map import fit_feature_map
from understudy.models.ridge import LinearModel, Ridge
from understudy.ope import lstd
from understudy.ope.crossfit import CrossFit, folds_of
from understudy.ope.following import Following, clocked, ended, following, next_probs, tell_time, with_clock
from understudy.ops import returns

ROUNDS = 10  # backups of a regressor that has no closed form; they start from the closed form of the linear one
SMALL = 256  # inputs × actions up to which "ridge" reads products of features too
TABULAR = "tabular"


@dataclass(frozen=True)
class FittedQ:
    """Q̂ of one target: a model per fold; rows of fold j are judged by the model that never saw fold j."""

    crossfit: CrossFit
    clock: bool
    horizon: int | None
    k: int

    def values(self, steps: Steps) -> np.ndarray:
        """Q̂(x_t, ·) f64[n, k], out-of-fold by unit."""
        return self.crossfit.values(tell_time(steps)[0] if self.clock else steps)

    def end(self, steps: Steps, policy: Policy) -> np.ndarray | None:
        """V̂ of what would have followed each cut episode f64[m], 0 where nothing does; None if nothing was cut."""
        cut = ~ended(steps, self.horizon)
        if not cut.any() or steps.final_context is None:
            return None
        last, context = steps.starts[1:][cut] - 1, steps.final_context[cut]
        allowed = None if steps.final_allowed is None else steps.final_allowed[cut]  # not known: all
        pi = policy.probs(context, allowed)  # type: ignore[attr-defined]
        if self.clock:
            context = np.column_stack([context, returns.lengths(steps.starts)[cut]]).astype(np.float32)
        ends = Steps(
            starts=np.arange(len(last) + 1), unit=steps.unit[cut], time=steps.time[last], context=context,
            action=steps.action[last], reward=np.zeros(len(last)), terminated=np.ones(len(last), bool),
            truncated=np.zeros(len(last), bool),
        )  # fmt: skip
        out = np.zeros(steps.m)
        out[cut] = (pi * self.crossfit.values(ends)).sum(1)
        return out


def fit_q(
    sample: Steps, problem: Problem, policy: Policy, q: str | Regressor, *, folds: int = 5, seed: int = 0
) -> FittedQ:
    """Fitted Q evaluation: Q̂(x, a) ≈ r + γ^{span} Σ_a' π(a'|x') Q̂(x', a'), on all units but those of the fold.

    ``"tabular"``: a table over contexts of categories and booleans, exact for the log's own frequencies.
    ``"ridge"``, or a Ridge: its fixed point in closed form (LSTD-Q); by name it is the table where there can be one,
    and reads products of features where they are few. Any other regressor: ``ROUNDS`` backups, from the closed
    form of the linear one on (or from the table).
    Where episodes reach the horizon, the step of the episode is one more feature: values then depend on it.

    Args:
        sample: episodes in memory. Cut ones go on from ``final_context``.
    Raises:
        EvidenceError: cut episodes without a final context; all units in one fold.
        ConfigError: a table over numbers.
    Source: Le, Voloshin & Yue 2019, algorithm 3; Lagoudakis & Parr 2003 (LSTD-Q).
    """
    clock, after = clocked(problem, sample), following(sample, problem)
    probs = np.asarray(policy.probs(sample.context, sample.allowed), np.float64)  # type: ignore[attr-defined]
    shares = next_probs(policy, sample, probs, after) * after.discount[:, None]
    told = problem
    if clock:
        (sample, after_), told = tell_time(sample, after), with_clock(problem)
        after = after_ or after
    fold, salt = folds_of(sample, folds, seed)
    chain = _Chain(sample, after, shares, told)
    models = _fitted(q, chain, fold, folds, seed)
    low, high = limits(problem, sample)
    return FittedQ(
        CrossFit(tuple(Bounded(m, low, high) for m in models), salt), clock, problem.horizon, probs.shape[1]
    )  # fmt: skip


@dataclass(frozen=True)
class Bounded:
    """A value model held to the returns there can be: a fixed point far off the log may lie anywhere."""

    model: Any
    low: float
    high: float

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        return np.clip(self.model.values(context), self.low, self.high)

    def state(self) -> Any:
        return self.model.state()


@dataclass(frozen=True)
class Table:
    """Q̂ of every state and action; a state that was never seen has the mean of all."""

    states: lstd.States
    q: np.ndarray  # f64[S + 1, k], the last row for states never seen

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        return self.q[self.states.index(context)]


@dataclass(frozen=True)
class _Chain:
    """Rows, what follows each, and γ^{span} π(·|x') there."""

    steps: Steps
    after: Following
    shares: np.ndarray  # f64[n, k]
    problem: Problem


def _fitted(q: str | Regressor, chain: _Chain, fold: np.ndarray, folds: int, seed: int) -> list[Any]:
    k = chain.shares.shape[1]
    table = lstd.states(chain.problem, chain.steps, chain.after, k) if isinstance(q, str) else None
    if q == TABULAR and table is None:
        raise ConfigError(
            f"no table: categories and booleans only, and at most {lstd.MOST_CELLS:,} pairs of state and action",
            hint='Use q="ridge" or "trees".',
            field="q",
        )
    if table is not None and q in (TABULAR, "ridge"):
        return _tables(table, chain, fold, folds)
    from understudy.ope.crossfit import reward_model

    regressor: Any = reward_model(q)
    if isinstance(regressor, Ridge):
        small = isinstance(q, str) and _products(chain) * k <= SMALL
        return _linear(Ridge(quadratic=True) if small else regressor, chain, fold, folds)
    start = _linear(Ridge(), chain, fold, folds) if table is None else _tables(table, chain, fold, folds)
    return [_backups(regressor, start[j], chain, fold != j, seed) for j in range(folds)]


def _products(chain: _Chain) -> int:
    width = fit_feature_map(chain.problem, [chain.steps]).width
    return width + width * (width + 1) // 2


def _linear(ridge: Ridge, chain: _Chain, fold: np.ndarray, folds: int) -> list[LinearModel]:
    """One map of inputs for all folds: it reads no reward."""
    features = fit_feature_map(chain.problem, [chain.steps], ridge.signed_log, ridge.quadratic)

    def part(rows: np.ndarray) -> lstd.System:
        z, there = (lstd.inputs(features, c[rows]) for c in (chain.steps.context, chain.after.context))
        return lstd.system(z, there, chain.shares[rows], chain.steps.action[rows], chain.steps.reward[rows])

    models = []
    for total in without_each(part, fold, folds):
        theta = lstd.solve(total, ridge.penalty)
        models.append(LinearModel(features, np.ascontiguousarray(theta[:, :-1]), np.ascontiguousarray(theta[:, -1])))
    return models


def _tables(found: lstd.States, chain: _Chain, fold: np.ndarray, folds: int) -> list[Table]:
    k, size = chain.shares.shape[1], len(found.codes)
    here, there = found.index(chain.steps.context), np.maximum(found.index(chain.after.context), 0)
    cell = here * k + chain.steps.action  # i64[n]

    def part(rows: np.ndarray) -> lstd.System:
        own, cells = cell[rows], size * k
        count = np.bincount(own, minlength=cells).astype(np.float64)
        a = np.diag(count)
        for j in range(k):
            into = own * cells + there[rows] * k + j
            a -= np.bincount(into, weights=chain.shares[rows, j], minlength=cells * cells).reshape(cells, cells)
        b = np.bincount(own, weights=chain.steps.reward[rows], minlength=cells)
        return lstd.System(a, b, count[:, None], float(len(own)))

    tables = []
    for total in without_each(part, fold, folds):
        q = lstd.solve(total, 0.0).reshape(size, k)
        mean = (total.seen[:, 0] @ q.ravel()) / total.n
        tables.append(Table(found, np.vstack([q, np.full((1, k), mean)])))
    return tables


def without_each(part: Callable[[np.ndarray], lstd.System], fold: np.ndarray, folds: int) -> list[lstd.System]:
    """The sums of all folds but each one."""
    parts = [part(np.flatnonzero(fold == j)) for j in range(folds)]
    rest = []
    for j in range(folds):
        others = [p for i, p in enumerate(parts) if i != j]
        total = others[0]
        for other in others[1:]:
            total = total + other
        rest.append(total)
    return rest


def _backups(regressor: Regressor, model: Any, chain: _Chain, keep: np.ndarray, seed: int) -> ValueModel:
    """Regress r + γ^{span} Σ_a' π(a'|x') Q̂(x', a') on (x, a), again and again; once where nothing follows."""
    steps, there = chain.steps, chain.after.context[keep]
    own, shares = steps.episodes(keep[steps.starts[:-1]]), chain.shares[keep]
    low, high = limits(chain.problem, steps)
    reward = own.reward
    for _ in range(ROUNDS if (shares > 0).any() else 1):
        aim = reward + (shares * np.clip(model.values(there), low, high)).sum(1)
        model = regressor.fit(own.with_(reward=aim), chain.problem, seed=seed)
    return model


def limits(problem: Problem, sample: Steps) -> tuple[float, float]:
    """The lowest and highest return there can be from any step, by the declared range and by what was seen."""
    seen = (float(sample.reward.min()), float(sample.reward.max()))
    low, high = min(problem.reward_range[0], seen[0]), max(problem.reward_range[1], seen[1])
    return returns.bounds(low, high, problem.discount, problem.horizon, sample.span is not None)


def require_discrete(policy: Any) -> None:
    """EvidenceError unless the target gives the probability of every action."""
    if not hasattr(policy, "probs"):
        raise EvidenceError(
            "Q̂ of named actions needs a target that gives the probability of every action; this one gives only its own",
            hint="Use estimators that need no Q̂: pdis, cwpdis.",
            field="q",
        )
