"""What would another policy have earned? One pass over a log, any number of targets and estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from understudy.core.errors import ConfigError, DataError, EvidenceError
from understudy.core.evidence import Estimate, Evidence
from understudy.core.protocols import Estimator, LoggedDataset, Policy, Regressor, Trained, ValueModel
from understudy.core.registry import unknown
from understudy.core.steps import Steps
from understudy.ope.conclude import EXACT, METHODS, conclude
from understudy.ope.evidence import check_needs
from understudy.ope.metric import metric
from understudy.ope.naming import named
from understudy.ope.segments import By, Given
from understudy.ope.sequential import total
from understudy.ope.support import Support, support
from understudy.ope.tally import LOGGED, Plan, Tally, tally
from understudy.ope.work import Setup, Work, commonest, prepare, weighed
from understudy.ops.blocks import BLOCKS
from understudy.ops.returns import longest


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
    by: str | By | Given | None = None,
    against: str | None = None,
    propensity: str = "logged",
    trained_on: Mapping[str, np.ndarray] | None = None,
    outcome: str | None = None,
    normalize: bool = False,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Estimate the value of target policies from a log, with intervals, differences and segments.

    Args:
        data: logged decisions; scanned once, and once more beforehand where episodes are longer than a decision, and
            where a model must be fitted.
        targets: name → policy, or one opened from its artifact, which knows the decisions it was trained on. The name
            "logged" is the behavior policy itself (its policy may be None).
        estimators: names such as "snips", "dr(clip=20)", or estimators.
        q: reward model for those that need one: a regressor (fitted out-of-fold by unit), or a fitted model. Of
            episodes it is Q̂ of each target, by fitted Q evaluation (``ope.fqe``); a fitted model is then taken for
            the Q̂ of every target.
        folds: folds of units for a regressor.
        level: two-sided confidence.
        blocks: blocks of units for standard errors.
        method: "jackknife", "bootstrap", "studentised"; exact: "betting", "empirical_bernstein".
        by: a feature, ``By(feature, edges, bins)``, or groups of units (``segments.given``): estimates of every
            segment too. A feature may also be an outcome that is a trait of its unit; ``"name:2"`` cuts at the median.
        against: a target (or "logged"): the paired difference of every other target to it too.
        propensity: "logged", or "estimate" to fit propensities when the log has none (labelled in the notes).
        trained_on: target → decision hashes it was trained on; any overlap with ``data`` is an error.
        outcome: the name of an outcome to evaluate in place of the reward.
        normalize: fill in ``normalized``, value ÷ mean return of the log; refused, with a note, where that is about 0.
        seed: of folds, models and resampling.
    Returns:
        Targets first, then differences "a - b"; everybody first, then segment by segment. An interval the data
        cannot carry is None, and the notes say why.
    Raises:
        EvidenceError: no overlap at all, fewer than two units, propensities or a model that are needed and missing,
            episodes longer than an estimator can read, or than the problem's horizon.
        DataError: a target's probabilities are none; a target was trained on rows of ``data``.
        ConfigError: unknown names.
    """
    opened = {name: target for name, target in targets.items() if isinstance(target, Trained)}
    seen = {name: it.trained_on for name, it in opened.items() if it.trained_on is not None} | dict(trained_on or {})
    policies = {name: it.policy if isinstance(it, Trained) else it for name, it in targets.items()}
    names = _names(policies, against)
    log = data if outcome is None else metric(data, outcome)
    plan = Plan(
        targets=names,
        estimators=named(estimators),
        pairs=() if against is None else tuple((name, against) for name in names if name != against),
        reward_range=log.problem.reward_range,
        level=_between(level),
        blocks=_at_least(blocks, 2, "blocks"),
        method=_one_of(method, METHODS, "method"),
        seed=seed,
    )
    _one_of(propensity, ("logged", "estimate"), "propensity")
    if outcome is not None and plan.method in EXACT:
        raise ConfigError(f"{plan.method} needs a declared range, and outcomes have none", field="outcome")
    work = prepare(log, plan, Setup(policies, q, folds, by, propensity, normalize))
    whole: tuple[Tally, Support] | None = None
    for steps in log.scan():
        _refuse_training_rows(steps, seen)
        steps = steps if work.behavior is None else work.behavior.apply(steps)
        part = _batch(steps, policies, work)
        whole = part if whole is None else (whole[0] + part[0], whole[1] + part[1])
    if whole is None:
        raise EvidenceError("the log is empty", "Nothing can be estimated from nothing.")
    return conclude(whole[0], work.plan, whole[1])


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
        seed=seed,
    )
    first = evidence[names[0]]
    most = longest(first.steps.starts)
    gain = first.steps.reward if most <= 1 else total(first)
    plan = replace(plan, common=commonest(gain), horizon=max(most, 1))
    for e in evidence.values():
        check_needs(plan.estimators, e)
    return conclude(tally(evidence, plan), plan, None)


def _batch(steps: Steps, targets: Mapping[str, Policy | None], work: Work) -> tuple[Tally, Support]:
    """One batch of the fold: evidence of every target, added up."""
    k = work.problem.actions.k
    evidence, probs = weighed(steps, targets, work)
    for e in evidence.values():
        check_needs(work.plan.estimators, e)
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
