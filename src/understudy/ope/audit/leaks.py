"""Features that were filled in after the decision: they know the action, or the reward."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.core.evidence import Finding
from understudy.ope.audit.calibration import judge
from understudy.ope.audit.log import Log
from understudy.ope.audit.residuals import TELLTALE, reward_share, surely_explained


def leaks(log: Log) -> Iterator[Finding]:
    """A feature that knows the action beyond the propensities, or knows the reward beyond belief.

    Where the context is known to be older than both, a feature that foretells them is only a good one; and where
    decisions have consequences, the reward may well be a function of the state.
    """
    if log.known.witnessed:
        return
    verdict = judge(log)
    known = verdict.leaks if verdict else range(len(log.problem.features))
    for j in known:
        if log.problem.bandit and surely_explained(log, j) > TELLTALE:
            yield _leak(log, j, None)
        elif verdict is not None:
            yield _leak(log, j, verdict.leak_p)


def _leak(log: Log, j: int, p: float | None) -> Finding:
    name, share = log.problem.feature_names[j], reward_share(log, j)
    if share > 0.2 or p is None:
        return log.finding(
            "reward_leak",
            log.steps.n,
            f"feature {name!r} explains {share:.0%} of the variance of the reward within actions"
            + ("" if p is None else ", and differs by action beyond what the propensities allow"),
            "It was filled in after the outcome: reward models look perfect on the log and fail when served.",
            f"Drop {name!r}, or log the context as it was when the action was drawn.",
            p=p,
        )
    return log.finding(
        "action_leak",
        log.steps.n,
        f"given the propensities, feature {name!r} still tells which action was taken",
        "It was filled in after the decision: a policy that reads it reads its own answer, and estimates of it are "
        "too good by far.",
        f"Drop {name!r}, or log the context as it was when the action was drawn.",
        p=p,
    )
