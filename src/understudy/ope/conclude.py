"""From totals to estimates: the interval of each method, and the one rule by which an interval is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.core.errors import EvidenceError
from understudy.core.evidence import Estimate, Totals
from understudy.core.protocols import Estimator
from understudy.ope.evidence import no_overlap
from understudy.ope.propensity import LABEL
from understudy.ope.support import Support
from understudy.ope.tally import LOGGED, Plan, Tally, reads
from understudy.ops import betting, weights
from understudy.ops.blocks import jackknife
from understudy.ops.intervals import MIN_EXPECTED, SKEW_LIMIT, Bounds, bootstrap, empirical_bernstein

# Where an asymptotic interval is answered. Outside, its coverage was measured to fall (docs/coverage.md).
MIN_ESS = 200.0  # effective sample size of independent units
MIN_MATCHED = 30  # rows on which log and target agree (a difference: on which the two policies disagree)
MIN_INFORMATIVE = 10  # rows of weight whose reward is not the most common one
MAX_LOST = 0.01  # share of the discount that lay beyond where episodes were cut
MAX_UNSUPPORTED = 1e-6  # share of the target's probability on actions the log cannot take
EXACT = ("betting", "empirical_bernstein")  # no central limit; every episode is kept
DRAWN = ("bootstrap", "studentised")  # from resampled blocks
METHODS = ("jackknife", *DRAWN, *EXACT)


_Interval = tuple[float | None, float, float]  # standard error, low, high


@dataclass(frozen=True)
class _Case:
    """One value to be reported: an estimator on a target or on a difference, in a segment."""

    column: int
    name: str
    label: str
    estimator: Estimator
    parts: tuple[tuple[int, Estimator], ...]  # (target, settled estimator): one, or two to subtract
    totals: Totals
    segment: int | None
    shelf: int = 0  # first of the overlap's columns for the kind of weight that the estimator rests on

    @property
    def where(self) -> int:
        """The overlap's column of this case."""
        return self.shelf + self.column

    @property
    def key(self) -> str:
        """What tells this case from the others of its segment."""
        return f"{self.label} of {self.name}"

    def value(self, mean: np.ndarray) -> np.ndarray:
        """Value of the target, or of the first minus the second."""
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][1].value(mean))
        half = mean.shape[-1] // 2
        return np.asarray(self.parts[0][1].value(mean[..., :half])) - self.parts[1][1].value(mean[..., half:])


@dataclass(frozen=True)
class _Overlap:
    """What log and targets share, per column of the plan and kind of weight, in one segment or in all."""

    n: int
    n_units: int
    ess: np.ndarray
    share: np.ndarray
    matched: np.ndarray
    informative: np.ndarray
    by_step: np.ndarray | None = None  # f64[T, H] ESS of the weights up to each step of an episode, of everybody


def conclude(tallied: Tally, plan: Plan, support: Support | None) -> tuple[Estimate, ...]:
    """Estimates of every target, then of every difference; for everybody, then per segment.

    Args:
        support: what the log could have held; None where only logged actions are known.
    Raises:
        EvidenceError: fewer than two units, or a target that shares no action with the log.
    """
    everybody = _overlap(tallied, plan, None)
    if everybody.n_units < 2:
        raise EvidenceError(
            f"the log holds {everybody.n_units} independent unit, and at least two are needed",
            "One unit says nothing about how units differ, so no estimate could have an interval.",
            "Collect more units, or check that `unit` names who is independent of whom.",
            field="unit",
        )
    settled = _settle(tallied, plan)
    answer: list[Estimate] = []
    lost: list[tuple[str, str]] = []
    for segment in (None, *range(len(plan.segments))):
        overlap = everybody if segment is None else _overlap(tallied, plan, segment)
        if overlap.n == 0:
            continue
        cases = []
        for case in _cases(tallied, plan, settled, segment):
            if _defined(case, overlap, plan):
                cases.append(case)
            elif segment is None and plan.horizon == 1:
                raise no_overlap(case.label, case.name)
            else:
                here = "the log" if segment is None else plan.segments[segment]
                lost.append((case.key, f"{here} holds no overlap for {case.key}"))
        if segment is None and not cases:
            raise no_overlap(plan.estimators[0][0], plan.targets[0])
        answer += _answer(cases, overlap, tallied, plan, support)
    if lost:
        answer = [_with_notes(e, lost) if e.segment == "" else e for e in answer]
    return tuple(answer)


def _overlap(tallied: Tally, plan: Plan, segment: int | None) -> _Overlap:
    weight = tallied.units.of(segment)  # f64[U, C]
    pick = (lambda a: a.sum(0)) if segment is None else (lambda a: a[segment])
    ess, share = weights.ess(weight), weights.max_share(weight) if len(weight) else np.zeros(weight.shape[1])
    for shelf in range(0, len(ess), len(plan.columns)):
        for j, pair in enumerate(plan.pairs, start=shelf + len(plan.targets)):
            sides = [shelf + plan.targets.index(t) for t in pair]
            ess[j] = min(ess[j], *ess[sides])
            share[j] = max(share[j], *share[sides])
    by_step = None
    if segment is None and isinstance(tallied.steps, np.ndarray):
        first, second = tallied.steps[:, 0], tallied.steps[:, 1]
        by_step = np.divide(first**2, second, out=np.zeros_like(first), where=second > 0)
    n, matched, informative = int(pick(tallied.counts).sum()), pick(tallied.matched), pick(tallied.informative)
    return _Overlap(n, len(weight), ess, share, matched, informative, by_step)


def _settle(tallied: Tally, plan: Plan) -> list[list[Estimator]]:
    """[target][estimator], with thresholds chosen on everybody where an estimator chooses one."""
    width = plan.reward_range[1] - plan.reward_range[0]
    return [
        [
            estimator.settle(tallied.totals(t, e, None), width) if hasattr(estimator, "settle") else estimator  # type: ignore[attr-defined]
            for e, (_, estimator) in enumerate(plan.estimators)
        ]
        for t in range(len(plan.targets))
    ]


def _cases(tallied: Tally, plan: Plan, settled: list[list[Estimator]], segment: int | None) -> list[_Case]:
    sides = [(t,) for t in range(len(plan.targets))]
    sides += [(plan.targets.index(a), plan.targets.index(b)) for a, b in plan.pairs]
    cases = []
    for column, side in enumerate(sides):
        for e, (label, estimator) in enumerate(plan.estimators):
            parts = [tallied.totals(t, e, segment) for t in side]
            whole = Totals(np.concatenate([part.sums for part in parts], axis=1), parts[0].counts)
            who = tuple((t, settled[t][e]) for t in side)
            shelf = 0 if plan.horizon == 1 else plan.reads.index(reads(estimator)) * len(plan.columns)
            cases.append(_Case(column, plan.columns[column], label, settled[side[0]][e], who, whole, segment, shelf))
    return cases


def _defined(case: _Case, overlap: _Overlap, plan: Plan) -> bool:
    weighs = bool(case.estimator.needs & {"propensity", "match"})
    ess, matched = overlap.ess[case.shelf :], overlap.matched[case.shelf :]
    if weighs and any(ess[t] == 0 and matched[t] == 0 for t, _ in case.parts):
        return False
    if "propensity" in case.estimator.needs and any(ess[t] == 0 for t, _ in case.parts):
        return False
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool(np.isfinite(case.value(case.totals.sums.sum(0) / case.totals.counts.sum())))


def _answer(
    cases: list[_Case], overlap: _Overlap, tallied: Tally, plan: Plan, support: Support | None
) -> list[Estimate]:
    """Intervals of all cases of one segment; refused ones keep their value and say why."""
    reasons = [_refusals(case, overlap, tallied, plan, support) for case in cases]
    open_ = [case for case, why in zip(cases, reasons) if not why]
    drawn = _drawn(open_, plan) if plan.method in DRAWN else {}
    bounds = {case.key: drawn.get(case.key) or _interval(case, tallied, plan) for case in open_}
    return [_estimate(case, overlap, plan, why, bounds.get(case.key)) for case, why in zip(cases, reasons)]


def _drawn(cases: list[_Case], plan: Plan) -> dict[str, _Interval | str]:
    """Bootstrap intervals of all cases from one resampling; cases that some resample leaves undefined are left out."""
    kind = "percentile" if plan.method == "bootstrap" else "studentised"
    totals, values = {case.key: case.totals for case in cases}, {case.key: case.value for case in cases}
    try:
        found = bootstrap(totals, values, plan.level, seed=plan.seed, kind=kind)
    except EvidenceError as error:
        if len(cases) == 1:
            return {cases[0].key: error.what}
        return {key: answer for case in cases for key, answer in _drawn([case], plan).items()}
    return {key: _asymptotic(bounds) for key, bounds in found.items()}


def _refusals(case: _Case, overlap: _Overlap, tallied: Tally, plan: Plan, support: Support | None) -> list[str]:
    """Why this case may have no interval; empty if it may."""
    why = []
    if overlap.n_units < 2:
        why.append(f"only {overlap.n_units} independent unit here")
    why += _episode_refusals(case, plan)
    if plan.method in EXACT:
        return why + _exact_refusals(case, overlap, plan)
    j, row = case.where, _one(plan) if overlap.n_units == overlap.n else "unit"
    if tallied.propensity[0] == -np.inf and any(plan.targets[t] != LOGGED for t, _ in case.parts):
        return [*why, "the log has no propensities, so what it shares with the target is unknown"]
    if overlap.ess[j] < MIN_ESS:
        why.append(
            f"effective sample size {overlap.ess[j]:.1f} of {overlap.n:,}, below {MIN_ESS:.0f}; "
            f"the heaviest {row} holds {100 * overlap.share[j]:.0f} % of the weight"
        )
    if overlap.matched[j] < MIN_MATCHED:
        what = "on which the two policies differ" if len(case.parts) > 1 else "on which log and target agree"
        why.append(f"{overlap.matched[j]} rows {what}, below {MIN_MATCHED}")
    if overlap.informative[j] < MIN_INFORMATIVE:
        what = "rows whose reward" if plan.horizon == 1 else "episodes whose return"
        why.append(f"{overlap.informative[j]} weighted {what} is not {plan.common:g}, below {MIN_INFORMATIVE}")
    why += [] if support is None else _support_refusals(case, plan, support)
    smallest, largest = -tallied.propensity[0], tallied.propensity[1]
    compares = "match" in case.estimator.needs and any(plan.targets[t] != LOGGED for t, _ in case.parts)
    if compares and largest > smallest * (1 + 1e-6):
        why.append(f"replay needs uniformly random logging; propensities here go from {smallest:.3g} to {largest:.3g}")
    return why


def _episode_refusals(case: _Case, plan: Plan) -> list[str]:
    """What episodes of several steps refuse beyond what single decisions do."""
    why = []
    if plan.horizon == 1:
        return why
    if case.estimator.needs == {"q"} and any(plan.targets[t] != LOGGED for t, _ in case.parts):
        why.append(
            "Q̂ alone knows nothing of its own error over episodes; drl, sdr and wdr correct it and have intervals"
        )
    leaning = [getattr(estimator, "refusal", "") for t, estimator in case.parts if plan.targets[t] != LOGGED]
    why += [reason for reason in leaning if reason]
    blind = [
        t for t, estimator in case.parts if not estimator.needs & {"q", "density_ratio"} or plan.targets[t] == LOGGED
    ]
    if plan.lost > MAX_LOST and blind:
        why.append(
            f"episodes were cut where {100 * plan.lost:.2g} % of the discount was still to come, above "
            f"{100 * MAX_LOST:g} %; only estimators with Q̂ or visit ratios go on from there"
        )
    return why


_SINGLE = ("ips or clipped_ips", "tis")  # of decisions, of episodes


def _one(plan: Plan) -> str:
    return "row" if plan.horizon == 1 else "episode"


def _support_refusals(case: _Case, plan: Plan, support: Support) -> list[str]:
    why = []
    for t, _ in case.parts:
        if support.unsupported[t] > MAX_UNSUPPORTED:
            share = 100 * support.unsupported[t]
            why.append(f"{share:.2g} % of {plan.targets[t]}'s probability is on actions the log never takes")
    expected = support.expected(case.segment) if plan.horizon == 1 else None
    if expected is not None and expected[case.column] < MIN_EXPECTED:
        few = f"{expected[case.column]:.1f} large contributions were to be expected, below {MIN_EXPECTED:.0f}"
        why.append(f"the log may have missed its heaviest weights: {few}")
    return why


def _exact_refusals(case: _Case, overlap: _Overlap, plan: Plan) -> list[str]:
    why = []
    if not all(hasattr(estimator, "weights") for _, estimator in case.parts):
        why.append(f"{plan.method} bounds one weighted reward per episode; use {_SINGLE[plan.horizon > 1]}")
    elif plan.method == "empirical_bernstein" and not np.isfinite(getattr(case.estimator, "clip", np.inf)):
        why.append("empirical Bernstein needs a declared largest weight; use clipped_ips")
    if overlap.n_units != overlap.n:
        why.append(f"{overlap.n:,} episodes of {overlap.n_units:,} units are not independent draws")
    if any(LABEL in note for note in plan.notes):
        why.append("propensities are estimated, so no bound on them is exact")
    return why


def _interval(case: _Case, tallied: Tally, plan: Plan) -> _Interval | str:
    """(standard error, low, high), or why there is none after all."""
    if plan.method in EXACT:
        return _exact(case, tallied, plan)
    return _asymptotic(jackknife(case.value, case.totals).bounds(plan.level))


def _asymptotic(bounds: Bounds) -> _Interval | str:
    std_error, skew = float(bounds.std_error), float(bounds.skew)
    if not np.isfinite(std_error):
        return "one block of units holds all overlap"
    if std_error == 0:
        return "nothing that was seen varies"
    if abs(skew) > SKEW_LIMIT:
        return f"the estimate rests on about {1 / skew**2:.1f} equal contributions"
    return std_error, float(bounds.low), float(bounds.high)


def _exact(case: _Case, tallied: Tally, plan: Plan) -> _Interval:
    """Bounds that need no central limit: E lower ≤ V and E upper ≤ −V whenever weights are at most the ratio."""
    segment, reward, ratio = (np.concatenate([part[i] for part in tallied.streams]) for i in range(3))
    if case.segment is not None:
        here = segment == case.segment
        reward, ratio = reward[here], ratio[here]
    low, high = plan.reward_range
    sides = [
        betting.weighted_streams(estimator.weights(ratio[:, t]), reward, low, high)  # type: ignore[attr-defined]
        for t, estimator in case.parts
    ]
    lower, upper = sides[0]
    most = getattr(case.estimator, "clip", np.inf) * (high - low)  # range of a stream above its floor
    if len(sides) == 2:  # a − b: what bounds a from below and b from above
        lower = betting.Stream(lower.values + sides[1][1].values, lower.floor + sides[1][1].floor)
        upper = betting.Stream(upper.values + sides[1][0].values, upper.floor + sides[1][0].floor)
        most *= 2
    if plan.method == "betting":
        bottom, top = betting.interval(lower, upper, plan.level)
    else:
        bottom = float(empirical_bernstein(lower.values, lower.floor, lower.floor + most, plan.level).low)
        top = -float(empirical_bernstein(upper.values, upper.floor, upper.floor + most, plan.level).low)
    value = float(case.value(case.totals.sums.sum(0) / case.totals.counts.sum()))
    return None, min(bottom, value), max(top, value)  # a wider interval still covers


def _estimate(case: _Case, overlap: _Overlap, plan: Plan, why: list[str], bounds: _Interval | str | None) -> Estimate:
    if isinstance(bounds, str):
        why, bounds = [*why, bounds], None
    j = case.where
    notes = [f"no interval: {reason}" for reason in why]
    if plan.method not in EXACT or bounds is None:  # exact bounds hold in spite of clipping
        notes += [note for _, estimator in case.parts for note in getattr(estimator, "notes", ())]
    std_error, low, high = bounds or (None, None, None)
    value = float(case.value(case.totals.sums.sum(0) / case.totals.counts.sum()))
    alone = len(case.parts) == 1
    return Estimate(
        target=case.name,
        estimator=case.label,
        value=value,
        std_error=std_error,
        low=low,
        high=high,
        level=plan.level,
        method=plan.method,
        n_episodes=overlap.n,
        n_units=overlap.n_units,
        ess=float(overlap.ess[j]),
        max_weight_share=float(overlap.share[j]),
        matched=int(overlap.matched[j]),
        segment="" if case.segment is None else plan.segments[case.segment],
        notes=tuple(dict.fromkeys((*notes, *plan.notes))),
        ess_by_step=tuple(overlap.by_step[case.column].tolist()) if alone and overlap.by_step is not None else (),
        normalized=None if plan.logged is None else value / plan.logged,
    )


def _with_notes(estimate: Estimate, lost: list[tuple[str, str]]) -> Estimate:
    """What could not be said of a segment goes to its estimator; of everybody, to whatever was said of that target."""
    import msgspec

    mine = [why for key, why in lost if key == f"{estimate.estimator} of {estimate.target}"]
    mine += [why for key, why in lost if why.startswith("the log ") and key.endswith(f" of {estimate.target}")]
    return msgspec.structs.replace(estimate, notes=(*estimate.notes, *dict.fromkeys(mine)))
