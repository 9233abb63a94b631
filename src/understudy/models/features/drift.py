"""What moved between two feature maps: one fitted to this log, one to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.models.feature_map import FeatureMap
from understudy.models.features.kinds import CENTERED, FittedFeature, formula, invert

_GRID = 100


@dataclass(frozen=True)
class Drift:
    """How one feature of map b differs from map a."""

    name: str
    before: str  # kind in a, "" if it is not there
    after: str
    shift: float | None = None  # b's center in a's standard deviations
    spread: float | None = None  # b's standard deviation in a's
    quantile: float | None = None  # the largest |F_a − F_b| on either map's quantiles
    new_values: tuple[float, ...] = ()  # values of an enum that a does not list
    lost_values: tuple[float, ...] = ()

    @property
    def size(self) -> float:
        """One number to sort by: standard deviations, or quantiles in units of a normal's; inf if the kind changed."""
        if self.before != self.after:
            return float("inf")
        return max(abs(self.shift or 0.0), 3 * (self.quantile or 0.0), float(bool(self.new_values)))


def compare(a: FeatureMap, b: FeatureMap) -> tuple[Drift, ...]:
    """Feature by feature, the largest drift first; presence indicators are compared with their feature's kind.

    A centered kind: the raw values that b maps to 0 and to ±1 are looked at through a, which gives
    shift = φ_a(φ_b⁻¹(0)) and spread = (φ_a(φ_b⁻¹(1)) − φ_a(φ_b⁻¹(−1))) / 2. For plain numbers these are
    (mean_b − mean_a) / std_a and std_b / std_a.
    A quantile kind: the largest difference of the two distribution functions, as their points draw them.
    """
    ours, theirs = _by_name(a), _by_name(b)
    found = [_one(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]
    return tuple(sorted(found, key=lambda drift: -drift.size))


def _by_name(features: FeatureMap) -> dict[str, FittedFeature]:
    """The first column of each raw feature that is not its presence."""
    found: dict[str, FittedFeature] = {}
    for column in features.columns:
        if column.kind != "missing":
            found.setdefault(column.name, column)
    return found


def _one(name: str, a: FittedFeature | None, b: FittedFeature | None) -> Drift:
    before, after = (column.kind if column is not None else "" for column in (a, b))
    if a is None or b is None or a.kind != b.kind:
        return Drift(name, before, after)
    if a.kind in CENTERED:
        low, center, high = _seen(a, invert(b, np.array([-1.0, 0.0, 1.0])))
        return Drift(name, before, after, shift=float(center), spread=float(high - low) / 2)
    if a.kind == "quantile":
        points = np.concatenate([a.points, b.points, invert(b, np.linspace(0, 1, _GRID))])
        return Drift(name, before, after, quantile=float(np.abs(_seen(a, points) - _seen(b, points)).max()))
    new, lost = (tuple(sorted(set(x.points) - set(y.points))) for x, y in ((b, a), (a, b)))
    return Drift(name, before, after, new_values=new, lost_values=lost)


def _seen(column: FittedFeature, raw: np.ndarray) -> np.ndarray:
    """The inputs that a column makes of raw values, f64[n]."""
    return formula(column.kind, [column])(raw[:, None])[:, 0]
