"""May this candidate replace the incumbent? A pure function of evidence and rules; nothing is read, nothing computed.

The order of the questions is the order of the checks: may the data be trusted at all (else *refused*), is there proof
of a lift (*ship*), is there proof or a clear sign of the contrary (*hold*), and if neither, how much more data would
it take (*not_enough_evidence*). Absence of evidence never ships.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np

from understudy.core.evidence import Check, Estimate, Finding, Lift, Verdict
from understudy.ops.betting import spent
from understudy.ops.planning import Plan, further, plan

__all__ = ["GateRules", "Lineage", "Plan", "Turn", "disjoint", "gate", "plan"]

_PAIRS = (("training", "gate"), ("selection", "gate"), ("model", "gate"), ("training", "selection"))
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_DIFFERENT_DATA = "Evaluate on data that nobody has trained on or chosen by: split the log by unit before training."


class GateRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it takes to ship. Stated before the data are looked at, and stored with the verdict.

    Args:
        alpha: chance of ever shipping a candidate that is no better, over all candidates of a family together.
        margin: smallest lift worth shipping, in units of reward; negative states non-inferiority.
        min_ess: fewest effective decisions, (Σw)²/Σw², of the candidate's weights.
        min_matched: fewest logged actions that the candidate would most probably have taken too.
        max_weight_share: most of the candidate's weight that one decision may hold.
        max_unsupported: most of the candidate's probability that may lie on actions the log cannot contain.
        test: ``betting``, valid at every look and for any weights, or ``asymptotic``, a normal lower bound.
        per_candidate: spend ``alpha`` on each candidate anew, instead of α·6/(π²k²) on the k-th.
    """

    alpha: float = 0.05
    margin: float = 0.0
    min_ess: float = 100.0
    min_matched: int = 30
    max_weight_share: float = 0.5
    max_unsupported: float = 0.05
    test: Literal["betting", "asymptotic"] = "betting"
    per_candidate: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha must be in (0, 0.5); got {self.alpha}")
        if not math.isfinite(self.margin):
            raise ValueError(f"margin must be a finite number; got {self.margin}")
        if not (self.min_ess >= 0 and self.min_matched >= 0):
            raise ValueError("min_ess and min_matched must not be negative")
        if not (0 < self.max_weight_share <= 1 and 0 <= self.max_unsupported <= 1):
            raise ValueError("max_weight_share must be in (0, 1] and max_unsupported in [0, 1]")


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which comparison of its family this is, and which look at it; both counted from 1 by the ledger."""

    k: int = 1
    number: int = 1


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decisions that two uses share, and uses of which nobody knows the decisions."""

    overlaps: dict[str, int] = {}  # "training and gate" → number of shared decisions
    missing: tuple[str, ...] = ()


def disjoint(slices: Mapping[str, np.ndarray | None]) -> Lineage:
    """What ``training``, ``selection``, ``model`` (a fitted Q̂) and ``gate`` data share, by hash of decision or unit.

    Args:
        slices: use → u64[…] hashes; None = used but unknown, empty = not used at all. A use that is absent counts as
            unknown, except ``model``, which may be absent: forward cross-fitting needs no other data.
    """
    missing = tuple(use for use in ("training", "selection", "gate") if slices.get(use) is None)
    known = {use: np.unique(ids) for use, ids in slices.items() if ids is not None}
    overlaps = {
        f"{a} and {b}": int(np.intersect1d(known[a], known[b], assume_unique=True).size)
        for a, b in _PAIRS
        if a in known and b in known
    }
    if "model" in slices and slices["model"] is None:
        missing += ("model",)
    return Lineage(overlaps={pair: shared for pair, shared in overlaps.items() if shared}, missing=missing)


def gate(
    estimates: Sequence[Estimate],
    rules: GateRules,
    *,
    against: str,
    lift: Lift,
    lineage: Lineage | None,
    findings: Sequence[Finding] = (),
    turn: Turn = Turn(),  # noqa: B008 (frozen)
) -> Verdict:
    """The verdict on ``lift.candidate`` against the incumbent ``against``.

    Ships if the peak of the e-process reached 1/α_k, α_k = α·6/(π²k²): over all candidates and all looks the chance
    of shipping any that is no better is at most α. Where a unit may return (``lift.anytime`` is False) the l-th look
    gets α_k·6/(π²l²).

    Args:
        estimates: of this gate's data; the asymptotic test reads the difference ``"candidate - incumbent"``.
        lift: proof computed on the same data with ``rules.margin``.
        lineage: from ``disjoint``; None = unknown, which is refused.
        findings: of the audit of the same data; one of severity ``refuse`` is enough.
    Raises:
        ValueError: the lift is about another incumbent or another margin: a fault of the caller, not of the data.
    """
    if lift.incumbent != against or lift.margin != rules.margin:
        raise ValueError(
            f"the lift compares with {lift.incumbent!r} at margin {lift.margin}, "
            f"the gate was asked about {against!r} at margin {rules.margin}"
        )
    fit = _trust(lift, rules, lineage, findings)
    enough = _amount(lift, rules)
    allowance = _allowance(rules, lift, turn)
    proof, against_it = _proof(estimates, rules, lift, allowance), _harm(lift, rules, allowance)
    checks = (*fit, *enough, proof, against_it)
    bad = [check for check in fit if not check.passed]
    thin = [check for check in enough if not check.passed]

    def verdict(outcome: str, reason: str, needed: int | None = None) -> Verdict:
        return Verdict(outcome=outcome, candidate=lift.candidate, incumbent=against, checks=checks, reason=reason,
                       needed=needed)  # fmt: skip

    if bad:
        return verdict("refused", " ".join(check.why for check in bad))
    if proof.passed and not thin:
        return verdict("ship", proof.why)
    if not against_it.passed and not proof.passed:
        return verdict("hold", against_it.why)
    needed = _needed(lift, rules, allowance, enough)
    more = "" if needed is None else f" About {needed:,} further decisions of the same kind would be needed"
    if more and lift.mean <= rules.margin:
        more += ", and only if the highest lift that is still plausible is the true one: the estimate itself is none"
    more += "." if more else ""
    return verdict("not_enough_evidence", " ".join(check.why for check in (thin or [proof])) + more, needed)


def _trust(lift: Lift, rules: GateRules, lineage: Lineage | None, findings: Sequence[Finding]) -> list[Check]:
    """May these data be used at all? A failure means refused."""
    bad = [finding for finding in findings if finding.severity == "refuse"]
    audit = Check(
        name="audit",
        observed=len(bad),
        threshold=0,
        passed=not bad,
        why=" ".join(f"{f.name}: {f.effect} ({f.observed}; first: {f.first}). {f.cure}" for f in bad)
        or "The audit found nothing that would void an estimate.",
    )
    return [audit, _lineage(lineage), *_overlap(lift, rules)]


def _lineage(lineage: Lineage | None) -> Check:
    shared = {} if lineage is None else lineage.overlaps
    missing = ("training", "selection", "gate") if lineage is None else lineage.missing
    if shared:
        pairs = "; ".join(f"{pair} share {number:,} decisions" for pair, number in shared.items())
        why = f"Data were used twice: {pairs}. A policy looks better on data it was fitted to or chosen by than it is. "
        why += _DIFFERENT_DATA
    elif missing:
        why = f"Nobody recorded which decisions were used for {' and '.join(missing)}. {_DIFFERENT_DATA}"
    else:
        why = "Training, selection and gate data share no decision."
    observed = "; ".join(f"{pair}: {number}" for pair, number in shared.items()) or ", ".join(missing) or "disjoint"
    return Check(name="lineage", observed=observed, threshold="disjoint", passed=not shared and not missing, why=why)


def _overlap(lift: Lift, rules: GateRules) -> list[Check]:
    pair = lift.pair
    if pair is None:
        return [Check(name="overlap", observed=None, threshold=None, passed=False,
                      why=" ".join(lift.notes) or "The weights of the candidate were not examined.")]  # fmt: skip
    supported = pair.unsupported <= rules.max_unsupported and pair.ess > 0
    support = Check(
        name="support",
        observed=pair.unsupported if pair.ess > 0 else 1.0,
        threshold=rules.max_unsupported,
        passed=supported,
        why=f"{pair.unsupported:.1%} of what the candidate would do was never possible in the log."
        + ("" if supported else " The log says nothing about it: explore those actions first.")
        if pair.ess > 0
        else "The candidate would have taken none of the logged actions: the log says nothing about it.",
    )
    # With few decisions one heavy row is bad luck that more data cure; with many it is how this log was made.
    heavy = not pair.max_weight_share <= rules.max_weight_share and pair.n >= 10 * rules.min_ess
    why = (
        f"One decision (row {pair.heaviest}) holds {pair.max_weight_share:.0%} of the candidate's weight, "
        f"and the effective sample size is {pair.ess:,.1f} of {pair.n:,}"
    )
    why += ": a single outcome would decide. Log with more exploration, or with the candidate on a share of traffic."
    weight = Check(
        name="weight share",
        observed=pair.max_weight_share,
        threshold=rules.max_weight_share,
        passed=not heavy,
        why=why if heavy else f"The heaviest decision holds {pair.max_weight_share:.1%} of the candidate's weight.",
    )
    return [support, weight]


def _amount(lift: Lift, rules: GateRules) -> list[Check]:
    """Is there enough to look at? A failure means not_enough_evidence, whatever the test says."""
    pair = lift.pair
    if pair is None:  # nothing was examined, and the check of the overlap says so
        return []
    ess, matched, n, where = pair.ess, pair.matched, pair.n, "logged actions"
    if rules.test == "asymptotic":  # a normal bound is blind to what the candidate changes
        matched, where = pair.matched_disagreeing, "logged actions where the two policies disagree"
    return [
        Check(
            name="effective sample size",
            observed=ess,
            threshold=rules.min_ess,
            passed=ess >= rules.min_ess,
            why=f"The log is worth {ess:,.1f} decisions of the candidate's own, out of {n:,}; "
            f"at least {rules.min_ess:,.0f} are required.",
        ),
        Check(
            name="matched",
            observed=matched,
            threshold=rules.min_matched,
            passed=matched >= rules.min_matched,
            why=f"{matched:,} {where} are what the candidate would most probably have done; "
            f"at least {rules.min_matched} are required.",
        ),
    ]


def _allowance(rules: GateRules, lift: Lift, turn: Turn) -> float:
    """α_k, and a share of it for this look where looks are tests of their own."""
    mine = rules.alpha if rules.per_candidate else spent(rules.alpha, turn.k)
    return mine if lift.anytime and rules.test == "betting" else spent(mine, turn.number)


def _proof(estimates: Sequence[Estimate], rules: GateRules, lift: Lift, allowance: float) -> Check:
    better = f"{lift.candidate} is better than {lift.incumbent}" + (f" by {rules.margin:g}" if rules.margin else "")
    if rules.test == "betting":
        need = -math.log(allowance)
        passed = lift.peak_log_e >= need
        bar = f"{_times(need)}, which luck alone reaches at most once in {1 / allowance:.0f}"
        seen = f"a stake of 1 on it grew to {_times(lift.peak_log_e)}"
        why = f"Proven that {better}: {seen}; required was {bar}." if passed else (
            f"Not proven that {better}: {seen} at best; required is {bar}."
        )  # fmt: skip
        return Check(name="lift", observed=lift.peak_log_e, threshold=need, passed=passed, why=why)
    target = f"{lift.candidate} - {lift.incumbent}"
    found = [e for e in estimates if e.target == target and not e.segment and not e.refused and e.std_error is not None]
    if not found:
        why = f"There is no estimate with an interval of {target!r}: the data could not carry one."
        return Check(name="lift", observed=None, threshold=rules.margin, passed=False, why=why)
    lows = [e.value - NormalDist().inv_cdf(1 - allowance) * (e.std_error or 0.0) for e in found]
    low = min(lows) if all(map(math.isfinite, lows)) else -math.inf  # min() may step over a NaN
    passed = low > rules.margin
    why = f"{'Proven' if passed else 'Not proven'} that {better}: the lower bound of the difference is {low:.4g} "
    why += f"(normal, α = {allowance:.3g})."
    return Check(name="lift", observed=low, threshold=rules.margin, passed=passed, why=why)


def _harm(lift: Lift, rules: GateRules, allowance: float) -> Check:
    """Evidence that the lift is below the margin. Holding needs less than a proof: nothing changes by it.

    Where what the candidate would change was hardly ever tried, its estimate is too low with a small standard error;
    so a clear sign asks for logged actions on which the two disagree, as the asymptotic test does.
    """
    need = -math.log(allowance)
    high = math.inf if lift.std_error is None else lift.mean + NormalDist().inv_cdf(0.95) * lift.std_error
    pair = lift.pair
    enough = pair is not None and pair.ess >= rules.min_ess and pair.matched_disagreeing >= rules.min_matched
    proven, clear = lift.reverse_peak_log_e >= need, enough and high < rules.margin
    wanted = "no better" if rules.margin == 0 else f"not better by {rules.margin:g}"
    estimate = f"the estimated lift is {lift.mean:.4g}"
    if proven:
        why = f"{lift.candidate} is {wanted} than {lift.incumbent}, and this is proven: {estimate}, "
        why += f"and a stake of 1 on the contrary grew to {_times(lift.reverse_peak_log_e)}."
    elif clear:
        why = f"{lift.candidate} is {wanted} than {lift.incumbent}: {estimate}, and at most {high:.4g} is plausible."
    else:
        why = f"Nothing shows that {lift.candidate} does harm: {estimate}."
    return Check(name="harm", observed=lift.reverse_peak_log_e, threshold=need, passed=not (proven or clear), why=why)


def _needed(lift: Lift, rules: GateRules, allowance: float, enough: Sequence[Check]) -> int | None:
    """Further decisions until the proof, or until there is enough to look at, whichever takes longer."""
    units = further(lift, -math.log(allowance))
    per_unit = lift.n / max(lift.n_units, 1)
    more = [] if units is None else [units * per_unit]
    for check in enough:
        if not check.passed and isinstance(check.observed, (int, float)) and check.observed > 0:
            more.append(lift.n * (float(check.threshold or 0) / float(check.observed) - 1.0))
    return None if units is None and not more else max(1, math.ceil(max(more)))


def _times(log_e: float) -> str:
    """e^log_e as a person would say it."""
    if log_e > math.log(1e6):
        return "10" + str(int(log_e / math.log(10))).translate(_RAISED)
    return f"{math.exp(log_e):,.3g}"
