"""The kinds of model input: a raw column, a formula, and what was fitted to it.

A missing value (NaN) gives 0 in every kind that ``identify`` fits, and an infinite one is clamped as any other value
beyond the limit: the output is always finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np

from understudy.ops.boxcox import boxcox, inverse_boxcox

Kind = Literal[
    "number", "signed_log", "boolean", "category", "missing",
    "binary", "probability", "continuous", "boxcox", "enum", "quantile", "continuous_action", "clip_log", "untouched",
]  # fmt: skip
LIMIT = 1e6  # standardised numbers are clipped here, so that one absurd value stays a finite number
CLAMP = 11.513  # the logit of 1 − 1e-5: where the kinds of ``identify`` are clamped
VAST = 1e18  # untouched numbers are clipped here: their products still fit a float32
EDGE = 1e-5  # probabilities are kept this far from 0 and 1
ROUND = 1e-6  # actions stay this far inside ±1; logarithms start here; a quantile's width grows by it
_ROW = 64  # up to so many rows, comparing with all borders at once is cheaper than searching column by column

Formula = Callable[[np.ndarray], np.ndarray]  # raw f32[n, w] → inputs [n, w]


class FittedFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model input (a category or enum: several) made from one raw column x.

    number             (x − location) / scale, clipped to ±limit; missing becomes 0, the mean
    signed_log         (sign(x)·log(1 + |x|) − location) / scale, likewise
    boolean            x, missing becomes 0.5
    category           one input per value, and one for "any other" if the feature is open; missing is all zero
    missing            1 where the value is missing
    binary             1 if x ≠ 0
    probability        ln(p / (1 − p)), p = x clamped to [1e-5, 1 − 1e-5]
    continuous         (x − location) / scale, clipped to ±limit
    boxcox             ((y^power − 1) / power − location) / scale, y = max(x + shift, margin), clipped to ±limit
    enum               one input per point, in their order; any other value is all zero
    quantile           0 up to the first point, 1 from the last; between points i and i + 1 of K + 1:
                       (i + (x − points[i]) / (points[i + 1] + 1e-6 − points[i])) / K
    continuous_action  (x − low)·2(1 − ε) / (high − low) − 1 + ε, clamped to ±(1 − ε), ε = 1e-6
    clip_log           ln(max(x, 1e-6)), clipped to ±limit
    untouched          x, clipped to ±limit
    """

    kind: Kind
    source: int  # raw column
    name: str
    location: float = 0.0
    scale: float = 1.0
    limit: float = LIMIT
    values: int = 0  # inputs of a category
    power: float = 1.0
    shift: float = 0.0
    margin: float = ROUND
    points: tuple[float, ...] = ()
    low: float | None = None  # smallest and largest value that was seen
    high: float | None = None

    @property
    def width(self) -> int:
        """How many model inputs it makes."""
        if self.kind == "category":
            return self.values
        return len(self.points) if self.kind == "enum" else 1

    @property
    def names(self) -> list[str]:
        """A name per input."""
        if self.kind == "category":
            return [f"{self.name}={code}" for code in range(self.values)]
        if self.kind == "enum":
            return [f"{self.name}={point:g}" for point in self.points]
        return [self.name if self.kind in _PLAIN else f"{self.kind}({self.name})"]


CENTERED = frozenset({"number", "signed_log", "continuous", "boxcox"})  # kinds that use location and scale
_PLAIN = frozenset({"number", "boolean", "binary", "continuous", "continuous_action", "untouched"})
LATER = ("power", "shift", "margin", "points", "low", "high")  # fields that older files do not have


def written(feature: FittedFeature) -> dict:
    """Plain JSON; a feature without what came later is written as it always was."""
    made = msgspec.to_builtins(feature)
    default = FittedFeature(kind=feature.kind, source=0, name="")
    for field in LATER:
        if getattr(feature, field) == getattr(default, field):
            del made[field]
    return made


def fault(feature: FittedFeature) -> str:
    """What is wrong with its numbers, "" if nothing: what could not have been fitted is not applied."""
    numbers = (feature.location, feature.scale, feature.limit)
    if not np.isfinite(numbers).all() or feature.scale <= 0 or feature.limit <= 0:
        return f"has location, scale, limit {numbers}"
    if not 0 <= feature.source < 2**20 or not 0 <= feature.values < 2**20:
        return f"reads raw column {feature.source}"
    ends = [end for end in (feature.low, feature.high) if end is not None]
    if not np.isfinite([feature.power, feature.shift, feature.margin, *ends, *feature.points]).all():
        return "holds numbers that are not finite"
    if len(feature.points) >= 2**20 or (feature.margin <= 0 and feature.kind == "boxcox"):
        return "has too many points, or a margin that is not above 0"
    if feature.kind == "enum" and not 0 < len(set(feature.points)) == len(feature.points):
        return "is an enum, and lists no value, or one twice"
    if feature.kind == "quantile" and (len(feature.points) < 2 or (np.diff(feature.points) <= 0).any()):
        return "is a quantile, and its points do not ascend"
    if feature.kind == "continuous_action" and not (len(ends) == 2 and ends[0] < ends[1]):
        return "is an action, and has no low < high"
    return ""


def formula(kind: Kind, own: Sequence[FittedFeature]) -> Formula:
    """The formula of all features of one kind at once: one set of NumPy calls, however many they are.

    It takes a column per input (see ``FittedFeature.width``) and gives as many.
    """
    widths = [column.width for column in own]
    location, scale, limit = (
        np.repeat([getattr(column, name) for column in own], widths) for name in ("location", "scale", "limit")
    )
    if kind == "missing":
        return np.isnan
    if kind == "boolean":
        return lambda raw: np.where(np.isnan(raw), 0.5, np.clip(raw, 0.0, 1.0))
    if kind == "binary":
        return lambda raw: np.abs(raw) > 0
    if kind in ("category", "enum"):
        codes = [[float(code) for code in range(c.values)] if kind == "category" else c.points for c in own]
        points = np.asarray([point for column in codes for point in column])
        return lambda raw: raw == points
    if kind == "quantile":
        return _quantile(own)
    inner = _INNER[kind](own)

    def inputs(raw: np.ndarray) -> np.ndarray:
        """(z − location) / scale of the centered kinds, z of the others; within ±limit, 0 where missing."""
        raw = raw.astype(np.float64)
        z = raw if inner is None else inner(raw)
        if kind in CENTERED:
            z = (z - location) / scale
        return np.where(np.isnan(z), 0.0, np.clip(z, -limit, limit))

    return inputs


def signed_log(x: np.ndarray) -> np.ndarray:
    """sign(x)·ln(1 + |x|)."""
    return np.sign(x) * np.log1p(np.abs(x))


def logit(x: np.ndarray) -> np.ndarray:
    """ln(p / (1 − p)), p = x clamped to [1e-5, 1 − 1e-5]."""
    p = np.clip(x, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def _boxcox(own: Sequence[FittedFeature]) -> Formula:
    power, shift, margin = (np.array([getattr(c, name) for c in own]) for name in ("power", "shift", "margin"))
    return lambda x: boxcox(np.maximum(x + shift, margin), power)


def _action(own: Sequence[FittedFeature]) -> Formula:
    low = np.array([column.low for column in own], np.float64)
    slope = 2 * (1 - ROUND) / (np.array([column.high for column in own], np.float64) - low)
    return lambda x: np.clip((x - low) * slope - 1 + ROUND, ROUND - 1, 1 - ROUND)


_INNER: dict[str, Callable[[Sequence[FittedFeature]], Formula | None]] = {
    "number": lambda own: None,
    "signed_log": lambda own: signed_log,
    "continuous": lambda own: None,
    "untouched": lambda own: None,
    "probability": lambda own: logit,
    "clip_log": lambda own: lambda x: np.log(np.maximum(x, ROUND)),
    "boxcox": _boxcox,
    "continuous_action": _action,
}


def _quantile(own: Sequence[FittedFeature]) -> Formula:
    """Where a value stands among its borders, in [0, 1]."""
    most = max(len(column.points) for column in own)
    points = np.full((len(own), most), np.inf)  # [w, K + 1]
    for j, column in enumerate(own):
        points[j, : len(column.points)] = column.points
    pieces = np.array([len(column.points) - 1 for column in own])
    each, last = np.arange(len(own)), points[np.arange(len(own)), pieces]

    def inputs(raw: np.ndarray) -> np.ndarray:
        raw = raw.astype(np.float64)
        if len(raw) <= _ROW:
            i = (raw[:, :, None] >= points).sum(2) - 1
        else:
            i = np.stack([np.searchsorted(p, x, "right") for p, x in zip(points, raw.T)], axis=1) - 1
        i = np.minimum(np.maximum(i, 0), pieces - 1)
        start = points[each, i]
        z = (i + (raw - start) / (points[each, i + 1] + ROUND - start)) / pieces
        z = np.where(raw <= points[:, 0], 0.0, np.where(raw >= last, 1.0, z))
        return np.where(np.isnan(raw), 0.0, z)

    return inputs


def invert(feature: FittedFeature, z: np.ndarray) -> np.ndarray:
    """The raw values that give the inputs z, f64[n], of a kind that is one number; ends beyond the limits are clamped.

    At serving it turns the network's ±1 of a ``continuous_action`` into the action: low + (z + 1 − ε)(high − low) /
    2(1 − ε), z clamped to ±(1 − ε).
    """
    z = np.asarray(z, np.float64)
    if feature.kind == "continuous_action":
        assert feature.low is not None and feature.high is not None
        inside = np.clip(z, ROUND - 1, 1 - ROUND)
        return feature.low + (inside + 1 - ROUND) * ((feature.high - feature.low) / (2 * (1 - ROUND)))
    if feature.kind == "quantile":
        return np.interp(z, np.linspace(0, 1, len(feature.points)), feature.points)
    if feature.kind not in _INVERSE:
        raise ValueError(f"a {feature.kind} has no inverse")
    inside = np.clip(z, -feature.limit, feature.limit)
    if feature.kind in CENTERED:
        inside = inside * feature.scale + feature.location
    return _INVERSE[feature.kind](inside, feature)


_INVERSE: dict[str, Callable[[np.ndarray, FittedFeature], np.ndarray]] = {
    "number": lambda y, f: y,
    "continuous": lambda y, f: y,
    "untouched": lambda y, f: y,
    "signed_log": lambda y, f: np.sign(y) * np.expm1(np.abs(y)),
    "probability": lambda y, f: 1 / (1 + np.exp(-y)),
    "clip_log": lambda y, f: np.exp(y),
    "boxcox": lambda y, f: inverse_boxcox(y, f.power) - f.shift,
}
