"""Contradictions inside a row: no statistics needed, one row is proof."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log

TOLERANCE = 1e-6  # float32 pipelines write 0.30000001
PRECISION = 0.01  # a probability written with four decimals is still the same probability
SUM = 2e-3  # and so are sums of many such


def consistency(log: Log) -> Iterator[Finding]:
    """propensity = propensities[action], Σ propensities = 1, and 0 where an action was not allowed."""
    pmf, p = log.steps.propensities, log.steps.propensity
    if p is not None and log.discrete:
        bad = ~((p > 0) & (p <= 1 + TOLERANCE))
        if bad.any():
            yield log.finding(
                "propensity_range",
                bad,
                f"propensity {p[bad.argmax()]:.6g} is not in (0, 1]",
                "The weight of such a row is undefined or negative.",
                "Set these rows aside, and log the probability with which the action was drawn.",
            )
    if pmf is None or not log.discrete:
        return
    if p is not None:
        yield from _of_another_action(log, p, pmf)
    yield from _sums(log, pmf)


def broken(log: Log) -> bool:
    """Whether the logged probabilities contradict themselves on more than 1 row of 100."""
    pmf = log.steps.propensities
    return pmf is not None and float((np.abs(pmf.sum(1) - 1) > SUM).mean()) > 0.01


def _of_another_action(log: Log, p: np.ndarray, pmf: np.ndarray) -> Iterator[Finding]:
    own = np.take_along_axis(pmf, log.steps.action[:, None].astype(np.int64), 1)[:, 0]
    bad = np.abs(own - p) > TOLERANCE + PRECISION * np.abs(own)
    if not bad.any():
        return
    row = int(bad.argmax())
    other = np.abs(pmf - p[:, None]).min(1) <= TOLERANCE + PRECISION * p
    share = float(other[bad].mean())
    yield log.finding(
        "propensity_of_another_action",
        bad,
        f"row {row} took {log.problem.actions.names[log.steps.action[row]]!r}, whose probability is {own[row]:.6g}, "
        f"and logged {p[row]:.6g}; in {share:.0%} of these rows that is the probability of another action",
        "Every such row has a wrong weight: an action that something downstream put in place of the drawn one is "
        "credited with the drawn one's probability.",
        "Log the action that was taken and the probability of that action, after every override.",
    )


def _sums(log: Log, pmf: np.ndarray) -> Iterator[Finding]:
    total = pmf.sum(1)
    outside = np.where(log.allowed, 0.0, pmf).sum(1)
    masked = outside > SUM
    if masked.any():
        row = int(masked.argmax())
        yield log.finding(
            "propensity_before_masking",
            masked,
            f"in row {row} actions that were not allowed carry {outside[row]:.4g} of the probability",
            "The allowed actions were in fact more probable than logged, so their weights are too large.",
            "Log the probabilities after masking, renormalised over the allowed actions.",
        )
    bad = (np.abs(total - 1) > SUM) & ~masked
    if not bad.any():
        return
    row = int(bad.argmax())
    spread = float(total[bad].max() - total[bad].min())
    name, said = "propensity_sum", f"; sums range over {spread:.3g}"
    if bad.all() and spread < 1e-3 * total.mean():
        name, said = "propensity_scaled", ", and so do those of every row"
    elif np.abs(pmf * 10 - np.round(pmf * 10)).max() < 1e-6:
        name, said = "propensity_rounded", "; all are multiples of 0.1"
    yield log.finding(
        name,
        bad,
        f"the probabilities of row {row} sum to {total[row]:.6g}{said}",
        "What does not sum to 1 is not what the actions were drawn with, so every weight of such a row is off by an "
        "unknown factor.",
        "Log the probabilities as drawn with: not rounded, not scaled, not a score from before exploration.",
    )
