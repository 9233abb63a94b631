"""Propensities of a log that has none: estimated out-of-fold by unit, floored, checked, and labelled as such.

Estimated propensities rest on a belief that logged ones do not need: that the context holds everything the behavior
policy looked at. No test on the log can confirm it; ``ope.sensitivity`` shows what follows if it fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.hashing import buckets
from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy
from understudy.core.steps import Steps

LABEL = "estimated propensities"
FLOOR = 0.01
GAP = 0.05  # a gap between predicted and observed frequencies that the note warns of
BINS = 10
_SALT = 15_485_863  # folds are independent of blocks (salt 0) and of the reward model's folds


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """(decision, action) pairs of similar estimated probability."""

    pairs: int
    predicted: float  # mean estimated probability
    observed: float  # share of these pairs in which the action was taken


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether actions are taken as often as estimated, judged out-of-fold."""

    bins: tuple[CalibrationBin, ...]
    slope: float  # of "taken" on estimated probability; 1 if calibrated, below 1 if overfitted, NaN if constant
    gap: float  # largest |observed − predicted| over bins


@dataclass(frozen=True)
class EstimatedPropensities:
    """A behavior policy per fold; rows of fold j get the probabilities of the one that never saw fold j."""

    policies: tuple[DiscretePolicy, ...]
    salt: int
    floor: float
    seen: np.ndarray  # bool[k] actions that the log holds at all
    calibration: Calibration
    clipped: float  # share of probabilities that the floor raised

    @property
    def note(self) -> str:
        """What every estimate made from these propensities must say."""
        text = (
            f"{LABEL} ({len(self.policies)} folds, floor {self.floor:g} reached by {100 * self.clipped:.1f} %, "
            f"calibration slope {self.calibration.slope:.2f}, largest gap {self.calibration.gap:.3f}); "
            "valid only if the context holds all that the behavior policy looked at"
        )
        return text + ("; POORLY CALIBRATED" if self.calibration.gap > GAP else "")

    def apply(self, steps: Steps) -> Steps:
        """The same steps with ``propensity`` f64[n] and ``propensities`` f64[n, k] filled in."""
        probs, _ = _predict(self.policies, self.salt, self.floor, self.seen, steps)
        own = np.take_along_axis(probs, steps.action[:, None].astype(np.int64), 1)[:, 0]
        return steps.with_(propensity=np.where(own > 0, own, self.floor), propensities=probs)


def fit_propensities(
    sample: Steps, problem: Problem, *, folds: int = 5, seed: int = 0, floor: float = FLOOR, classifier=None
) -> EstimatedPropensities:
    """b̂(a|x) by multinomial logistic regression, cross-fitted by unit.

    b̂(a|x) ∝ max(b̂_raw(a|x), floor) over the allowed actions that the log holds; actions it never took get 0, so
    that a target which wants them is seen to be unsupported. A weight is at most (1 + k·floor)/floor.

    Args:
        sample: logged decisions over k named actions; propensities they may carry are not read.
        folds: folds of units; the model that judges a unit has not seen it.
        floor: probability below which nothing is believed, in (0, 1/k).
        classifier: anything with ``fit(steps, problem, seed=) -> policy with probs``; default ``models`` Multinomial.
    Raises:
        ConfigError: continuous actions, fewer than two folds, a floor outside (0, 1/k).
        EvidenceError: all units share one fold, or the log holds a single action.
    Source: Rosenbaum & Rubin 1983; cross-fitting as Chernozhukov et al. 2018, definition 3.2.
    """
    k = problem.actions.k
    if k == 0:
        raise ConfigError(
            "propensities of continuous actions cannot be estimated here",
            hint="Log the density of every action when it is drawn.",
            field="propensity",
        )
    if folds < 2:
        raise ConfigError(f"folds must be at least 2; got {folds}", "A model must not judge what it was fitted on.")
    if not 0 < floor < 1 / k:
        raise ConfigError(f"the propensity floor must lie in (0, 1/{k}); got {floor}", field="floor")
    salt = _SALT + seed
    fold = buckets(sample.unit, folds, salt)  # i64[m]
    seen = np.bincount(sample.action, minlength=k) > 0
    if len(np.unique(fold)) < 2 or seen.sum() < 2:
        why = "all its units share one fold" if seen.sum() >= 2 else "it holds a single action"
        raise EvidenceError(
            f"propensities cannot be estimated from this log of {sample.n} decisions: {why}",
            "Without variation in the actions no other policy can be evaluated.",
            "Log decisions of a policy that explores, with their propensities.",
            field="propensity",
        )
    if classifier is None:
        from understudy.models.logistic import Multinomial

        classifier = Multinomial()
    policies = tuple(classifier.fit(sample.episodes(fold != j), problem, seed=seed) for j in range(folds))
    probs, raised = _predict(policies, salt, floor, seen, sample)
    usable = _usable(sample.allowed, seen, probs.shape)
    clipped = float(raised.sum() / max(int(usable.sum()), 1))
    return EstimatedPropensities(policies, salt, floor, seen, calibrate(probs, sample.action, usable), clipped)


def calibrate(probs: np.ndarray, action: np.ndarray, usable: np.ndarray | None = None) -> Calibration:
    """Predicted against observed frequencies over all (decision, action) pairs.

    Pairs are cut into bins at deciles of the predicted probability. slope = Cov(taken, b̂) / Var(b̂).

    Args:
        probs: b̂(·|x) out-of-fold [n, k].
        action: logged action [n].
        usable: pairs that could have been taken [n, k]; None = all.
    """
    taken = np.zeros(probs.shape)
    np.put_along_axis(taken, action[:, None].astype(np.int64), 1.0, 1)
    p, y = (probs.ravel(), taken.ravel()) if usable is None else (probs[usable], taken[usable])
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]))
    where = np.searchsorted(edges, p, side="left")
    count = np.bincount(where, minlength=len(edges) + 1)
    predicted, observed = (np.bincount(where, v, len(edges) + 1) for v in (p, y))
    bins = tuple(
        CalibrationBin(pairs=int(n), predicted=float(a / n), observed=float(b / n))
        for n, a, b in zip(count, predicted, observed)
        if n > 0
    )
    spread = float(((p - p.mean()) ** 2).sum())
    slope = float(((p - p.mean()) * (y - y.mean())).sum() / spread) if spread > 1e-12 * len(p) else float("nan")
    return Calibration(bins=bins, slope=slope, gap=max(abs(b.observed - b.predicted) for b in bins))


def _usable(allowed: np.ndarray | None, seen: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(seen, shape) if allowed is None else allowed & seen


def _predict(policies, salt: int, floor: float, seen: np.ndarray, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold probabilities, rows summing to 1 over usable actions, [n, k]; and which the floor raised."""
    probs = np.empty((steps.n, len(seen)))
    fold = buckets(steps.row_unit, len(policies), salt)
    for j, policy in enumerate(policies):
        here = np.flatnonzero(fold == j)
        if len(here):
            probs[here] = policy.probs(steps.context[here], None if steps.allowed is None else steps.allowed[here])
    usable = _usable(steps.allowed, seen, probs.shape)
    raised = usable & (probs < floor)
    kept = np.where(usable, np.maximum(probs, floor), 0.0)
    total = kept.sum(1, keepdims=True)
    return np.divide(kept, total, out=np.zeros_like(kept), where=total > 0), raised
