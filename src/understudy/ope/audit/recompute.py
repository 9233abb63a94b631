"""With the behavior policy at hand its probabilities need no statistics: they are computed again and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from understudy.core.evidence import Finding
from understudy.core.protocols import Policy
from understudy.ope.audit.log import Log

TOLERANCE = 1e-4  # float32 contexts


def recompute(log: Log) -> Iterator[Finding]:
    """|propensity − π_b(a|x)| ≤ 10⁻⁴ on every row whose policy is known."""
    steps, p = log.steps, log.steps.propensity
    if log.behavior is None or p is None:
        return
    again = np.full(steps.n, np.nan)
    for policy, rows in _parts(log, log.behavior):
        if rows.any():
            allowed = None if steps.allowed is None else steps.allowed[rows]
            again[rows] = policy.prob(steps.context[rows], steps.action[rows], allowed)
    bad = np.abs(again - p) > TOLERANCE
    if not bad.any():
        return
    row = int(bad.argmax())
    yield log.finding(
        "propensity_recomputed",
        bad,
        f"row {row} logs {p[row]:.6g}; the behavior policy gives its action {again[row]:.6g}",
        "The log was not drawn from the probabilities it carries, or not by the policy it names.",
        "Use the recomputed probabilities if the policy is surely the one that chose; else set the rows aside.",
    )


def _parts(log: Log, behavior: Policy | Mapping[int, Policy]) -> Iterator[tuple[Policy, np.ndarray]]:
    if not isinstance(behavior, Mapping):
        yield behavior, np.ones(log.steps.n, bool)
        return
    if log.steps.origin is not None:
        for name, policy in behavior.items():
            yield policy, log.steps.origin.policy == np.uint64(name)
