"""Slices of a log: by a feature, by an outcome that is a trait of the unit, or by groups that were made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.registry import unknown
from understudy.core.steps import Steps
from understudy.ops.segmenting import quantile_edges

MOST = 1_000  # slices
BINS = 4  # quantile bins of a number without declared edges


@dataclass(frozen=True)
class By:
    """A feature to slice by, or an outcome that never changes within a unit, such as a latent trait of a simulator.

    ``edges`` cut a number at declared places, otherwise it is cut into ``bins`` quantiles.
    """

    feature: str
    edges: tuple[float, ...] = ()
    bins: int = BINS


@dataclass(frozen=True)
class Given:
    """Groups of units that were made elsewhere, from other rows: by recency and frequency, by estimated elasticity.

    Args:
        units: u64[g] sorted. codes: i64[g] places in ``labels``.
    """

    name: str
    labels: tuple[str, ...]
    units: np.ndarray
    codes: np.ndarray

    def index(self, steps: Steps) -> np.ndarray:
        """i64[m]; a unit nobody grouped has the last code."""
        at = np.minimum(np.searchsorted(self.units, steps.unit), len(self.units) - 1)
        return np.where(self.units[at] == steps.unit, self.codes[at], len(self.labels)).astype(np.int64)


def given(name: str, labels: tuple[str, ...], units: np.ndarray, codes: np.ndarray) -> Given:
    """Groups of units u64[g] in any order. Raises: ConfigError for none, a unit twice, or codes without a label."""
    order = np.argsort(units, kind="stable")
    units, codes = units[order], np.asarray(codes)[order]
    if not len(units) or (units[1:] == units[:-1]).any() or codes.min() < 0 or codes.max() >= len(labels):
        raise ConfigError(f"the groups {name!r} are not one of {len(labels)} labels for each unit once", field="by")
    return Given(name, tuple(f"{name}={label}" for label in labels), units, codes)


@dataclass(frozen=True)
class Segments:
    """A fixed rule that gives every episode its segment by the context of its first step."""

    column: int
    labels: tuple[str, ...]
    edges: tuple[float, ...] | None  # None: the column holds codes
    outcome: bool = False  # the column is one of outcomes

    def index(self, steps: Steps) -> np.ndarray:
        """i64[m] in [0, len(labels)); the last label is for missing values."""
        x = _columns(steps, self.outcome)[steps.starts[:-1], self.column].astype(np.float64)
        last = len(self.labels) - 1
        code = np.nan_to_num(x, nan=last) if self.edges is None else np.searchsorted(self.edges, x, side="right")
        return np.where(np.isnan(x), last, np.minimum(code, last)).astype(np.int64)


@dataclass(frozen=True)
class Grouped:
    """``Given`` with a label for the units nobody grouped."""

    of: Given

    @property
    def labels(self) -> tuple[str, ...]:
        return (*self.of.labels, f"{self.of.name}=missing")

    def index(self, steps: Steps) -> np.ndarray:
        """i64[m] in [0, len(labels))."""
        return self.of.index(steps)


def segments(by: str | By | Given, problem: Problem, sample: Steps) -> Segments | Grouped:
    """The rule. Numbers are cut at the edges given, or at quantiles of ``sample``: ``"spent:2"`` at the median.

    Raises: ConfigError if the column is unknown, the edges do not increase, or an outcome changes within a unit.
    """
    if isinstance(by, Given):
        return Grouped(by)
    by = _read(by, problem) if isinstance(by, str) else by
    if by.feature in problem.outcome_names and by.feature not in problem.feature_names:
        return _by_trait(by, problem, sample)
    if by.feature not in problem.feature_names:
        raise unknown("feature", by.feature, [*problem.feature_names, *problem.outcome_names])
    column = problem.feature_names.index(by.feature)
    feature = problem.features[column]
    if feature.kind == "number":
        edges = _edges(by, sample.context[:, column])
        return Segments(column, _ranges(by.feature, edges), edges)
    values = ("false", "true") if feature.kind == "boolean" else feature.values
    values = (*values, "other") if feature.open else values
    if len(values) >= MOST:
        raise ConfigError(
            f"{by.feature!r} has {len(values)} values, above {MOST}", "Each would be a slice.", field="by"
        )
    return Segments(column, tuple(f"{by.feature}={value}" for value in (*values, "missing")), None)


def _read(text: str, problem: Problem) -> By:
    """``name``, or ``name:bins``."""
    name, colon, bins = text.rpartition(":")
    if not colon or text in problem.feature_names:
        return By(text)
    if not bins.isdigit() or not 2 <= int(bins) <= MOST:
        raise ConfigError(f"{text!r} names no number of quantiles", hint="For example: sensitivity:2", field="by")
    return By(name, bins=int(bins))


def _by_trait(by: By, problem: Problem, sample: Steps) -> Segments:
    """What an action brings about may not decide in which segment it is counted: the outcome must be a trait."""
    column = problem.outcome_names.index(by.feature)
    x = _columns(sample, outcome=True)[:, column]
    order = np.argsort(sample.row_unit, kind="stable")
    unit, ordered = sample.row_unit[order], x[order]
    same = unit[1:] == unit[:-1]
    if not same.any() or (ordered[1:][same] != ordered[:-1][same]).any():
        raise ConfigError(
            f"{by.feature!r} is an outcome, and not seen to be the same in all decisions of a unit",
            "Segments cut by what an action brought about would favor some actions.",
            "Slice by a feature, or by groups made from an earlier log.", field="by",
        )  # fmt: skip
    edges = _edges(by, x)
    return Segments(column, _ranges(by.feature, edges), edges, outcome=True)


def _columns(steps: Steps, outcome: bool) -> np.ndarray:
    """f[n, c] the columns that segments are cut from."""
    if not outcome:
        return steps.context
    if steps.outcomes is None:
        raise ConfigError("this log keeps no outcomes to slice by", field="by")
    return steps.outcomes


def _edges(by: By, x: np.ndarray) -> tuple[float, ...]:
    edges = by.edges or quantile_edges(x, by.bins)
    if list(edges) != sorted(set(edges)):
        raise ConfigError(f"edges of {by.feature!r} must increase; got {list(edges)}", field="by")
    return tuple(edges)


def _ranges(name: str, edges: tuple[float, ...]) -> tuple[str, ...]:
    if not edges:
        return (f"{name}=any", f"{name}=missing")
    inner = [f"{name}=[{a:g}, {b:g})" for a, b in pairwise(edges)]
    return (f"{name}=(-inf, {edges[0]:g})", *inner, f"{name}=[{edges[-1]:g}, inf)", f"{name}=missing")
