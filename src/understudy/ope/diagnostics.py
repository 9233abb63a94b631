"""Can this log carry an estimate of that policy? Weights, overlap and support, and the log at a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from understudy.core.errors import ConfigError, EvidenceError
from understudy.core.hashing import buckets
from understudy.core.problem import Feature, Problem
from understudy.core.protocols import LoggedDataset, Policy
from understudy.core.registry import unknown
from understudy.core.steps import Steps
from understudy.core.summary import Diagnostics, Histogram, OverlapRow
from understudy.ope.summary import summarize
from understudy.ops import stats

__all__ = ["Weights", "diagnose", "ess", "summarize", "weigh"]

BLOCKS = 256
EDGES = np.round(np.arange(-4.0, 4.01, 0.25), 2)  # log10 of the weight; what lies outside falls into the end bins


@dataclass(frozen=True)
class Overlap:
    """Sums over the rows of one segment; ``a + b`` is the whole."""

    n: int = 0
    w: float = 0.0
    w2: float = 0.0
    largest: float = 0.0
    matched: int = 0
    mass: np.ndarray | float = 0.0  # f64[k] target probability per action
    bare: np.ndarray | float = 0.0  # f64[k] of which where the logged propensity of that action is 0
    logged: np.ndarray | float = 0.0  # f64[k] how often each action was logged

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            self.n + other.n,
            self.w + other.w,
            self.w2 + other.w2,
            max(self.largest, other.largest),
            self.matched + other.matched,
            self.mass + other.mass,
            self.bare + other.bare,
            self.logged + other.logged,
        )

    def unsupported(self, action: int | None = None) -> float:
        """Share of the target's probability on actions the log never took, or on rows where it could not."""
        mass, bare, logged = (np.atleast_1d(np.asarray(v, np.float64)) for v in (self.mass, self.bare, self.logged))
        lost = np.where(logged > 0, bare, mass)
        if action is not None:
            return float(lost[action] / mass[action]) if mass[action] > 0 else 0.0
        return float(lost.sum() / mass.sum()) if mass.sum() > 0 else 0.0

    def row(self, segment: str, action: int | None = None) -> OverlapRow:
        return OverlapRow(
            segment=segment,
            n=self.n,
            ess=ess(self.w, self.w2),
            max_weight_share=self.largest / self.w if self.w > 0 else 0.0,
            unsupported=self.unsupported(action),
            matched=self.matched,
        )


def ess(w: float, w2: float) -> float:
    """Effective sample size (Σ w)² / Σ w², 0 where no weight is positive. Source: Kish 1965."""
    return w * w / w2 if w2 > 0 else 0.0


@dataclass(frozen=True)
class Weights:
    """What one pass keeps of the weights; ``a + b`` is the whole, in order of rows."""

    rows: int
    whole: Overlap
    heaviest: int  # row of the largest weight, counted from the first row of this part
    sums: np.ndarray  # f64[3, BLOCKS] per block of units: weights, squared weights, episodes
    top: np.ndarray  # f64 the largest weights, in falling order
    bins: np.ndarray  # i64 histogram over EDGES
    keep: int
    segments: dict[str, Overlap] = field(default_factory=dict)

    def __add__(self, other: Weights) -> Weights:
        later = other.whole.largest > self.whole.largest
        names = dict.fromkeys([*self.segments, *other.segments])
        return replace(
            self,
            rows=self.rows + other.rows,
            whole=self.whole + other.whole,
            heaviest=self.rows + other.heaviest if later else self.heaviest,
            sums=self.sums + other.sums,
            top=np.sort(np.concatenate([self.top, other.top]))[::-1][: self.keep],
            bins=self.bins + other.bins,
            segments={n: self.segments.get(n, Overlap()) + other.segments.get(n, Overlap()) for n in names},
        )


def diagnose(data: LoggedDataset, target: Policy, *, name: str, by: str | None = None) -> Diagnostics:
    """The weights of one target policy on one log: is there overlap, and does any row decide alone?

    w = Π_t π(a_t|x_t) / b(a_t|x_t) per episode; ESS = (Σ w)² / Σ w²; E w = 1 if the propensities are right.

    Args:
        target: the policy to be evaluated; ``probs`` (discrete) adds matches and support.
        by: a feature whose segments get a row of overlap each, beside the rows per action.

    Raises:
        EvidenceError: the log has no propensities.
        ConfigError: ``by`` is not a feature.
    """
    segment = _segmenter(data, by)
    keep = stats.tail_size(data.n_episodes) + 1
    total: Weights | None = None
    for steps in data.scan():
        part = weigh(steps, target, data.problem, keep=keep, segment=segment)
        total = part if total is None else total + part
    if total is None or not total.rows:
        raise EvidenceError("the log is empty", "Nothing can be said about a policy from no decisions.")
    return _summary(total, data, name)


def weigh(
    steps: Steps, target: Policy, problem: Problem, *, keep: int, segment: Callable[[Steps], list] | None = None
) -> Weights:
    """One batch of ``diagnose``. ``segment`` gives (name, bool[n]) pairs."""
    if steps.propensity is None:
        raise EvidenceError(
            "the log has no propensities",
            "A weight is target probability ÷ propensity; without the latter there is none.",
            "Log the probability of each action, or evaluate with estimated propensities.",
        )
    rows = _Rows(steps, problem, *_ratios(steps, target, problem))
    w, block = rows.w, buckets(steps.unit, BLOCKS)
    with np.errstate(divide="ignore"):
        place = np.searchsorted(EDGES, np.log10(w), "right") - 1
    parts = {label: rows.overlap(keep_rows) for label, keep_rows in (segment(steps) if segment else [])}
    return Weights(
        rows=steps.n,
        whole=rows.overlap(np.ones(steps.n, bool)),
        heaviest=int(steps.starts[np.argmax(w)]),
        sums=np.array([np.bincount(block, weights=v, minlength=BLOCKS) for v in (w, w * w, np.ones(steps.m))]),
        top=np.sort(w)[::-1][:keep],
        bins=np.bincount(np.clip(place, 0, len(EDGES) - 2), minlength=len(EDGES) - 1),
        keep=keep,
        segments=parts | rows.by_action(),
    )


@dataclass(frozen=True)
class _Rows:
    """One batch with its ratios, matches, target mass and mass without support."""

    steps: Steps
    problem: Problem
    ratio: np.ndarray
    match: np.ndarray
    mass: np.ndarray
    bare: np.ndarray

    @cached_property
    def w(self) -> np.ndarray:
        """f64[m] product of ratios per episode."""
        steps = self.steps
        return np.multiply.reduceat(self.ratio, steps.starts[:-1]) if steps.m < steps.n else self.ratio

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        if not self.problem.actions.discrete:
            return np.ones(1)
        return np.bincount(self.steps.action[rows], minlength=self.problem.actions.k)

    def overlap(self, rows: np.ndarray) -> Overlap:
        """Sums over the marked rows; an episode counts where its first row does."""
        heads = self.w[rows[self.steps.starts[:-1]]] if self.steps.m < self.steps.n else self.w[rows]
        return Overlap(
            n=int(rows.sum()),
            w=float(heads.sum()),
            w2=float((heads**2).sum()),
            largest=float(heads.max(initial=0.0)),
            matched=int(self.match[rows].sum()),
            mass=self.mass[rows].sum(0),
            bare=self.bare[rows].sum(0),
            logged=self._counts(rows),
        )

    def by_action(self) -> dict[str, Overlap]:
        """Rows on which each action was taken; the target's mass on it counts on all rows."""
        steps = self.steps
        row_w = self.w if steps.m == steps.n else np.repeat(self.w, np.diff(steps.starts))
        everywhere = self.overlap(np.ones(steps.n, bool))
        parts = {}
        for action, label in enumerate(self.problem.actions.names):
            rows = steps.action == action
            w = row_w[rows]
            parts[f"\0{label}"] = replace(
                everywhere,
                n=int(rows.sum()),
                w=float(w.sum()),
                w2=float((w**2).sum()),
                largest=float(w.max(initial=0.0)),
                matched=int(self.match[rows].sum()),
            )
        return parts


def _ratios(steps: Steps, target: Policy, problem: Problem) -> tuple[np.ndarray, ...]:
    """ratio f64[n], match bool[n], target mass f64[n, k], of which without support f64[n, k]."""
    assert steps.propensity is not None
    probs = getattr(target, "probs", None)
    if probs is None or not problem.actions.discrete:
        ratio = target.prob(steps.context, steps.action, steps.allowed) / steps.propensity
        return ratio, np.zeros(steps.n, bool), np.zeros((steps.n, 1)), np.zeros((steps.n, 1))
    p = probs(steps.context, steps.allowed)  # [n, k]
    chosen = np.take_along_axis(p, steps.action[:, None].astype(np.int64), 1)[:, 0]
    bare = np.zeros_like(p) if steps.propensities is None else np.where(steps.propensities > 0, 0.0, p)
    return chosen / steps.propensity, chosen >= p.max(1) - 1e-12, p, bare


def _summary(total: Weights, data: LoggedDataset, name: str) -> Diagnostics:
    w, _, episodes = total.sums
    m = float(episodes.sum())
    mean = float(w.sum() / m)
    return Diagnostics(
        target=name,
        n=total.rows,
        ess=ess(total.whole.w, total.whole.w2),
        max_weight_share=total.whole.largest / total.whole.w if total.whole.w > 0 else 0.0,
        heaviest=total.heaviest,
        pareto_k=stats.pareto_k(total.top, int(m)),
        mean_weight=mean,
        mean_weight_se=_mean_se(total, mean, clustered=data.problem.unit == "unit"),
        matched=total.whole.matched,
        unsupported=total.whole.unsupported(),
        weights=Histogram(edges=tuple(EDGES.tolist()), counts=tuple(int(c) for c in total.bins)),
        overlap=_overlap_rows(total, data.problem),
    )


def _overlap_rows(total: Weights, problem: Problem) -> tuple[OverlapRow, ...]:
    by_action = [total.segments[f"\0{label}"].row(label, action) for action, label in enumerate(problem.actions.names)]
    named = sorted(label for label in total.segments if not label.startswith("\0"))
    return tuple(by_action + [total.segments[label].row(label) for label in named])


def _mean_se(total: Weights, mean: float, *, clustered: bool) -> float:
    """Standard error of the mean weight; by a jackknife over blocks of units where units repeat."""
    w, w2, episodes = total.sums
    m = float(episodes.sum())
    if m < 2:
        return float("inf")
    if not clustered:
        return float(np.sqrt(max(w2.sum() / m - mean**2, 0.0) / (m - 1)))
    live = episodes > 0
    left = (w.sum() - w[live]) / np.maximum(m - episodes[live], 1)
    blocks = int(live.sum())
    return float(np.sqrt((blocks - 1) / blocks * ((left - left.mean()) ** 2).sum()))


def _segmenter(data: LoggedDataset, by: str | None) -> Callable[[Steps], list] | None:
    """How rows fall into segments of one feature: categories by value, numbers by the quartiles of the first batch."""
    if by is None:
        return None
    names = data.problem.feature_names
    if by not in names:
        raise unknown("feature", by, list(names))
    column = names.index(by)
    feature = data.problem.features[column]
    cuts = np.array([])
    if feature.kind == "number":
        first = next(iter(data.scan()), None)
        if first is None:
            raise ConfigError("the log is empty", field=by)
        values = first.context[:, column]
        values = values[np.isfinite(values)]
        cuts = np.unique(np.quantile(values, [0.25, 0.5, 0.75])) if len(values) else cuts
    return lambda steps: segments(steps.context[:, column], feature, cuts)


def segments(values: np.ndarray, feature: Feature, cuts: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """(name, bool[n]) of each segment present in a column f32[n] of a feature; missing values are one of their own."""
    missing = np.isnan(values)
    code = np.where(missing, -1, np.searchsorted(cuts, values, "right") if feature.kind == "number" else values)
    return [(f"{feature.name}={_label(int(c), feature, cuts)}", code == c) for c in np.unique(code)]


def _label(code: int, feature: Feature, cuts: np.ndarray) -> str:
    if code < 0:
        return "missing"
    if feature.kind == "boolean":
        return "true" if code else "false"
    if feature.kind == "category":
        return feature.values[code] if code < len(feature.values) else "other"
    low = "-∞" if code == 0 else f"{cuts[code - 1]:.4g}"
    high = "∞" if code == len(cuts) else f"{cuts[code]:.4g}"
    return f"[{low}, {high})"
