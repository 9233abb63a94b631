"""What the pass over a log needs besides the log: models fitted beforehand; and the evidence of each batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.evidence import Evidence
from understudy.core.problem import Problem
from understudy.core.protocols import LoggedDataset, Policy, Regressor, ValueModel
from understudy.core.steps import Steps
from understudy.ope.crossfit import CrossFit, crossfit, reward_model, sample_of
from understudy.ope.evidence import as_logged, densities, weigh
from understudy.ope.fqe import TABULAR, FittedQ, fit_q, require_discrete
from understudy.ope.fqe_box import FittedBoxQ, fit_box_q
from understudy.ope.propensity import EstimatedPropensities, fit_propensities
from understudy.ope.segments import By, Given, Grouped, Segments, segments
from understudy.ope.survey import Survey, survey
from understudy.ope.tally import Plan
from understudy.ope.visits import VisitRatio, fit_visits
from understudy.ops import returns


@dataclass(frozen=True)
class Setup:
    """The questions of ``evaluate`` that are settled before the pass."""

    targets: Mapping[str, Policy | None]
    q: str | Regressor | ValueModel | None
    folds: int
    by: str | By | Given | None
    propensity: str
    normalize: bool


@dataclass(frozen=True)
class Work:
    """What the pass needs besides the data."""

    plan: Plan
    problem: Problem
    rewards: CrossFit | None = None  # of a bandit: one q̂ for all targets
    values: Mapping[str, FittedQ | FittedBoxQ] = field(default_factory=dict)  # of episodes, or in a box: Q̂ of each
    visits: Mapping[str, VisitRatio] = field(default_factory=dict)  # ω of each target
    behavior: EstimatedPropensities | None = None
    slices: Segments | Grouped | None = None


def prepare(data: LoggedDataset, plan: Plan, setup: Setup) -> Work:
    """The first passes, where they are needed: how long episodes are, what is fitted, where edges lie."""
    problem, notes = data.problem, []
    looked: Survey | None = None
    if not problem.bandit or setup.normalize:
        looked = survey(data, problem)
        if looked is None:
            raise _empty()
        notes += looked.note
    model = _model(plan, setup)
    fits = model is not None and not hasattr(model, "values")
    episodes = not problem.bandit or setup.q == TABULAR or not problem.actions.discrete  # Q̂ of each target
    whole = (
        fits or (_learns_visits(plan) and not problem.bandit) or setup.by is not None or setup.propensity == "estimate"
    )
    sample = sample_of(data) if whole else next(iter(data.scan()), None)
    if sample is None or sample.n == 0:
        raise _empty()
    if fits and sample.n < data.n_steps:
        notes.append(f"reward model fitted on {sample.n:,} of {data.n_steps:,} rows, sampled by unit")
    behavior = None
    if setup.propensity == "estimate":
        behavior = fit_propensities(sample, problem, folds=setup.folds, seed=plan.seed)
        sample = behavior.apply(sample)
        notes.append(behavior.note)
    slices = None if setup.by is None else segments(setup.by, problem, sample)
    plan = replace(plan, segments=() if slices is None else slices.labels, notes=tuple(notes))
    plan = _looked(plan, problem, sample, looked, setup.normalize)
    work = Work(plan, problem, behavior=behavior, slices=slices, visits=_visits(sample, problem, plan, setup))
    if model is None:
        return work
    if not episodes:
        fitted = crossfit(sample, problem, model, setup.folds, plan.seed) if fits else CrossFit((model,), 0)  # type: ignore[arg-type]
        return replace(work, rewards=fitted)
    return replace(work, values=_values(sample, problem, plan, setup))


def _looked(plan: Plan, problem: Problem, sample: Steps, looked: Survey | None, normalize: bool) -> Plan:
    """The plan with what the first passes found out."""
    logged, why = looked.logged() if looked is not None and normalize else (None, "")
    low, high = plan.reward_range
    if not problem.bandit:
        low, high = returns.bounds(low, high, problem.discount, problem.horizon, sample.span is not None)
        if plan.streams and not np.isfinite([low, high]).all():
            raise EvidenceError(
                "returns have no bound: steps take unequal time, and the problem has no horizon",
                f"{plan.method} needs the lowest and highest return there can be.",
                "Give the problem a horizon, or use method jackknife.",
                field="horizon",
            )
    return replace(
        plan,
        common=commonest(sample.reward if problem.bandit else returns.totals(sample, problem.discount)),
        notes=(*plan.notes, why) if why else plan.notes,
        horizon=1 if looked is None else max(looked.longest, 1),
        logged=logged,
        lost=0.0 if looked is None else looked.lost / looked.episodes,
        reward_range=(low, high),
    )


def weighed(
    steps: Steps, targets: Mapping[str, Policy | None], work: Work
) -> tuple[dict[str, Evidence], list[np.ndarray | None]]:
    """Evidence of every target about one batch, and π(·|x) [n, k] of those that offer it."""
    discount = work.problem.discount
    values = None if work.rewards is None else work.rewards.values(steps)
    evidence: dict[str, Evidence] = {}
    probs: list[np.ndarray | None] = []
    for name in work.plan.targets:
        policy, pi = targets.get(name), None
        if policy is None:
            e = as_logged(steps, discount)
        elif hasattr(policy, "probs"):
            pi = np.asarray(policy.probs(steps.context, steps.allowed), np.float64)  # type: ignore[union-attr]
            own = cast("FittedQ | None", work.values.get(name))
            e = weigh(steps, pi, values if own is None else own.values(steps), discount)
            e = e if own is None else replace(e, v_end=own.end(steps, policy))
        else:
            e = densities(steps, policy.prob(steps.context, steps.action, steps.allowed), discount)
            own = work.values.get(name)
            if isinstance(own, FittedBoxQ):
                q, v = own.judged(steps, policy)
                e = replace(e, q=q, v=v, v_end=own.end(steps, policy))
        omega = e.density_ratio if name not in work.visits else work.visits[name](steps)
        evidence[name] = replace(e, horizon=work.plan.horizon, density_ratio=omega)
        probs.append(pi)
    return evidence, probs


def commonest(values: np.ndarray) -> float:
    """The most frequent value; 0 of none."""
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()]) if len(found) else 0.0


def _model(plan: Plan, setup: Setup) -> Any:
    """The reward model that some estimator needs; None if none does."""
    if not any("q" in estimator.needs for _, estimator in plan.estimators):
        return None
    return TABULAR if setup.q == TABULAR else reward_model(setup.q)


def _values(sample: Steps, problem: Problem, plan: Plan, setup: Setup) -> dict[str, FittedQ | FittedBoxQ]:
    """Q̂ of every target that is not the log itself."""
    fitted: dict[str, FittedQ | FittedBoxQ] = {}
    how: dict[str, Any] = {"folds": setup.folds, "seed": plan.seed}
    for name in plan.targets:
        policy = setup.targets.get(name)
        if policy is None:
            continue
        if not problem.actions.discrete:
            fitted[name] = fit_box_q(sample, problem, policy, _regressor(setup.q), **how)
            continue
        require_discrete(policy)
        if hasattr(setup.q, "values"):
            fitted[name] = FittedQ(CrossFit((setup.q,), 0), False, problem.horizon, problem.actions.k)  # type: ignore[arg-type]
        else:
            fitted[name] = fit_q(sample, problem, policy, setup.q, **how)  # type: ignore[arg-type]
    return fitted


def _regressor(q: Any) -> str | Regressor:
    if hasattr(q, "values"):
        raise ConfigError(
            "a fitted model of named actions cannot value continuous ones", hint='Give q="ridge", or a regressor.',
            field="q",
        )  # fmt: skip
    return q


def _learns_visits(plan: Plan) -> bool:
    return any("density_ratio" in estimator.needs for _, estimator in plan.estimators)


def _visits(sample: Steps, problem: Problem, plan: Plan, setup: Setup) -> dict[str, VisitRatio]:
    """ω of every target that is not the log itself, where some estimator needs it."""
    if not _learns_visits(plan) or problem.bandit:
        return {}
    if sample.propensity is None:
        raise EvidenceError("visit ratios need propensities, and the log has none", field="propensity")
    policies = {name: policy for name in plan.targets if (policy := setup.targets.get(name)) is not None}
    fit = {"folds": setup.folds, "seed": plan.seed}
    return {name: fit_visits(sample, problem, policy, **fit) for name, policy in policies.items()}


def _empty() -> EvidenceError:
    return EvidenceError("the log is empty", "Nothing can be estimated from nothing.")
