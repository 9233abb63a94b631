"""Slices of a log by one feature: categories by value, numbers by edges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.registry import unknown
from understudy.core.steps import Steps

MOST = 1_000  # slices
BINS = 4  # quantile bins of a number without declared edges


@dataclass(frozen=True)
class By:
    """A feature to slice by; ``edges`` cut a number at declared places, otherwise at its quartiles."""

    feature: str
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Segments:
    """A fixed rule that gives every episode its segment by the context of its first step."""

    column: int
    labels: tuple[str, ...]
    edges: tuple[float, ...] | None  # None: the column holds codes

    def index(self, steps: Steps) -> np.ndarray:
        """i64[m] in [0, len(labels)); the last label is for missing values."""
        x = steps.context[steps.starts[:-1], self.column].astype(np.float64)
        last = len(self.labels) - 1
        code = np.nan_to_num(x, nan=last) if self.edges is None else np.searchsorted(self.edges, x, side="right")
        return np.where(np.isnan(x), last, np.minimum(code, last)).astype(np.int64)


def segments(by: str | By, problem: Problem, sample: Steps) -> Segments:
    """The rule for one feature. Numbers are cut at the edges given, or at the quartiles of ``sample``.

    Raises: ConfigError if the feature is unknown or the edges do not increase.
    """
    by = By(by) if isinstance(by, str) else by
    if by.feature not in problem.feature_names:
        raise unknown("feature", by.feature, problem.feature_names)
    column = problem.feature_names.index(by.feature)
    feature = problem.features[column]
    if feature.kind == "number":
        edges = by.edges or _quantiles(sample.context[:, column])
        if list(edges) != sorted(set(edges)):
            raise ConfigError(f"edges of {by.feature!r} must increase; got {list(edges)}", field="by")
        return Segments(column, _ranges(by.feature, edges), tuple(edges))
    values = ("false", "true") if feature.kind == "boolean" else feature.values
    values = (*values, "other") if feature.open else values
    if len(values) >= MOST:
        raise ConfigError(
            f"{by.feature!r} has {len(values)} values, above {MOST}", "Each would be a slice.", field="by"
        )
    return Segments(column, tuple(f"{by.feature}={value}" for value in (*values, "missing")), None)


def _quantiles(x: np.ndarray) -> tuple[float, ...]:
    known = x[~np.isnan(x)]
    if not len(known):
        return ()
    cuts = np.quantile(known.astype(np.float64), np.arange(1, BINS) / BINS)
    return tuple(float(cut) for cut in np.unique(cuts) if cut > known.min())


def _ranges(name: str, edges: tuple[float, ...]) -> tuple[str, ...]:
    if not edges:
        return (f"{name}=any", f"{name}=missing")
    inner = [f"{name}=[{a:g}, {b:g})" for a, b in pairwise(edges)]
    return (f"{name}=(-inf, {edges[0]:g})", *inner, f"{name}=[{edges[-1]:g}, inf)", f"{name}=missing")
