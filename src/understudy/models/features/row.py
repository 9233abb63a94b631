"""One row through a feature map in plain floats, bit for bit what the map makes of it, for a third of its price."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from understudy.models.features.kinds import CENTERED, EDGE, ROUND, FittedFeature
from understudy.ops.boxcox import NO_POWER

Inputs = Callable[[float], list[float]]  # raw value → its inputs
Argument = Callable[[float], float]  # raw value → what is put into the logarithm
LOGARITHMIC = frozenset({"probability", "boxcox", "clip_log"})
EXACT = LOGARITHMIC | {
    "number", "boolean", "category", "missing", "binary", "continuous", "enum", "quantile", "continuous_action",
    "untouched",
}  # fmt: skip


def row_inputs(columns: Sequence[FittedFeature]) -> Callable[[np.ndarray], np.ndarray]:
    """f32[1, d] → f32[d′] of columns in the order of their inputs, each of a kind in EXACT.

    + − × / and comparisons of floats round as NumPy's do; logarithms are taken by NumPy, all in one call.
    """
    plain = [(column.source, _inputs(column)) for column in columns]
    curved = [column for column in columns if column.kind in LOGARITHMIC]
    if not curved:
        return lambda context: _flat(plain, context[0].tolist())
    arguments = [(column.source, _argument(column)) for column in curved]
    powers = [(i, _power(column)) for i, column in enumerate(curved) if column.kind == "boxcox"]
    width = len(curved)

    def inputs(context: np.ndarray) -> np.ndarray:
        raw = context[0].tolist()
        logs = np.log(np.array([argument(raw[source]) for source, argument in arguments])).tolist()
        if powers:
            with np.errstate(over="ignore"):
                grown = np.expm1(np.array([power * logs[i] for i, power in powers])).tolist()
            for (i, power), y in zip(powers, grown):
                logs[i] = y / power
        made, at = [], 0
        for source, of in plain:
            if of is None:
                made.append(_clamped(curved[at], logs[at]))
                at += 1
            else:
                made += of(raw[source])
        assert at == width
        return np.array(made, np.float32)

    return inputs


def _flat(plain: list, raw: list[float]) -> np.ndarray:
    return np.array([z for source, of in plain for z in of(raw[source])], np.float32)


def _clamped(column: FittedFeature, z: float) -> float:
    if column.kind in CENTERED:
        z = (z - column.location) / column.scale
    return 0.0 if z != z else min(max(z, -column.limit), column.limit)


def _power(column: FittedFeature) -> float:
    return column.power if abs(column.power) >= NO_POWER else NO_POWER


def _argument(column: FittedFeature) -> Argument:
    """The argument of a logarithmic kind; NaN stays NaN, because ``max`` keeps its first of two it cannot order."""
    if column.kind == "probability":

        def odds(x: float) -> float:
            p = min(max(x, EDGE), 1 - EDGE)
            return p / (1 - p)

        return odds
    if column.kind == "clip_log":
        return lambda x: max(x, ROUND)
    shift, margin = column.shift, column.margin
    return lambda x: max(x + shift, margin)


def _inputs(column: FittedFeature) -> Inputs | None:
    """The inputs of a kind without logarithms; None for the others."""
    kind = column.kind
    if kind in LOGARITHMIC:
        return None
    if kind in ("category", "enum"):
        codes = [float(code) for code in range(column.values)] if kind == "category" else list(column.points)
        return lambda x: [1.0 if x == code else 0.0 for code in codes]
    if kind == "missing":
        return lambda x: [1.0 if x != x else 0.0]
    if kind == "boolean":
        return lambda x: [0.5 if x != x else min(max(x, 0.0), 1.0)]
    if kind == "binary":
        return lambda x: [1.0 if x != 0.0 and x == x else 0.0]
    if kind == "quantile":
        return _quantile(column.points)
    if kind == "continuous_action":
        return _action(column)
    return lambda x: [_clamped(column, x)]


def _quantile(points: tuple[float, ...]) -> Inputs:
    from bisect import bisect_right

    first, last, pieces = points[0], points[-1], len(points) - 1

    def inputs(x: float) -> list[float]:
        if x != x or x <= first:
            return [0.0]
        if x >= last:
            return [1.0]
        i = bisect_right(points, x) - 1
        start = points[i]
        return [(i + (x - start) / (points[i + 1] + ROUND - start)) / pieces]

    return inputs


def _action(column: FittedFeature) -> Inputs:
    assert column.low is not None and column.high is not None
    low, slope = column.low, 2 * (1 - ROUND) / (column.high - column.low)

    def inputs(x: float) -> list[float]:
        z = min(max((x - low) * slope - 1 + ROUND, ROUND - 1), 1 - ROUND)
        return [0.0 if z != z else min(max(z, -column.limit), column.limit)]

    return inputs
