"""A finished study of coupon policies → everything its report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from understudy import __version__
from understudy.core.problem import Problem
from understudy.envs.retail.metrics import Metrics, per_step, share_per_step
from understudy.report.compare_model import Number
from understudy.report.retail_model import Cell, Dot, Judgement, Policy, Segmentation, Shop, Size
from understudy.runs.shop.customers import Groups, History, history
from understudy.runs.shop.judged import Judged, figures, judged, world_of
from understudy.runs.shop.numbers import difference, mean, ratio, where
from understudy.runs.sweep.beside import TRUE_RETURN, TRUE_VALUE
from understudy.runs.sweep.study import Study

DOTS = 400  # customers drawn in the scatter


def shop(study: Study) -> Shop:
    """The report's content. Raises: ConfigError, DataError where the study is none of a shop or kept no traces."""
    world = world_of(study)
    problem, config = world.problem, study.plan.configs[0]
    found = judged(study, problem, len(world.terms.catalogue.sizes))
    past = history(world, config.evaluate.episodes, study.plan.seeds[0])
    random = next((each for each in found if each.kind == "random"), None)
    best = max((j for j in found if j.kind == "learned"), key=lambda j: j.metrics.revenue.mean(), default=None)
    numbers = {int(number) for number in found[0].metrics.environment}
    return Shop(
        title=study.plan.experiment.name, code_version=__version__, environments=len(numbers),
        customers=len(set(past.keys)), steps=problem.horizon or 0, seeds=study.plan.seeds,
        training=max((each.size for each in found), default=0), coupons=problem.actions.names,
        policies=tuple(_policy(study, each, random, best, problem) for each in found),
        segmentations=tuple(_segmentation(groups, found, random) for groups in past.groups),
        dots=_dots(past), relevance=past.relevance, sizes=_sizes(found), elasticity_rank=_rank(past),
        notes=_notes(study),
    )  # fmt: skip


def _policy(study: Study, j: Judged, random: Judged | None, best: Judged | None, problem: Problem) -> Policy:
    m = j.metrics
    earned = per_step(j.steps, problem, "revenue")
    return Policy(
        name=j.name, kind=j.kind, revenue=mean(m.revenue, m.environment),
        ratio=None if random is None else ratio(m, random.metrics),
        behind=None if best is None or best is j else difference(best.metrics, m),
        demand=float(m.demand.mean()), retention=mean(m.retention, m.environment),
        penetration=float(m.penetration.mean()), coupon_spend=float(m.coupon_spend.mean()),
        discount=float(m.discount.mean()), shares=_floats(m.share.mean(0)),
        cumulative=_floats(np.cumsum(np.nanmean(earned, 1))),
        mix=tuple(_floats(row) for row in share_per_step(j.steps, problem)),
        judgements=_judgements(figures(study, j.runs[0]), j.config.evaluate.by),
    )  # fmt: skip


def _judgements(told: Mapping[str, float], estimators: Sequence[str]) -> tuple[Judgement, ...]:
    """One-step estimates go with the mean over the log's states, those of episodes with the return earned."""
    found = []
    for name, value in told.items():
        if f"{name}_low" not in told or name.partition("(")[0] not in {each.partition("(")[0] for each in estimators}:
            continue
        low, high = told[f"{name}_low"], told[f"{name}_high"]
        truth = told.get(TRUE_VALUE if _one_step(name) else TRUE_RETURN)
        if truth is not None:
            known = np.isfinite([value, low, high]).all()
            found.append(Judgement(name, Number(value, low, high) if known else None, truth))
    return tuple(found)


def _one_step(name: str) -> bool:
    from understudy.runs.sweep.beside import ONE_STEP

    return name.partition("(")[0] in ONE_STEP


def _segmentation(groups: Groups, found: Sequence[Judged], random: Judged | None) -> Segmentation:
    cells, base = [], {}
    for j in sorted(found, key=lambda j: j is not random):
        index = groups.index(j.metrics.environment, j.customer)
        for code, label in enumerate(groups.labels):
            part = where(j.metrics, index == code)
            if not len(part.revenue):
                continue
            base = base | {label: part} if j is random else base
            cells.append(_cell(j.name, label, part, base.get(label)))
    order = {j.name: i for i, j in enumerate(found)}
    cells.sort(key=lambda cell: order[cell.policy])
    sizes = np.bincount(list(groups.of.values()), minlength=len(groups.labels))
    return Segmentation(
        groups.name, groups.note, groups.known, groups.labels, tuple(int(n) for n in sizes), tuple(cells)
    )


def _cell(policy: str, label: str, part: Metrics, base: Metrics | None) -> Cell:
    return Cell(policy, label, mean(part.revenue, part.environment), ratio(part, base),
                float(part.discount.mean()), _floats(part.share.mean(0)))  # fmt: skip


def _dots(past: History) -> tuple[Dot, ...]:
    chosen = np.linspace(0, len(past.keys) - 1, min(DOTS, len(past.keys))).astype(int)
    segment = past.groups[1].index(*np.array(past.keys)[chosen].T)
    return tuple(Dot(float(past.sensitivity[i]), float(past.revenue[i]), int(s)) for i, s in zip(chosen, segment))


def _rank(past: History) -> float | None:
    """Spearman's correlation of the estimated elasticity with the true price coefficient."""
    if len(past.keys) < 3:
        return None
    a, b = (np.argsort(np.argsort(x)).astype(float) for x in (past.elasticity, past.sensitivity))
    return float(np.corrcoef(a, b)[0, 1])


def _sizes(found: Sequence[Judged]) -> tuple[Size, ...]:
    """Learners at more than one number of training customers."""
    several = {}
    for j in found:
        if j.kind == "learned" and j.size:
            several.setdefault(j.config.learner, {})[j.size] = mean(j.metrics.revenue, j.metrics.environment)
    return tuple(
        Size(name, size, number) for name, by in several.items() if len(by) > 1 for size, number in sorted(by.items())
    )


def _notes(study: Study) -> tuple[str, ...]:
    failed = study.failures()
    names = [run for run in study.plan.runs() if run.id in failed]
    return tuple(f"{run.config.learner}, seed {run.seed}, failed: {failed[run.id].what}" for run in names)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
