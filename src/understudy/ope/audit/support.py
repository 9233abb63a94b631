"""Actions that could have been taken and never were."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.log import Log
from understudy.ops import stats


def support(log: Log) -> Iterator[Finding]:
    """An action that is allowed on ≥ 100 rows, and taken on none.

    With all propensities logged, P(0 | clean) = Π_i (1 − p_ia): either it is small (the propensities are wrong), or
    the propensities themselves say 0 (the action has no support). Without them, it is the latter as far as one can see.
    """
    if not log.discrete:
        return
    could, took = log.allowed.sum(0), log.taken.sum(0)
    pmf = log.steps.propensities
    for action in np.flatnonzero((took == 0) & (could >= 100)):
        name = log.problem.actions.names[action]
        p = None
        said = f"{name!r} was allowed on {could[action]} rows and taken on none"
        if pmf is not None and pmf[:, action].max() > 0:
            p = float(min(1.0, np.exp(np.log1p(-np.minimum(pmf[:, action], 1 - 1e-12)).sum()) * log.k))
            said += f", where the propensities expect {pmf[:, action].sum():.1f}"
        elif pmf is None and could[action] < 10 * log.k * np.log(stats.tail_size(log.steps.n) + 2):
            continue  # too few chances to tell rare from never
        yield log.finding(
            "action_never_logged",
            could[action].item(),
            said,
            "No estimate can say anything about a policy that takes it; a model's guess would stand in, unseen.",
            "Explore it (any probability above 0), or remove it from the allowed actions.",
            p=p,
            severity="warn",
            first=log.who(int(log.allowed[:, action].argmax())),
        )
