"""Reward models fitted out-of-fold: no unit's rewards ever train the model that judges them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.hashing import buckets, fractions
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Regressor, ValueModel
from understudy.core.registry import find
from understudy.core.steps import Steps, concat

MOST_ROWS = 1_000_000  # rows in memory to fit on; larger logs are sampled by unit
MOST_NUMBERS = 1 << 22  # and numbers in them, contexts and actions: fitting holds some dozen times as many
_SALT = 7_919  # folds are independent of the blocks, which use salt 0


@dataclass(frozen=True)
class CrossFit:
    """One fitted model per fold; rows of fold j are judged by the model that never saw fold j."""

    models: tuple[ValueModel, ...]
    salt: int

    def values(self, steps: Steps) -> np.ndarray:
        """q̂(x, ·) f64[n, k], out-of-fold by unit."""
        if len(self.models) == 1:
            return np.asarray(self.models[0].values(steps.context), np.float64)
        fold = buckets(steps.row_unit, len(self.models), self.salt)
        out: np.ndarray | None = None
        for j, model in enumerate(self.models):
            here = np.flatnonzero(fold == j)
            if len(here):
                part = model.values(steps.context[here])
                out = np.empty((steps.n, part.shape[1])) if out is None else out
                out[here] = part
        return np.empty((0, 0)) if out is None else out


def crossfit(sample: Steps, problem: Problem, regressor: Regressor, folds: int, seed: int) -> CrossFit:
    """Fit ``folds`` models, each on all units but those of its fold.

    Raises:
        ConfigError: fewer than two folds.
        EvidenceError: all units share one fold.
    Source: Chernozhukov et al. 2018, "Double/debiased machine learning", definition 3.2.
    """
    _, salt = folds_of(sample, folds, seed)
    fold = buckets(sample.unit, folds, salt)  # i64[m]
    return CrossFit(tuple(regressor.fit(sample.episodes(fold != j), problem, seed=seed) for j in range(folds)), salt)


def folds_of(sample: Steps, folds: int, seed: int) -> tuple[np.ndarray, int]:
    """(fold of each row i64[n] by its unit, salt of that rule). Raises: as ``crossfit``."""
    if folds < 2:
        raise ConfigError(f"folds must be at least 2; got {folds}", "A model must not judge what it was fitted on.")
    salt = _SALT + seed
    fold = buckets(sample.row_unit, folds, salt)
    if len(np.unique(fold)) < 2:
        units = len(np.unique(sample.unit))
        if units < 2:
            raise EvidenceError(
                f"the log holds {units} unit, and an estimate with an error needs at least two",
                "Episodes of one unit are not independent of each other.",
                "Log more units, or check the problem's unit.",
                field="unit",
            )
        raise EvidenceError(
            f"all {sample.m} episodes belong to units of one fold, so no model can be fitted without them",
            hint="Collect more units, or evaluate without a reward model: ips, snips.",
            field="folds",
        )
    return fold, salt


def reward_model(q: str | Regressor | ValueModel | None) -> Regressor | ValueModel:
    """A regressor by name, or the one given. ConfigError if there is none."""
    if q is None:
        raise ConfigError("an estimator needs a reward model, and q is None", hint='For example q="ridge".', field="q")
    return find("models", q)() if isinstance(q, str) else q


def sample_of(data: LoggedDataset, most: int = MOST_ROWS) -> Steps:
    """All steps, or those of a share of the units that holds about ``most`` of them; always the same share."""
    width = len(data.problem.features) + max(data.problem.actions.k, 1)
    share = min(most, MOST_NUMBERS // width) / max(data.n_steps, 1)
    if share >= 1:
        return concat(list(data.scan()))
    return concat([steps.episodes(fractions(steps.unit, _SALT) < share) for steps in data.scan()])
