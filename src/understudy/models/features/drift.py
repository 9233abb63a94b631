"""What moved between two feature maps: one fitted to this log, one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from understudy.models.feature_map import FeatureMap
from understudy.models.features.kinds import CENTERED, FittedFeature, formula, invert
from understudy.models.features.profile import Profile

_GRID = 100
CODED = frozenset({"category", "enum", "binary", "boolean"})  # kinds of few values


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
    missing: tuple[float, float] | None = None  # share of rows without a value, before and after
    shares: float | None = None  # of a feature's codes: ½ Σ |share before − share after|

    @property
    def size(self) -> float:
        """One number to sort by: standard deviations, or quantiles in units of a normal's; inf if the kind changed."""
        if self.before != self.after:
            return float("inf")
        gone = 0.0 if self.missing is None else abs(self.missing[1] - self.missing[0])
        parts = (self.quantile or 0.0, self.shares or 0.0, gone)
        return max(abs(self.shift or 0.0), 3 * max(parts), float(bool(self.new_values)))


def compare(
    a: FeatureMap, b: FeatureMap, before: Profile | None = None, after: Profile | None = None
) -> tuple[Drift, ...]:
    """Feature by feature, the largest drift first; presence indicators are compared with their feature's kind.

    ``before`` and ``after`` are the profiles the maps were fitted to: a map alone does not say how often a value is
    missing, or each code of a category comes. Of more than 100,000 values the codes are counted in a sample.

    A centered kind: the raw values that b maps to 0 and to ±1 are looked at through a, which gives
    shift = φ_a(φ_b⁻¹(0)) and spread = (φ_a(φ_b⁻¹(1)) − φ_a(φ_b⁻¹(−1))) / 2. For plain numbers these are
    (mean_b − mean_a) / std_a and std_b / std_a.
    A quantile kind: the largest difference of the two distribution functions, as their points draw them.
    """
    ours, theirs = _by_name(a), _by_name(b)
    found = [_one(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]
    if before is not None and after is not None:
        place = {name: column.source for name, column in (ours | theirs).items()}
        found = [_counted(drift, place[drift.name], before, after) for drift in found]
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


def _counted(drift: Drift, i: int, before: Profile, after: Profile) -> Drift:
    """With the shares of missing rows and, where the kind reads codes, of every code."""
    rates = tuple(1 - float(seen.count[i]) / max(seen.rows, 1) for seen in (before, after))
    shares = None
    if {drift.before, drift.after} & CODED:
        own, other = _shares(before, i), _shares(after, i)
        shares = sum(abs(own.get(code, 0.0) - other.get(code, 0.0)) for code in own | other) / 2
    return replace(drift, missing=rates, shares=shares)


def _shares(seen: Profile, i: int) -> dict[float, float]:
    codes, counts = np.unique(seen.samples[i].ordered(), return_counts=True)
    return dict(zip(codes.tolist(), (counts / max(counts.sum(), 1)).tolist()))


def _seen(column: FittedFeature, raw: np.ndarray) -> np.ndarray:
    """The inputs that a column makes of raw values, f64[n]."""
    return formula(column.kind, [column])(raw[:, None])[:, 0]
