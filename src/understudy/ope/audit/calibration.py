"""Do the logged propensities expect the actions that were taken? And if not: a wrong propensity, or a leaked action?

A propensity fault shows in sums that no feature has a hand in (per action, per level of probability, against the
neighboring rows). A leak of the action into the context leaves all of those right and shows along one feature only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from understudy.core.evidence import Finding
from understudy.ope.audit.consistency import broken
from understudy.ope.audit.log import Log
from understudy.ope.audit.residuals import TELLTALE, Balance, Residuals, chosen, surely_explained, tail_p
from understudy.ops import stats

LEVEL = 8e-4  # what counts as "wrong" where two explanations are told apart
SUSPECT = 0.01  # a feature less in balance than this is kept out of what the propensities are judged by
MANY = 3  # more features than this out of balance, and it is the propensities, not a leak

_EFFECT = (
    "Weights of the rows concerned are wrong, so IPS, SNIPS, DR and every other weighted estimate is biased, "
    "and its interval does not cover."
)

_SUPPORT = (
    " If it is only that some allowed actions had probability 0 in some contexts, log which were allowed, or all "
    "propensities: from the chosen ones alone the two cannot be told apart."
)


@dataclass(frozen=True)
class Judgement:
    """What the residuals say, as far as a log can say it."""

    p: float  # of "the propensities are right"
    worst: str  # where they are most wrong
    leaks: tuple[int, ...]  # features that know the action (where the propensities are right otherwise) or the reward
    leak_p: float
    excess: float  # p-value of what actions without support cannot explain
    residuals: Residuals  # to be used by audits of outcomes
    q: np.ndarray | None


def judge(log: Log) -> Judgement | None:
    """Weigh both explanations; made once per log. None where there are no propensities of named actions."""
    if "judgement" not in log.memo:
        balance = Balance(log)
        log.memo["judgement"] = _judge(log, balance) if balance.possible else None
    return log.memo["judgement"]


def _judge(log: Log, balance: Balance) -> Judgement:
    suspects = balance.suspects(SUSPECT)
    leak_p = float(balance.features.min(initial=1.0))
    telltales = [j for j in range(len(balance.codes)) if surely_explained(log, j) > TELLTALE]
    without: list[int] = sorted({*telltales, *(suspects if len(suspects) <= MANY else [])})
    if log.steps.propensities is not None:
        residuals, q = balance.plain, None
        looks, excess = _full_looks(log, residuals), 0.0
    else:
        residuals, q = balance.informed(without)
        looks, excess = _chosen_looks(log, residuals, q), _excess(log, residuals, q)
    others = [j for j in range(len(balance.codes)) if j not in without]
    along = balance.features if q is None else balance.by_feature(residuals)
    for j in others:
        looks[f"along feature {log.problem.feature_names[j]!r}"] = float(along[j])
    worst = min(looks, key=lambda look: looks[look])
    p = min(1.0, looks[worst] * len(looks))
    sound = p > LEVEL and not broken(log)
    leaks = {j for j in without if balance.features[j] <= LEVEL} if sound else set()
    return Judgement(p, worst, tuple(sorted(leaks.union(telltales))), leak_p, excess, residuals, q)


def _full_looks(log: Log, residuals: Residuals) -> dict[str, float]:
    """p-values of the ways to be wrong with all propensities logged, each corrected for its own cells."""
    pmf = log.steps.propensities
    assert pmf is not None
    looks = _actions(log, residuals)
    looks["by level of probability"] = stats.bonferroni(_levels(log, pmf))
    looks["against the top action"] = _expected(log, pmf, np.eye(log.k)[pmf.argmax(1)])
    looks["between the propensities and uniform"] = _expected(log, pmf, _even(log) / np.maximum(pmf, 1e-3))
    for shift, where in ((1, "row before"), (-1, "row after")):
        other = np.log(np.maximum(np.roll(pmf, shift, 0), 1e-3))
        looks[f"against the {where}"] = _expected(log, pmf, other)
    return looks


def _levels(log: Log, pmf: np.ndarray, bins: int = 10) -> np.ndarray:
    """p-values f64[bins]: of all (row, action) cells with about this probability, as many were taken as should be."""
    cuts = np.unique(np.quantile(pmf[log.allowed], np.linspace(0, 1, bins + 1)[1:-1]))
    code = np.searchsorted(cuts, pmf, "right")  # [n, k]
    total, variance = np.zeros(len(cuts) + 1), np.zeros(len(cuts) + 1)
    for b in range(len(cuts) + 1):
        inside = (pmf * (code == b)).sum(1)
        total[b] = (log.taken * (code == b)).sum() - inside.sum()
        variance[b] = (inside * (1 - np.minimum(inside, 1))).sum()
    return tail_p(total, variance, 1.0)


def _expected(log: Log, pmf: np.ndarray, g: np.ndarray) -> float:
    """p-value of Σ_i (g_i[a_i] − E_p g_i) = 0 for any g f64[n, k] made without the action."""
    mean = (pmf * g).sum(1)
    variance = (pmf * (g - mean[:, None]) ** 2).sum(1)
    total = (log.taken * g).sum() - mean.sum()
    return float(tail_p(total, variance.sum(), np.ptp(g) or 1.0))


def _chosen_looks(log: Log, residuals: Residuals, q: np.ndarray) -> dict[str, float]:
    """p-values of the ways to be wrong with the chosen propensity only."""
    looks = _actions(log, residuals)
    looks["in the mean of guess ÷ propensity"] = residuals.summed(np.ones(q.shape))[1]
    looks["against the most likely action"] = residuals.summed(np.eye(log.k)[q.argmax(1)])[1]
    looks["in the mean of 1 ÷ propensity"] = chosen(log, _even(log)).summed(np.ones(q.shape))[1]
    looks["where propensities are below 1"] = _undecided(log)
    sure = np.searchsorted(np.quantile(q.max(1), [0.25, 0.5, 0.75]), q.max(1))
    looks["by certainty of the guess"] = stats.bonferroni(residuals.cells(sure, 4)[1])
    cuts = np.unique(np.quantile(q[log.allowed], np.linspace(0, 1, 11)[1:-1]))
    level = np.where(log.allowed, np.searchsorted(cuts, q, "right"), -1)
    of_level = [residuals.summed((level == b) * 1.0)[1] for b in range(len(cuts) + 1)]
    looks["by level of the guess"] = stats.bonferroni(np.array(of_level))
    return looks


def _excess(log: Log, residuals: Residuals, q: np.ndarray) -> float:
    """p-value of the looks that remain if some allowed actions never had a chance.

    An action without support, or with next to none, makes sums too low and no sum too high; and it is not the most
    likely one. Where only such sums are off, a sound log of a sharp policy looks the same as faulty propensities.
    """
    up = replace(residuals, scarce=True)
    top = residuals.summed(np.eye(log.k)[q.argmax(1)])[1]
    return stats.bonferroni(
        np.array([*_actions(log, up).values(), up.summed(np.ones(q.shape))[1], top, _undecided(log)])
    )


def _undecided(log: Log) -> float:
    """p-value of Σ_{i: p_i < 1} (1/p_i − k_i) ≤ 0: a context of propensity 1 has it always, the others have at most k_i
    actions with 1/p each. It is what a probability 1 beside explored actions gives away.
    """
    p = log.steps.propensity
    assert p is not None
    open_ = p < 1 - 1e-9
    each = (1 / p - log.allowed.sum(1))[open_]
    if not len(each) or each.sum() <= 0:
        return 1.0
    return float(tail_p(each.sum(), np.array((each**2).sum()), float(each.max())))


def _even(log: Log) -> np.ndarray:
    """f64[n, k] uniform over the allowed actions that were ever taken: where more or less exploration points to."""
    able = log.allowed & log.taken.any(0)
    return able / np.maximum(able.sum(1, keepdims=True), 1)


def _actions(log: Log, residuals: Residuals) -> dict[str, float]:
    p = residuals.cells(np.zeros(log.steps.n, np.int64), 1)[1][0] * log.k
    return {f"of action {name!r}": float(min(1.0, p[a])) for a, name in enumerate(log.problem.actions.names)}


def calibration(log: Log) -> Iterator[Finding]:
    """Taken minus expected, summed every way there is; one finding, named after what it looks like."""
    p = log.steps.propensity
    if p is None or not log.discrete:
        return
    several = log.allowed.sum(1) > 1
    if (p[several] >= 1 - 1e-9).all() and several.any():
        yield log.finding(
            "propensity_constant",
            several,
            "every propensity is 1, though several actions were allowed",
            "Either the policy never explores, and the log says nothing about any other policy; or it does, and every "
            "weight is wrong.",
            "Log the probability with which the action was drawn; let the policy explore if it does not.",
        )
        return
    verdict = judge(log)
    if verdict is None or verdict.p > LEVEL:
        return
    name, said = _name(log, verdict)
    yield log.finding(
        name,
        log.steps.n,
        f"the actions taken are not what the propensities expect, most clearly {verdict.worst}{said}",
        _EFFECT,
        "Recompute the propensities from the policy version that chose, after masking, exploration and overrides; "
        "have one function draw the action and log its probability."
        + ("" if log.steps.propensities is not None else _SUPPORT),
        severity="refuse" if verdict.excess <= LEVEL else "warn",
        p=verdict.p,
    )


def _name(log: Log, verdict: Judgement) -> tuple[str, str]:
    p = log.steps.propensity
    assert p is not None
    values = np.unique(np.round(p, 9))
    if len(values) == 1:
        return "propensity_constant", f"; every propensity is {values[0]:.6g}"
    if len(values) <= 10 and np.abs(values * 10 - np.round(values * 10)).max() < 1e-6:
        return "propensity_rounded", f"; all propensities are among {', '.join(f'{v:.1f}' for v in values)}"
    shift = _shift(log, verdict)
    if shift:
        return "propensity_shifted", f"; they fit the actions of the {'next' if shift > 0 else 'previous'} row better"
    return "propensity_miscalibrated", ""


def _shift(log: Log, verdict: Judgement) -> int:
    """By how many rows the propensities fit the actions best: −1, 0 or 1."""
    p, pmf, action = log.steps.propensity, log.steps.propensities, log.steps.action
    assert p is not None
    if pmf is not None:
        fits = {
            s: float(np.log(np.maximum(np.roll(pmf, s, 0)[np.arange(len(p)), action], 1e-3)).mean()) for s in (-1, 0, 1)
        }
        margin = 0.02
    else:
        assert verdict.q is not None
        own = np.log(verdict.q[np.arange(len(p)), action])
        fits = {s: float(np.corrcoef(np.roll(np.log(p), s), own)[0, 1]) if p.std() > 0 else 0.0 for s in (-1, 0, 1)}
        margin = 0.1
    best = max(fits, key=lambda s: fits[s])
    return -best if fits[best] > fits[0] + margin else 0
