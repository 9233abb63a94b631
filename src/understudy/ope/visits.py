"""ω(x): how much oftener, discounted, a target comes by a context than the log did. Fitted out-of-fold by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.hashing import buckets
from understudy.core.problem import Problem
from understudy.core.protocols import Policy
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.ope import lstd
from understudy.ope.crossfit import folds_of
from understudy.ope.following import clocked, following, tell_time, with_clock
from understudy.ope.one_step import require

PENALTY = 1.0  # on the deviation of ω from 1, in rows
WIDE = 300  # inputs up to which products of features are read too


@dataclass(frozen=True)
class VisitRatio:
    """ω of one target: coefficients per fold; rows of fold j are judged by those that never saw fold j."""

    basis: lstd.States | FeatureMap
    coef: np.ndarray  # f64[folds, p]
    salt: int
    clock: bool

    def __call__(self, steps: Steps) -> np.ndarray:
        """ω(x_t) f64[n], never negative."""
        told = tell_time(steps)[0] if self.clock else steps
        fold = buckets(steps.row_unit, len(self.coef), self.salt)
        omega = 1.0 + (_inputs(self.basis, told.context) * self.coef[fold]).sum(1)
        return np.maximum(omega, 0.0)


def fit_visits(sample: Steps, problem: Problem, policy: Policy, *, folds: int = 5, seed: int = 0) -> VisitRatio:
    """Solve, for every function f in the span of the inputs ψ, with ω = 1 + ψ·β,

    Σ_rows ω(x) [f(x) − ρ γ^{span} f(x')] = Σ_episodes f(x_0):

    visits flow in where episodes begin and along what the target does; nothing flows on from where an episode ends.
    Over contexts of categories and booleans ψ is one input per state and the solution is exact for the log's own
    frequencies; otherwise ψ are features, their products where they are few, and a constant.

    Raises: EvidenceError: cut episodes without a final context; all units in one fold.
    Source: Uehara, Huang & Jiang 2020, "Minimax weight and Q-function learning", section 4.3 with linear classes, in
    the state-ratio form of Liu et al. 2018, theorem 1; with one class for both sides it is the dual of LSTD.
    """
    require(folds >= 2, "folds", folds, "at least 2")
    clock, after = clocked(problem, sample), following(sample, problem)
    rho = policy.prob(sample.context, sample.action, sample.allowed) / sample.propensity
    told = problem
    if clock:
        (sample, after_), told = tell_time(sample, after), with_clock(problem)
        after = after_ or after
    basis = _basis(told, sample, after)
    here, there = (_inputs(basis, c) for c in (sample.context, after.context))
    test = here - (rho * after.discount)[:, None] * there
    fold, salt = folds_of(sample, folds, seed)
    begin = np.zeros(sample.n)
    begin[sample.starts[:-1]] = 1.0
    ridge = PENALTY * np.diag((np.arange(here.shape[1]) < here.shape[1] - 1).astype(np.float64))
    parts = []
    for j in range(folds):
        rows = np.flatnonzero(fold == j)
        parts.append((test[rows].T @ here[rows], here[rows].T @ begin[rows] - test[rows].sum(0)))
    a, b = (sum(part[i] for part in parts) for i in range(2))
    exact = isinstance(basis, lstd.States)
    coef = [lstd.solved(a - own + (0.0 if exact else ridge), b - flow) for own, flow in parts]
    return VisitRatio(basis, np.stack(coef), salt, clock)


def _basis(problem: Problem, sample: Steps, after) -> lstd.States | FeatureMap:
    table = lstd.states(problem, sample, after, 1)
    if table is not None:
        return table
    plain = fit_feature_map(problem, [sample])
    wide = plain.width * (plain.width + 3) // 2 > WIDE
    return plain if wide else fit_feature_map(problem, [sample], quadratic=True)


def _inputs(basis: lstd.States | FeatureMap, context: np.ndarray) -> np.ndarray:
    """ψ(x) f64[n, p]: one-hot states (none of a state never seen), or features and a constant."""
    if isinstance(basis, FeatureMap):
        return lstd.inputs(basis, context)
    place, out = basis.index(context), np.zeros((len(context), len(basis.codes)))
    known = place >= 0
    out[np.flatnonzero(known), place[known]] = 1.0
    return out
