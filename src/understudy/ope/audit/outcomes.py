"""Outcomes that did not arrive: by action, over time, and because the join did not wait."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.calibration import judge
from understudy.ope.audit.log import Log
from understudy.ops import stats


def missing_by_action(log: Log) -> Iterator[Finding]:
    """Does taking an action make its outcome go missing? Σ_i (s_i − s̄) R_ia = 0 for silence s_i if it does not.

    A rate that differs by action only because contexts do cancels in R. Where silence means the default (clicks), a
    difference is what an effect looks like, and nothing can be said.
    """
    verdict = judge(log)
    if verdict is None or log.events or not log.silent.any() or log.silent.all():
        return
    h = log.silent - log.silent.mean()
    total, p = verdict.residuals.along(h)
    if verdict.p <= 1e-3:  # the propensities are wrong: then R is no evidence about anything else
        return
    worst = int(p.argmin())
    rates = [float(log.silent[log.steps.action == a].mean()) for a in np.flatnonzero(log.taken.any(0))]
    yield log.finding(
        "missing_by_action",
        log.silent & (log.steps.action == worst) if total[worst] > 0 else log.silent & (log.steps.action != worst),
        f"taking {log.problem.actions.names[worst]!r} makes silence {'more' if total[worst] > 0 else 'less'} likely, "
        f"beyond what contexts explain; rates by action range from {min(rates):.1%} to {max(rates):.1%}",
        "The default stands in for outcomes that were lost, so that action looks worse (or better) than it is.",
        "Find out where its outcomes get lost; until then bound the value with the lost ones at both ends of the "
        "reward's range.",
        p=float(min(1.0, p[worst] * log.k)),
        severity="warn",
    )


def missing_over_time(log: Log) -> Iterator[Finding]:
    """Did the rate of missing outcomes, or the longest delay that still counts, change during the log?

    Where silence is not normal: Pearson's χ² of silence over 20 stretches. Always: if the m longest delays all lie
    outside a stretch holding a share s of the arrivals, P = (1 − s)^m if the window was the same throughout.
    """
    p_rate, p_window = 1.0, 1.0
    if not log.events and log.silent.any():
        place = log.rows * 20 // log.steps.n
        table = np.array([np.bincount(place, weights=w, minlength=20) for w in (log.silent, ~log.silent)])
        p_rate = stats.homogeneity_p(table) if table.sum(1).min() >= 100 else 1.0
    if log.steps.origin is not None:
        p_window = _shorter_window(log, log.steps.origin.delay)
    if min(p_rate, p_window) >= 1:
        return
    half = log.rows * 2 // log.steps.n
    rates = [float(log.silent[half == h].mean()) for h in (0, 1)]
    said = (
        "the longest delays that still counted differ between stretches of the log"
        if p_window < p_rate
        else f"silence went from {rates[0]:.1%} in the first half to {rates[1]:.1%} in the second"
    )
    yield log.finding(
        "missing_over_time",
        log.silent,
        said,
        "Rewards of one stretch are not comparable with those of another; a policy that was live in the poorer "
        "stretch looks worse than it is.",
        "Join the whole log with one window, and leave out stretches in which outcomes were lost.",
        p=float(min(1.0, 2 * min(p_rate, p_window))),
        severity="warn",
    )


def _shorter_window(log: Log, delay: np.ndarray) -> float:
    """p-value of one window for all stretches: halves, quarters and tenths of the log."""
    there = np.flatnonzero(np.isfinite(delay) & ~_ending(log))
    if len(there) < 200:
        return 1.0
    p, looks = 1.0, 0
    for parts in (2, 4, 10):
        place = log.rows * parts // log.steps.n
        for part in range(parts):
            inside = place[there] == part
            looks += 1
            share = float(inside.mean())
            if 0.02 < share < 0.98:
                longer = int((delay[there] > delay[there[inside]].max()).sum())
                p = min(p, (1 - share) ** longer)
    return min(1.0, p * looks)


def _ending(log: Log) -> np.ndarray:
    """bool[n]: rows so late in the log that their outcomes may still have been under way."""
    end = log.rules.as_of if log.rules is not None else last_arrival(log)
    longest = log.rules.window * 1e6 if log.rules is not None else longest_delay(log) * 1e6
    return log.steps.time + longest > end


def longest_delay(log: Log) -> float:
    """Seconds within which all but 1 outcome in 200 of the first half arrive."""
    assert log.steps.origin is not None
    first = log.steps.origin.delay[: log.steps.n // 2]
    first = first[np.isfinite(first)]
    return float(np.quantile(first, 0.995)) if len(first) else 0.0


def last_arrival(log: Log) -> float:
    """Microseconds since 1970 at which the last first outcome arrived."""
    assert log.steps.origin is not None
    moments = log.steps.time + log.steps.origin.delay * 1e6
    return float(np.nanmax(moments)) if np.isfinite(moments).any() else float(log.steps.time.max())


def unripe_default(log: Log) -> Iterator[Finding]:
    """Rows whose window was still open when the join ran, and whose silence became the default.

    With the join's rules a fact. Without them: had the join waited, Λ arrivals would have come after the last one
    seen; P(none) = exp(−Λ).
    """
    p = None
    if log.rules is not None:
        open_ = log.steps.time + log.rules.window * 1e6 > log.rules.as_of
        rows = open_ & log.silent
        said = f"{int(rows.sum())} rows of {int(open_.sum())} whose window was open are silent"
    else:
        if log.steps.origin is None or np.isfinite(log.steps.origin.delay).sum() < 200:
            return
        end, longest = last_arrival(log), longest_delay(log)
        open_ = log.steps.time + longest * 1e6 > end
        rows = open_ & log.silent
        p = float(np.exp(-_expected_after(log, end)))
        said = (
            f"the last outcome arrived while {int(open_.sum())} rows had less than {longest:.3g} s to wait for theirs"
        )
    if not rows.any():
        return
    yield log.finding(
        "unripe_default",
        rows,
        said,
        "“Not yet” is counted as “no”: the newest decisions, and the policy that made them, look worse than they are.",
        "Join again once the windows have closed; a decision belongs in the dataset only after its window.",
        p=p,
    )


def _expected_after(log: Log, end: float) -> float:
    """Λ: arrivals after ``end`` that the delays of the first half would have brought."""
    assert log.steps.origin is not None
    half = log.steps.n // 2
    first = log.steps.origin.delay[:half]
    seen = np.sort(first[np.isfinite(first)])
    if not len(seen):
        return 0.0
    waited = (end - log.steps.time[half:]) / 1e6
    beyond = 1 - np.searchsorted(seen, waited, "right") / len(seen)
    return float(beyond.sum() * len(seen) / half)
