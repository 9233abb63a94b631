"""Logistic regressions by Newton's method and by L-BFGS, with weights: of the reward, and of the action itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps
from understudy.models.feature_map import FeatureMap, fit_feature_map
from understudy.models.fitting import unit_rewards
from understudy.models.policies import Explore
from understudy.models.ridge import LinearModel, Scan
from understudy.models.state import nested, number, only, part
from understudy.ops.network import sigmoid

ITERATIONS = 60
_FREE = 1e-6  # all but free: keeps the intercept finite where an action's rewards are all alike


class Rows(NamedTuple):
    """What a pass of Newton's method reads of one batch."""

    z: np.ndarray  # f64[n, d′+1] features and a 1
    action: np.ndarray  # i32[n]
    y: np.ndarray  # f64[n] reward scaled to [0, 1]
    weight: np.ndarray  # f64[n]


@dataclass(frozen=True)
class LogisticModel:
    """Q̂(x, a) = low + (high − low)·σ(b_a + φ(x)·β_a): always inside the declared reward range."""

    linear: LinearModel
    low: float
    high: float

    def values(self, context: np.ndarray) -> np.ndarray:
        """f32[n, d] → f64[n, k]."""
        return self.low + (self.high - self.low) * sigmoid(np, self.linear.values(context))

    def state(self) -> State:
        return nested("logistic", {"low": self.low, "high": self.high}, {"linear": self.linear.state()})

    @classmethod
    def from_state(cls, state: State) -> LogisticModel:
        only(state, ["low", "high"], (), ["linear"])
        low = number(state, "low")
        return cls(LinearModel.from_state(part(state, "linear")), low, number(state, "high", low))


@dataclass(frozen=True)
class Logistic:
    """Logistic regression per action of y = (r − low)/(high − low) ∈ [0, 1]:

    argmin −Σ w [y log σ(s) + (1 − y) log σ(−s)] + penalty/2·‖β‖²,  s = b + φ(x)·β, the intercept b free.

    y need not be 0 or 1 (quasi-likelihood; Papke & Wooldridge 1996, equation 5). An action without data predicts the
    mean reward of the log. Newton's method with halved steps; one pass over the data per iteration.
    """

    penalty: float = 1.0
    signed_log: bool = False
    quadratic: bool = False

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ConfigError(f"logistic: penalty must be > 0; got {self.penalty}", field="penalty")

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> LogisticModel:
        """The model of steps in memory; ``weight`` f64[n] ≥ 0. Deterministic: the seed is unused."""
        features = fit_feature_map(problem, [steps], self.signed_log, self.quadratic)
        rows = [_rows(features, steps, problem, weight)]
        return self._solve(features, problem, lambda: rows)

    def fit_scan(self, scan: Scan, problem: Problem, *, seed: int = 0) -> LogisticModel:
        """The same model from batches."""
        features = fit_feature_map(problem, scan(), self.signed_log, self.quadratic)
        return self._solve(features, problem, lambda: (_rows(features, batch, problem, None) for batch in scan()))

    def _solve(self, features: FeatureMap, problem: Problem, batches: Callable[[], Iterable[Rows]]) -> LogisticModel:
        k, p = problem.actions.k, features.width + 1
        penalty = np.r_[np.full(p - 1, self.penalty), _FREE]
        theta, step = np.zeros((k, p)), np.zeros((k, p))
        best, scale = np.full(k, np.inf), np.ones(k)
        count, total = np.zeros(k), 0.0
        for turn in range(ITERATIONS):
            loss, slope, curve = np.zeros(k), np.zeros((k, p)), np.zeros((k, p, p))
            trial = theta + scale[:, None] * step
            for rows in batches():
                _accumulate(rows, trial, loss, slope, curve)
                if turn == 0:
                    count += np.bincount(rows.action, rows.weight, k)
                    total += float(rows.weight @ rows.y)
            loss += 0.5 * (penalty * trial**2).sum(1)
            better = loss <= best + 1e-12 * np.abs(loss)
            theta = np.where(better[:, None], trial, theta)
            fresh = np.linalg.solve(curve + np.diag(penalty), (-slope - penalty * trial)[:, :, None])[:, :, 0]
            step = np.where(better[:, None], fresh, step)
            scale = np.where(better, 1.0, scale / 2)
            best = np.where(better, loss, best)
            if np.abs(scale[:, None] * step).max(initial=0.0) < 1e-9:
                break
        if not count.sum() > 0:
            raise DataError("the rows to fit logistic on have no weight", "Nothing can be learned from nothing.")
        mean = np.clip(total / count.sum(), 1e-9, 1 - 1e-9)
        theta[count == 0] = np.r_[np.zeros(p - 1), np.log(mean / (1 - mean))]
        linear = LinearModel(features, np.ascontiguousarray(theta[:, :-1]), np.ascontiguousarray(theta[:, -1]))
        return LogisticModel(linear, *problem.reward_range)


def _rows(features: FeatureMap, steps: Steps, problem: Problem, weight: np.ndarray | None) -> Rows:
    y = unit_rewards(steps, problem, "A logistic model")
    z = np.column_stack([features(steps.context), np.ones(steps.n)]).astype(np.float64)
    return Rows(z, steps.action, y, np.ones(steps.n) if weight is None else weight)


def _accumulate(rows: Rows, theta: np.ndarray, loss: np.ndarray, slope: np.ndarray, curve: np.ndarray) -> None:
    """Add a batch's loss [k], gradient [k, p] and Hessian [k, p, p] at theta, in place."""
    for a in range(len(theta)):
        own = rows.action == a
        z, y, w = rows.z[own], rows.y[own], rows.weight[own]
        s = z @ theta[a]
        m = sigmoid(np, s)
        loss[a] += float(w @ (np.logaddexp(0.0, s) - y * s))
        slope[a] += z.T @ (w * (m - y))
        curve[a] += (z * (w * m * (1 - m))[:, None]).T @ z


@dataclass(frozen=True)
class Multinomial:
    """Which action would be taken here: P(a|x) ∝ exp(b_a + φ(x)·β_a) over the allowed actions.

    argmin −Σ w log P(a_i|x_i) + penalty/2·Σ‖β_a‖², by L-BFGS. Weighted by r/p it is a policy (learners.ipw);
    unweighted it estimates the behavior policy of a log without propensities.
    """

    penalty: float = 1.0
    signed_log: bool = False
    quadratic: bool = False
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if not self.penalty > 0 or not self.tolerance > 0:
            raise ConfigError(f"multinomial: penalty and tolerance must be > 0; got {self.penalty}, {self.tolerance}")

    def fit(self, steps: Steps, problem: Problem, *, seed: int = 0, weight: np.ndarray | None = None) -> Explore:
        """The policy P(a|x). Deterministic: the seed is unused."""
        from scipy.optimize import minimize

        features = fit_feature_map(problem, [steps], self.signed_log, self.quadratic)
        kept = np.ones(steps.n, bool) if weight is None else weight > 0
        if not kept.any():
            raise DataError("the rows to fit a classifier on have no weight", "Nothing can be learned from nothing.")
        w = np.ones(steps.n) if weight is None else weight[kept]
        z = np.column_stack([features(steps.context[kept]), np.ones(len(w))]).astype(np.float64)  # [n, p]
        k, p = problem.actions.k, z.shape[1]
        taken = np.eye(k)[steps.action[kept]]  # [n, k]
        allowed = None if steps.allowed is None else steps.allowed[kept]
        penalty = np.r_[np.full(p - 1, self.penalty), _FREE] / w.sum()

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            theta = flat.reshape(k, p)
            scores = z @ theta.T
            inside = scores if allowed is None else np.where(allowed, scores, -np.inf)
            top = inside.max(1, keepdims=True)
            odds = np.exp(inside - top)
            total = odds.sum(1, keepdims=True)
            loss = float(w @ (np.log(total[:, 0]) + top[:, 0] - (scores * taken).sum(1))) / w.sum()
            slope = ((odds / total - taken) * w[:, None]).T @ z / w.sum()
            return loss + 0.5 * float((penalty * theta**2).sum()), (slope + penalty * theta).ravel()

        found = minimize(
            objective, np.zeros(k * p), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": self.tolerance}
        )
        theta = found.x.reshape(k, p)
        model = LinearModel(features, np.ascontiguousarray(theta[:, :-1]), np.ascontiguousarray(theta[:, -1]))
        return Explore(model, "softmax", 1.0)
