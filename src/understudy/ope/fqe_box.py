"""Q̂ of a target over continuous actions: a value of (context, action), and means over draws of the target's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import derived
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import Policy, Regressor
from understudy.core.steps import Steps
from understudy.models.feature_map import fit_feature_map
from understudy.models.ridge import LinearModel, Ridge
from understudy.ope import lstd
from understudy.ope.crossfit import CrossFit, folds_of, reward_model
from understudy.ope.following import Following, clocked, ended, following, tell_time, with_clock
from understudy.ope.fqe import ROUNDS, SMALL, TABULAR, Bounded, limits, without_each
from understudy.ops import returns

DRAWS = 32  # of the target's own actions per context: what V̂ and the backups are means over


@dataclass(frozen=True)
class FittedBoxQ:
    """Q̂ of one target: a model of (context, action) per fold; rows of fold j are judged by one that never saw it."""

    crossfit: CrossFit
    clock: bool
    horizon: int | None
    seed: int

    def judged(self, steps: Steps, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
        """(Q̂(x_t, a_t), V̂(x_t) = mean_s Q̂(x_t, a_s), a_s ~ π), f64[n] each, out-of-fold by unit.

        The draws depend on the seed and on the place of a row in its batch.
        """
        told = tell_time(steps)[0] if self.clock else steps
        mean = np.zeros(steps.n)
        for action in drawn(policy, steps.context, self.seed):
            mean += self._values(told, action) / DRAWS
        return self._values(told, steps.action), mean

    def end(self, steps: Steps, policy: Policy) -> np.ndarray | None:
        """V̂ of what would have followed each cut episode f64[m], 0 where nothing does; None if nothing was cut."""
        cut = ~ended(steps, self.horizon)
        if not cut.any() or steps.final_context is None:
            return None
        context, last = steps.final_context[cut], steps.starts[1:][cut] - 1
        told = context
        if self.clock:
            told = np.column_stack([context, returns.lengths(steps.starts)[cut]]).astype(np.float32)
        none = np.zeros(len(last))
        ends = Steps(
            starts=np.arange(len(last) + 1), unit=steps.unit[cut], time=steps.time[last], context=told,
            action=steps.action[last], reward=none, terminated=none == 0, truncated=none != 0,
        )  # fmt: skip
        out = np.zeros(steps.m)
        for action in drawn(policy, context, derived(self.seed, "ends")):
            out[cut] += self._values(ends, action) / DRAWS
        return out

    def _values(self, told: Steps, action: np.ndarray) -> np.ndarray:
        return self.crossfit.values(told.with_(context=_joined(told.context, action), final_context=None))[:, 0]


def fit_box_q(
    sample: Steps, problem: Problem, policy: Policy, q: str | Regressor, *, folds: int = 5, seed: int = 0
) -> FittedBoxQ:
    """Fitted Q evaluation: Q̂(x, a) ≈ r + γ^{span} mean_s Q̂(x', a'_s), a'_s ~ π(·|x'), on all units but the fold's.

    ``"ridge"``, or a Ridge: its fixed point in closed form (LSTD-Q) on (x, a) as one vector of inputs; by name it reads
    products of them where they are few, which makes it exact for a linear system with quadratic rewards. Any other
    regressor: ``ROUNDS`` backups from the closed form of the linear one on. Where episodes reach the horizon, the step
    of the episode is one more feature.

    Raises: as ``fit_q``; ConfigError: a table over numbers.
    Source: Le, Voloshin & Yue 2019, algorithm 3; Lagoudakis & Parr 2003 (LSTD-Q).
    """
    if q == TABULAR:
        raise ConfigError("no table: actions are numbers", hint='Use q="ridge" or "trees".', field="q")
    clock, after = clocked(problem, sample), following(sample, problem)
    actions = list(drawn(policy, after.context, derived(seed, "following")))
    told, low_high = problem, limits(problem, sample)
    if clock:
        (sample, after_), told = tell_time(sample, after), with_clock(problem)
        after = after_ or after
    one = _of_pairs(told)
    pairs = sample.with_(
        context=_joined(sample.context, sample.action), action=np.zeros(sample.n, np.int32), final_context=None
    )
    fold, salt = folds_of(sample, folds, seed)
    chain = _Chain(pairs, after, actions, one)
    regressor = reward_model(q)
    if isinstance(regressor, Ridge):
        width = fit_feature_map(one, [pairs]).width
        small = isinstance(q, str) and width + width * (width + 1) // 2 <= SMALL
        models: list = _linear(Ridge(quadratic=True) if small else regressor, chain, fold, folds)
    else:
        start = _linear(Ridge(), chain, fold, folds)
        models = [_backups(regressor, start[j], chain, fold != j, seed, low_high) for j in range(folds)]
    bounded = tuple(Bounded(model, *low_high) for model in models)
    return FittedBoxQ(CrossFit(bounded, salt), clock, problem.horizon, derived(seed, "values"))


def drawn(policy: Policy, context: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """``DRAWS`` actions of the target per context, f32[n, q] each."""
    for s in range(DRAWS):
        yield policy.act(context, np.random.default_rng(derived(seed, "draws", s)))[0]


@dataclass(frozen=True)
class _Chain:
    """Rows whose context is (x, a), what follows each, and draws of what the target would do there."""

    pairs: Steps
    after: Following
    actions: list[np.ndarray]  # DRAWS of f32[n, q]
    problem: Problem


def _of_pairs(problem: Problem) -> Problem:
    """The problem whose context is (x, a), and whose only action has been taken already."""
    taken = tuple(Feature(name=f"action {j}") for j in range(problem.actions.dims))
    return msgspec.structs.replace(
        problem, features=(*problem.features, *taken), actions=ActionSpace(names=("taken",)), ignore=()
    )


def _joined(context: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.column_stack([context, action]).astype(np.float32)


def _linear(ridge: Ridge, chain: _Chain, fold: np.ndarray, folds: int) -> list[LinearModel]:
    """One map of inputs for all folds: it reads no reward."""
    features = fit_feature_map(chain.problem, [chain.pairs], ridge.signed_log, ridge.quadratic)

    def part(rows: np.ndarray) -> lstd.System:
        z, there = lstd.inputs(features, chain.pairs.context[rows]), 0.0
        for action in chain.actions:
            there = there + lstd.inputs(features, _joined(chain.after.context[rows], action[rows])) / DRAWS
        shares = chain.after.discount[rows, None]
        return lstd.system(z, np.asarray(there), shares, chain.pairs.action[rows], chain.pairs.reward[rows])

    models = []
    for total in without_each(part, fold, folds):
        theta = lstd.solve(total, ridge.penalty)
        models.append(LinearModel(features, np.ascontiguousarray(theta[:, :-1]), np.ascontiguousarray(theta[:, -1])))
    return models


def _backups(regressor, model, chain: _Chain, keep: np.ndarray, seed: int, low_high: tuple[float, float]):  # type: ignore[no-untyped-def]
    """Regress r + γ^{span} mean_s Q̂(x', a'_s) on (x, a), again and again; once where nothing follows."""
    own, discount = chain.pairs.episodes(keep[chain.pairs.starts[:-1]]), chain.after.discount[keep]
    reward = own.reward
    for _ in range(ROUNDS if (discount > 0).any() else 1):
        ahead = np.zeros(len(reward))
        for action in chain.actions:
            found = model.values(_joined(chain.after.context[keep], action[keep]))[:, 0]
            ahead += np.clip(found, *low_high) / DRAWS
        model = regressor.fit(own.with_(reward=reward + discount * ahead), chain.problem, seed=seed)
    return model
