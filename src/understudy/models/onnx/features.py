"""The feature map inside a graph: one converter per kind of column. Raw context f32[n, d] → model inputs f64[n, d′]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from understudy.core.errors import ConfigError
from understudy.models.feature_map import FeatureMap
from understudy.models.features.kinds import EDGE, ROUND, FittedFeature
from understudy.models.onnx.trace import Tensor, Trace

Own = Sequence[FittedFeature]  # all columns of one kind


def inputs(features: FeatureMap, context: Tensor) -> Tensor:
    """What ``features(context)`` gives, rounded to f32 as there, in f64. Raises ConfigError for an unknown kind."""
    parts = []
    for kind in dict.fromkeys(column.kind for column in features.columns):
        if kind not in KINDS:
            raise ConfigError(f"a feature map with columns of kind {kind!r} cannot be exported", field=kind)
        own = [column for column in features.columns if column.kind == kind]
        raw = context.take(np.repeat([column.source for column in own], [column.width for column in own]))
        parts.append(KINDS[kind](raw, own).astype(np.float32))
    z = Trace.concatenate(parts, 1) if parts else context.take(np.empty(0, np.int64))
    if features.quadratic:
        i, j = np.triu_indices(z.shape[1])
        z = Trace.concatenate([z, z.take(i) * z.take(j)], 1)
    return z.astype(np.float64)


def _each(own: Own, name: str) -> np.ndarray:
    return np.array([getattr(column, name) for column in own], np.float64)


def _number(inner: Callable[[Tensor, Own], Tensor]) -> Callable[[Tensor, Own], Tensor]:
    """Whatever ends in (z − location) / scale within ±limit, and in 0 where the value is missing."""

    def convert(raw: Tensor, own: Own) -> Tensor:
        # NaN is taken out before any comparison: what Min and Max make of it differs between runtimes.
        missing = Trace.isnan(raw)
        z = inner(Trace.where(missing, 0.0, raw).astype(np.float64), own)
        limit = _each(own, "limit")
        z = Trace.clip((z - _each(own, "location")) / _each(own, "scale"), -limit, limit)
        return Trace.where(missing, 0.0, z)

    return convert


def _plain(x: Tensor, own: Own) -> Tensor:
    return x


def _signed_log(x: Tensor, own: Own) -> Tensor:
    return Trace.sign(x) * Trace.log1p(Trace.abs(x))


def _logit(x: Tensor, own: Own) -> Tensor:
    p = Trace.clip(x, EDGE, 1 - EDGE)
    return Trace.log(p / (1 - p))


def _clip_log(x: Tensor, own: Own) -> Tensor:
    return Trace.log(Trace.maximum(x, ROUND))


def _boxcox(x: Tensor, own: Own) -> Tensor:
    power = _each(own, "power")
    power = np.where(np.abs(power) < 1e-100, 1e-100, power)  # stands for λ = 0: the quotient is ln x to the last bit
    return Trace.expm1(power * Trace.log(Trace.maximum(x + _each(own, "shift"), _each(own, "margin")))) / power


def _action(x: Tensor, own: Own) -> Tensor:
    low, high = _each(own, "low"), _each(own, "high")
    return Trace.clip((x - low) * (2 * (1 - ROUND) / (high - low)) - 1 + ROUND, ROUND - 1, 1 - ROUND)


def _boolean(raw: Tensor, own: Own) -> Tensor:
    missing = Trace.isnan(raw)
    return Trace.where(missing, 0.5, Trace.clip(Trace.where(missing, 0.0, raw), 0.0, 1.0))


def _codes(raw: Tensor, own: Own) -> Tensor:
    points = [column.points if column.kind == "enum" else range(column.values) for column in own]
    return raw.astype(np.float64).equals(np.array([float(point) for column in points for point in column]))


def _quantile(raw: Tensor, own: Own) -> Tensor:
    """Where a value stands among its borders, in [0, 1]: how many are not above it, and how far to the next."""
    most = max(len(column.points) for column in own)
    points = np.array([[*column.points, *[np.inf] * (most - len(column.points))] for column in own])  # [w, K + 1]
    pieces = np.array([len(column.points) - 1.0 for column in own])
    last = points[np.arange(len(own)), pieces.astype(np.int64)]
    flat, first = raw.graph.constant(points.ravel()), most * np.arange(len(own), dtype=np.float64)
    missing = Trace.isnan(raw)
    x = Trace.where(missing, 0.0, raw).astype(np.float64)
    i = Trace.clip((x[..., None] >= points).sum(2) - 1, 0.0, pieces - 1)
    place = (i + first).astype(np.int64)
    start = flat.at(place)
    z = (i + (x - start) / (flat.at(place + 1) + ROUND - start)) / pieces
    z = Trace.where(x <= points[:, 0], 0.0, Trace.where(x >= last, 1.0, z))
    return Trace.where(missing, 0.0, z)


KINDS: dict[str, Callable[[Tensor, Own], Tensor]] = {
    "number": _number(_plain),
    "signed_log": _number(_signed_log),
    "boolean": _boolean,
    "category": _codes,
    "missing": lambda raw, own: Trace.isnan(raw),
    "binary": lambda raw, own: Trace.abs(raw) > 0.0,
    "probability": _number(_logit),
    "continuous": _number(_plain),
    "boxcox": _number(_boxcox),
    "enum": _codes,
    "quantile": _quantile,
    "continuous_action": _number(_action),
    "clip_log": _number(_clip_log),
    "untouched": _number(_plain),
}
