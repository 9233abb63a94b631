"""The fold behind every estimate: start, add a batch, ``+``. All that is kept of the data is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.evidence import Evidence, Totals
from understudy.core.hashing import buckets
from understudy.core.protocols import Estimator
from understudy.ope import sequential
from understudy.ops.blocks import BLOCKS, block_sums

LOGGED = "logged"  # the behavior policy itself, as a target
_COMPACT = 32  # batches of unit weights that are held apart before they are merged


@dataclass(frozen=True)
class Plan:
    """What is estimated, of whom, and how: fixed before the first row is read."""

    targets: tuple[str, ...]
    estimators: tuple[tuple[str, Estimator], ...]  # (label, estimator)
    pairs: tuple[tuple[str, str], ...] = ()  # differences a − b
    segments: tuple[str, ...] = ()  # labels; empty = everybody only
    reward_range: tuple[float, float] = (0.0, 1.0)
    level: float = 0.95
    blocks: int = BLOCKS
    method: str = "jackknife"
    common: float = 0.0  # the most common reward: rows that have it say least
    seed: int = 0
    notes: tuple[str, ...] = ()
    horizon: int = 1  # T of terms with a column per step: the longest episode; 1 = a bandit
    lost: float = 0.0  # mean over episodes of the discount of what came after they were cut, and nobody saw
    logged: float | None = None  # mean return of the log, where values are to be normalized by it

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that gets a value: targets, then differences."""
        return (*self.targets, *(f"{a} - {b}" for a, b in self.pairs))

    @property
    def streams(self) -> bool:
        """Whether exact bounds are wanted, which need every episode's weight and reward."""
        return self.method in ("betting", "empirical_bernstein")

    @property
    def reads(self) -> tuple[str, ...]:
        """Which weights the estimators rest on: those of whole episodes, of decisions so far, of single steps, …"""
        if self.horizon == 1:
            return ("step",)
        return tuple(dict.fromkeys(reads(estimator) for _, estimator in self.estimators))


@dataclass(frozen=True)
class UnitWeights:
    """Σ of weights per (segment, unit), in batches that merge: what ESS of independent units needs.

    Memory: 10 + 8·C bytes per distinct unit and segment, C the number of targets and differences.
    """

    parts: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]  # (segment i16[u], unit u64[u], weight f64[u, C])

    def __add__(self, other: UnitWeights) -> UnitWeights:
        both = UnitWeights(self.parts + other.parts)
        return both if len(both.parts) <= _COMPACT else both.merged()

    def merged(self) -> UnitWeights:
        """One batch in which every (segment, unit) stands once."""
        segment, unit, weight = (np.concatenate([part[i] for part in self.parts]) for i in range(3))
        return UnitWeights((_by_unit(segment, unit, weight),))

    def of(self, segment: int | None) -> np.ndarray:
        """f64[units, C] weights of each unit, in one segment or in all."""
        where, unit, weight = (self.merged() if len(self.parts) > 1 else self).parts[0]
        if segment is not None:
            return weight[where == segment]
        return _by_unit(np.zeros(len(unit), np.int16), unit, weight)[2] if where.any() else weight


@dataclass(frozen=True)
class Tally:
    """Totals of every estimator on every target, and what the refusal rules read; ``a + b`` is the whole.

    S segments, K blocks, P term columns of all targets and estimators, C targets and differences times the kinds of
    weight that estimators rest on (``Plan.reads``; in a bandit there is one), T targets, H steps.
    """

    sums: np.ndarray  # f64[S, K, P]
    counts: np.ndarray  # f64[S, K] episodes
    matched: np.ndarray  # i64[S, C] rows on which log and target agree (differences: on which the two disagree)
    informative: np.ndarray  # i64[S, C] episodes of weight whose return is not the most common one
    propensity: np.ndarray  # f64[2] −smallest, largest: merged by maximum
    units: UnitWeights
    widths: tuple[int, ...]  # term columns of each estimator, the same for every target
    streams: tuple[tuple[np.ndarray, ...], ...] = ()  # per batch: segment, return, weight [m, T]
    steps: np.ndarray | float = 0.0  # f64[T, 2, H] Σ w_{0:t} and Σ w_{0:t}² of all episodes; none in a bandit

    def __add__(self, other: Tally) -> Tally:
        kept = {"propensity": np.maximum(self.propensity, other.propensity), "widths": self.widths}
        return Tally(**kept, **{n: getattr(self, n) + getattr(other, n) for n in _ADDED})

    def totals(self, target: int, estimator: int, segment: int | None) -> Totals:
        """Block totals of one estimator on one target; ``segment`` None is everybody."""
        first = target * sum(self.widths) + sum(self.widths[:estimator])
        part = self.sums[..., first : first + self.widths[estimator]]  # [S, K, p]
        if segment is None:
            return Totals(part.sum(0), self.counts.sum(0))
        return Totals(part[segment], self.counts[segment])


_ADDED = ("sums", "counts", "matched", "informative", "units", "streams", "steps")
MOST_TERMS = 4_000_000  # numbers of terms that are made at a time


def tally(evidence: Mapping[str, Evidence], plan: Plan, segment: np.ndarray | None = None) -> Tally:
    """Add up one batch: the same steps seen by every target of the plan. ``segment`` i64[m] in [0, S)."""
    first = evidence[plan.targets[0]]
    steps = first.steps
    where = np.zeros(steps.m, np.int64) if segment is None else segment
    size = max(len(plan.segments), 1)
    index = where * plan.blocks + buckets(steps.unit, plan.blocks)
    parts = [
        _sums(estimator, evidence[t], index, size * plan.blocks)
        for t in plan.targets
        for _, estimator in plan.estimators
    ]
    sums = np.concatenate([part.sums for part in parts], axis=1)  # f64[S·K, P]
    b = steps.propensity
    overlap = _rows if plan.horizon == 1 else _episodes
    return Tally(
        sums=sums.reshape(size, plan.blocks, -1),
        counts=parts[0].counts.reshape(size, plan.blocks),
        propensity=np.array([-np.inf, 0.0]) if b is None or not len(b) else np.array([-b.min(), b.max()]),
        widths=tuple(part.sums.shape[1] for part in parts[: len(plan.estimators)]),
        **overlap(evidence, plan, where, size),
    )


def reads(estimator: Estimator) -> str:
    """Which weights an estimator of episodes rests on; whole episodes' unless it says otherwise."""
    return getattr(estimator, "reads", "episode")


def _sums(estimator: Estimator, e: Evidence, index: np.ndarray, k: int) -> Totals:
    """Terms summed by block, of as many episodes at a time as keeps the terms small."""
    most = max(MOST_TERMS // (4 * (e.horizon or 1)), 1)
    if e.steps.m <= most:
        return block_sums(estimator.terms(e), index, k)
    total: Totals | None = None
    for at in range(0, e.steps.m, most):
        stop = min(at + most, e.steps.m)
        part = block_sums(estimator.terms(sequential.piece(e, at, stop)), index[at:stop], k)
        total = part if total is None else total + part
    assert total is not None
    return total


def _rows(evidence: Mapping[str, Evidence], plan: Plan, where: np.ndarray, size: int) -> dict[str, Any]:
    """What log and targets share, row by row of a bandit."""
    steps = evidence[plan.targets[0]].steps
    ratio = np.stack([np.nan_to_num(evidence[t].ratio) for t in plan.targets], axis=1)  # f64[n, T]
    gaps = _gaps(ratio, plan)
    weight = np.column_stack([ratio, *gaps]) if gaps else ratio  # f64[n, C]
    agree = [_agree(evidence[t]) for t in plan.targets] + [gap > 1e-12 for gap in gaps]
    rare = steps.reward != plan.common
    row = where if steps.m == steps.n else np.repeat(where, np.diff(steps.starts))
    unit = steps.unit if steps.m == steps.n else steps.row_unit
    return {
        "matched": _count(row, agree, size),
        "informative": _count(row, [(w > 0) & rare for w in weight.T], size),
        "units": UnitWeights((_by_unit(row.astype(np.int16), unit, weight),)),
        "streams": ((row, steps.reward, ratio),) if plan.streams else (),
    }


def _episodes(evidence: Mapping[str, Evidence], plan: Plan, where: np.ndarray, size: int) -> dict[str, Any]:
    """What log and targets share, episode by episode, for each kind of weight that an estimator rests on."""
    first = evidence[plan.targets[0]]
    columns, agree = [], []
    row = np.repeat(where, np.diff(first.steps.starts))
    for kind in plan.reads:
        per_row = [np.nan_to_num(sequential.rests_on(evidence[t], kind)) for t in plan.targets]
        per_row += _gaps(np.stack(per_row, axis=1), plan)
        agree += [w > 1e-12 for w in per_row]
        columns += [sequential.mean_weight(first, w) for w in per_row]
    weight = np.stack(columns, axis=1)  # f64[m, C]
    gain = sequential.total(first)
    rare = np.abs(gain - plan.common) > 1e-9 * (1 + abs(plan.common))
    final = np.stack([np.nan_to_num(sequential.final(evidence[t])) for t in plan.targets], axis=1)
    return {
        "matched": _count(row, agree, size),
        "informative": _count(where, [(w > 0) & rare for w in weight.T], size),
        "units": UnitWeights((_by_unit(where.astype(np.int16), first.steps.unit, weight),)),
        "streams": ((where, gain, final),) if plan.streams else (),
        "steps": np.stack([sequential.moments(evidence[t], plan.horizon) for t in plan.targets]),
    }


def _gaps(weight: np.ndarray, plan: Plan) -> list[np.ndarray]:
    """|w_a − w_b| of every pair. [n, T] → [n] each."""
    order = {t: j for j, t in enumerate(plan.targets)}
    return [np.abs(weight[:, order[a]] - weight[:, order[b]]) for a, b in plan.pairs]


def _agree(e: Evidence) -> np.ndarray:
    return e.match if e.match is not None else e.ratio > 0


def _count(row: np.ndarray, marks: list[np.ndarray], size: int) -> np.ndarray:
    if size == 1:
        return np.array([[np.count_nonzero(mark) for mark in marks]], np.int64)
    return np.stack([np.bincount(row[mark], minlength=size) for mark in marks], axis=1)


def _by_unit(segment: np.ndarray, unit: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights summed per (segment, unit); rows come out sorted by unit, then segment."""
    order = np.lexsort((segment, unit)) if segment.any() else np.argsort(unit, kind="stable")
    segment, unit = segment[order], unit[order]
    new = np.ones(len(unit), bool)
    new[1:] = (unit[1:] != unit[:-1]) | (segment[1:] != segment[:-1])
    if new.all():
        return segment, unit, weight[order]
    at = np.flatnonzero(new)
    return segment[at], unit[at], np.add.reduceat(weight[order], at, axis=0)
