"""Outcomes that stand at the wrong decision, where the joined table can tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.core.hashing import buckets
from understudy.ope.audit.guess import FOLDS, encode
from understudy.ope.audit.log import Log
from understudy.ops import stats

UNCOMMON = 50  # rewards other than the most common one, below which a correlation proves nothing


def misjoined(log: Log) -> Iterator[Finding]:
    """Impossible delays; a reward where no outcome arrived; rewards that fit the neighboring row's decision better.

    Outcomes exchanged between decisions, with delays that could be, leave a table that a noisier world could have
    written: no test can see those.
    """
    yield from _impossible_delays(log)
    yield from _reward_from_nothing(log)
    yield from _shifted(log)


def _impossible_delays(log: Log) -> Iterator[Finding]:
    """An outcome before its decision, or after its window, is another decision's."""
    if log.steps.origin is None:
        return
    delay = log.steps.origin.delay
    back = log.rules.backward if log.rules is not None else 0.0
    bad = (delay < -back) | (delay > (log.rules.window if log.rules is not None else np.inf))
    if bad.any():
        yield misjoined_finding(
            log, bad, f"delays of {float(delay[bad].min()):.4g} s to {float(delay[bad].max()):.4g} s", None
        )


def _reward_from_nothing(log: Log) -> Iterator[Finding]:
    """Where the reward is one outcome: it equals that outcome, and its default where none arrived."""
    names, outcomes = log.problem.outcome_names, log.steps.outcomes
    if log.problem.reward not in names or outcomes is None:
        return
    column = names.index(log.problem.reward)
    default = log.problem.outcomes[column].default
    said = np.where(np.isnan(outcomes[:, column]), np.nan if default is None else default, outcomes[:, column])
    bad = ~np.isclose(said, log.steps.reward, rtol=1e-5, atol=1e-9)
    if bad.any():
        row = int(bad.argmax())
        yield misjoined_finding(
            log, bad, f"row {row} has reward {log.steps.reward[row]:.6g} where its outcome says {said[row]:.6g}", None
        )


def _shifted(log: Log) -> Iterator[Finding]:
    """Fit the reward of the next (previous) row on this row's context and action: better than this row's own?"""
    if not log.problem.bandit or log.steps.n < 1000:
        return
    if log.steps.n - np.unique(log.steps.reward, return_counts=True)[1].max() < UNCOMMON:
        return  # a handful of rare rewards correlates with anything
    fits = {s: _correlation(log, np.roll(log.steps.reward, s)) for s in (-1, 0, 1)}
    best = max(fits, key=lambda s: fits[s])
    z = np.arctanh(min(fits[best], 0.999999)) * np.sqrt(log.steps.n - 3)
    if best != 0 and fits[best] > fits[0]:
        where = "next" if best < 0 else "previous"
        yield misjoined_finding(
            log,
            np.ones(log.steps.n, bool),
            f"context and action explain the reward of the {where} row (correlation {fits[best]:.2f}) better than "
            f"their own ({fits[0]:.2f})",
            float(min(1.0, 2 * stats.normal_p(z))),
        )


def _correlation(log: Log, target: np.ndarray) -> float:
    """Correlation of a target with its out-of-fold ridge regression on the context, one per action."""
    x = encode(log, range(len(log.problem.features)))
    fold = buckets(log.steps.row_unit, FOLDS, salt=9)
    action = log.steps.action if log.discrete else np.zeros(log.steps.n, np.int64)
    fitted = np.full(log.steps.n, np.nan)
    for a in np.unique(action):
        for held in range(FOLDS):
            train, test = (action == a) & (fold != held), (action == a) & (fold == held)
            if train.sum() >= 5 * x.shape[1]:
                gram = x[train].T @ x[train] + np.eye(x.shape[1])
                fitted[test] = x[test] @ np.linalg.solve(gram, x[train].T @ target[train])
    live = np.isfinite(fitted)
    if live.sum() < 500 or target[live].std() == 0 or fitted[live].std() == 0:
        return 0.0
    return float(np.corrcoef(fitted[live], target[live])[0, 1])


def misjoined_finding(log: Log, rows: np.ndarray, said: str, p: float | None) -> Finding:
    return log.finding(
        "misjoined_rewards",
        rows,
        said,
        "Outcomes credited to other decisions pull every action's value towards the mean, and lifts towards 0.",
        "Join by decision id, not by time or row; have the outcome carry the id that the decision was answered with.",
        p=p,
    )
