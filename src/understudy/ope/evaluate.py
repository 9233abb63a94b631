"""What would another policy have earned? One pass over a log, any number of targets and estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from understudy.core.errors import ConfigError, DataError, EvidenceError
from understudy.core.evidence import Estimate, Evidence
from understudy.core.problem import Problem
from understudy.core.protocols import Estimator, LoggedDataset, Policy, Regressor, Trained, ValueModel
from understudy.core.registry import unknown
from understudy.core.steps import Steps
from understudy.ope.conclude import METHODS, conclude
from understudy.ope.crossfit import MOST_ROWS, CrossFit, crossfit, reward_model, sample_of
from understudy.ope.evidence import as_logged, check_needs, densities, weigh
from understudy.ope.naming import named
from understudy.ope.propensity import EstimatedPropensities, fit_propensities
from understudy.ope.segments import By, Segments, segments
from understudy.ope.support import Support, support
from understudy.ope.tally import LOGGED, Plan, Tally, tally
from understudy.ops.blocks import BLOCKS


# More than seven parameters: they are the settings of one evaluation, and each has a default that is safe.
def evaluate(
    data: LoggedDataset,
    targets: Mapping[str, Policy | Trained | None],
    estimators: Sequence[str | Estimator] = ("snips", "dr"),
    *,
    q: str | Regressor | ValueModel | None = "ridge",
    folds: int = 5,
    level: float = 0.95,
    blocks: int = BLOCKS,
    method: str = "jackknife",
    by: str | By | None = None,
    against: str | None = None,
    propensity: str = "logged",
    trained_on: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Estimate the value of target policies from a log, with intervals, differences and segments.

    Args:
        data: logged decisions; scanned once, and once more beforehand where a model must be fitted.
        targets: name → policy, or one opened from its artifact, which knows the decisions it was trained on. The name
            "logged" is the behavior policy itself (its policy may be None).
        estimators: names such as "snips", "dr(clip=20)", or estimators.
        q: reward model for those that need one: a regressor (fitted out-of-fold by unit), or a fitted model.
        folds: folds of units for a regressor.
        level: two-sided confidence.
        blocks: blocks of units for standard errors.
        method: "jackknife", "bootstrap", "studentised"; exact: "betting", "empirical_bernstein".
        by: a feature, or ``By(feature, edges)``: estimates of every segment too.
        against: a target (or "logged"): the paired difference of every other target to it too.
        propensity: "logged", or "estimate" to fit propensities when the log has none (labelled in the notes).
        trained_on: target → decision hashes it was trained on; any overlap with ``data`` is an error.
        seed: of folds, models and resampling.
    Returns:
        Targets first, then differences "a - b"; everybody first, then segment by segment. An interval the data
        cannot carry is None, and the notes say why.
    Raises:
        EvidenceError: no overlap at all, fewer than two units, propensities or a model that are needed and missing,
            episodes longer than an estimator can read.
        DataError: a target's probabilities are none; a target was trained on rows of ``data``.
        ConfigError: unknown names.
    """
    opened = {name: target for name, target in targets.items() if isinstance(target, Trained)}
    seen = {name: it.trained_on for name, it in opened.items() if it.trained_on is not None} | dict(trained_on or {})
    policies = {name: it.policy if isinstance(it, Trained) else it for name, it in targets.items()}
    names = _names(policies, against)
    plan = Plan(
        targets=names,
        estimators=named(estimators),
        pairs=() if against is None else tuple((name, against) for name in names if name != against),
        reward_range=data.problem.reward_range,
        level=_between(level),
        blocks=_at_least(blocks, 2, "blocks"),
        method=_one_of(method, METHODS, "method"),
        seed=seed,
    )
    _one_of(propensity, ("logged", "estimate"), "propensity")
    work = _prepare(data, plan, q, folds, by, propensity)
    total: tuple[Tally, Support] | None = None
    for steps in data.scan():
        _refuse_training_rows(steps, seen)
        steps = steps if work.behavior is None else work.behavior.apply(steps)
        part = _batch(steps, policies, work)
        total = part if total is None else (total[0] + part[0], total[1] + part[1])
    if total is None:
        raise EvidenceError("the log is empty", "Nothing can be estimated from nothing.")
    return conclude(total[0], work.plan, total[1])


def estimate(
    evidence: Mapping[str, Evidence],
    estimators: Sequence[str | Estimator],
    *,
    level: float = 0.95,
    blocks: int = BLOCKS,
    method: str = "jackknife",
    against: str | None = None,
    reward_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Estimates with intervals from evidence in memory: the arrays-only door to what ``evaluate`` does.

    Args:
        evidence: target → Evidence, all about the same steps (``evidence.from_arrays``).
        against: one of the targets; paired differences to it too.
    Raises: as ``evaluate``. Support cannot be checked here: it needs the probability of every action.
    """
    names = tuple(evidence)
    if not names or (against is not None and against not in names):
        raise unknown("target", str(against), names)
    plan = Plan(
        targets=names,
        estimators=named(estimators),
        pairs=() if against is None else tuple((name, against) for name in names if name != against),
        reward_range=reward_range,
        level=_between(level),
        blocks=_at_least(blocks, 2, "blocks"),
        method=_one_of(method, METHODS, "method"),
        common=_commonest(evidence[names[0]].steps.reward),
        seed=seed,
    )
    for e in evidence.values():
        check_needs(plan.estimators, e)
    return conclude(tally(evidence, plan), plan, None)


@dataclass(frozen=True)
class _Work:
    """What the scan needs besides the data."""

    plan: Plan
    problem: Problem
    model: CrossFit | None
    behavior: EstimatedPropensities | None
    slices: Segments | None


def _prepare(data: LoggedDataset, plan: Plan, q, folds: int, by, propensity: str) -> _Work:
    """The first pass, where one is needed: fit what is out-of-fold, place edges, see what reward is common."""
    needs_model = any("q" in estimator.needs for _, estimator in plan.estimators)
    regressor = reward_model(q) if needs_model else None
    fit = regressor is not None and not hasattr(regressor, "values")
    sample = sample_of(data) if fit or by is not None or propensity == "estimate" else next(iter(data.scan()), None)
    if sample is None or sample.n == 0:
        raise EvidenceError("the log is empty", "Nothing can be estimated from nothing.")
    notes = []
    if fit and data.n_steps > MOST_ROWS:
        notes.append(f"reward model fitted on {sample.n:,} of {data.n_steps:,} rows, sampled by unit")
    model = behavior = None
    if regressor is not None:
        model = crossfit(sample, data.problem, regressor, folds, plan.seed) if fit else CrossFit((regressor,), 0)  # type: ignore[arg-type]
    if propensity == "estimate":
        behavior = fit_propensities(sample, data.problem, folds=folds, seed=plan.seed)
        notes.append(behavior.note)
    slices = None if by is None else segments(by, data.problem, sample)
    labels = () if slices is None else slices.labels
    plan = replace(plan, segments=labels, common=_commonest(sample.reward), notes=tuple(notes))
    return _Work(plan, data.problem, model, behavior, slices)


def _batch(steps: Steps, targets: Mapping[str, Policy | None], work: _Work) -> tuple[Tally, Support]:
    """One batch of the fold: evidence of every target, added up."""
    discount, k = work.problem.discount, work.problem.actions.k
    values = None if work.model is None else work.model.values(steps)
    evidence: dict[str, Evidence] = {}
    probs: list[np.ndarray | None] = []
    for name in work.plan.targets:
        policy, pi = targets.get(name), None
        if policy is None:
            evidence[name] = as_logged(steps, discount)
        elif hasattr(policy, "probs"):
            pi = np.asarray(policy.probs(steps.context, steps.allowed), np.float64)  # type: ignore[union-attr]
            evidence[name] = weigh(steps, pi, values, discount)
        else:
            evidence[name] = densities(steps, policy.prob(steps.context, steps.action, steps.allowed), discount)
        probs.append(pi)
        check_needs(work.plan.estimators, evidence[name])
    where = None if work.slices is None else work.slices.index(steps)
    return tally(evidence, work.plan, where), support(steps, probs, work.plan, k, where)


def _names(targets: Mapping[str, Policy | None], against: str | None) -> tuple[str, ...]:
    names = tuple(targets)
    empty = [name for name in names if targets[name] is None and name != LOGGED]
    if not names or empty:
        raise ConfigError(f"target {empty[0]!r} has no policy" if empty else "there is no target", field="targets")
    if against == LOGGED and LOGGED not in names:
        names = (*names, LOGGED)
    if against is not None and against not in names:
        raise unknown("target", against, names)
    return names


def _refuse_training_rows(steps: Steps, trained_on: Mapping[str, np.ndarray] | None) -> None:
    for name, decisions in (trained_on or {}).items():
        if steps.origin is None:
            raise DataError(
                "the log carries no decision ids, so nobody can tell whether a target was trained on it",
                hint="Evaluate on a dataset made by `understudy join`, which keeps them.",
                field="trained_on",
            )
        seen = np.isin(steps.origin.decision, np.asarray(decisions, np.uint64))
        if seen.any():
            raise DataError(
                f"{name!r} was trained on {int(seen.sum())} of {steps.n} decisions of this log; first: row "
                f"{int(np.flatnonzero(seen)[0])}",
                "A policy looks better on the rewards it has seen than it is.",
                "Evaluate on a slice it was not trained on, such as select (split by unit before training).",
                field="trained_on",
            )


def _commonest(reward: np.ndarray) -> float:
    values, counts = np.unique(reward, return_counts=True)
    return float(values[counts.argmax()]) if len(values) else 0.0


def _between(level: float) -> float:
    if not 0 < level < 1:
        raise ConfigError(f"level must lie strictly between 0 and 1; got {level}", hint="Try 0.95.", field="level")
    return level


def _at_least(value: int, least: int, name: str) -> int:
    if value < least:
        raise ConfigError(f"{name} must be at least {least}; got {value}", field=name)
    return value


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise unknown(name, value, known)
    return value
