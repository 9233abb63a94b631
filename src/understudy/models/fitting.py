"""From a name and options to a fitted model: strict about both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Regressor, ValueModel
from understudy.core.registry import find, unknown
from understudy.core.steps import Steps, concat


def make(name: str, options: Mapping[str, Any] | None = None, *, kind: str = "models") -> Any:
    """The registered regressor (or ``kind="classifiers"``) called ``name``, with these hyper-parameters.

    Raises: ConfigError for an unknown name or option (with the nearest), or a value of the wrong type.
    """
    made = find(kind, name)
    known = [item.name for item in fields(made)]
    for option in options or {}:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    try:
        return msgspec.convert(dict(options or {}), made)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error


def discrete(problem: Problem, who: str) -> int:
    """k, the number of named actions. Raises ConfigError where actions are continuous, which ``who`` cannot learn."""
    if not problem.actions.discrete:
        raise ConfigError(
            f"{who} learns among named actions; this problem has {problem.actions.dims} continuous dimensions",
            hint="Cut the range into named actions, or choose a learner of continuous actions.",
            field="actions",
        )
    return problem.actions.k


def unit_rewards(steps: Steps, problem: Problem, who: str) -> np.ndarray:
    """(r − low)/(high − low) in [0, 1], f64[n]. Raises DataError where a reward lies outside the declared range."""
    low, high = problem.reward_range
    y = (steps.reward - low) / (high - low)
    outside = (y < -1e-9) | (y > 1 + 1e-9)
    if outside.any():
        i = int(outside.argmax())
        raise DataError(
            f"{int(outside.sum())} of {steps.n} rewards lie outside [{low}, {high}]; first: row {i}, {steps.reward[i]}",
            f"{who} cannot express them.",
            "Declare the true reward_range in the problem, or use ridge.",
            field="reward_range",
        )
    return y


def fit_data(regressor: Regressor, data: LoggedDataset, *, seed: int) -> ValueModel:
    """The model of a whole dataset: batch by batch where the regressor can (``fit_scan``), else in memory."""
    fit_scan = getattr(regressor, "fit_scan", None)
    if fit_scan is not None:
        return fit_scan(data.scan, data.problem, seed=seed)
    return regressor.fit(concat(list(data.scan())), data.problem, seed=seed)
