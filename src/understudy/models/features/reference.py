"""The normalization JSON of batch reinforcement learning, read and written: {feature: a JSON text of its figures}.

What is read is applied by the formulas it was written for: limits of ±11.513, Box–Cox from 1e-6, missing values 0, no
presence indicators, inputs ordered by type and then by feature id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, DataError
from understudy.models.feature_map import FeatureMap
from understudy.models.features.kinds import CENTERED, CLAMP, VAST, FittedFeature, Kind, fault

# Their types in the order of their inputs; the two actions and the untouched differ in the clamp.
TYPES: dict[str, Kind] = {
    "BINARY": "binary",
    "PROBABILITY": "probability",
    "CONTINUOUS": "continuous",
    "BOXCOX": "boxcox",
    "ENUM": "enum",
    "QUANTILE": "quantile",
    "CONTINUOUS_ACTION": "continuous_action",
    "DISCRETE_ACTION": "untouched",
    "DO_NOT_PREPROCESS": "untouched",
    "CLIP_LOG": "clip_log",
}
_UNCLAMPED = ("ENUM", "DO_NOT_PREPROCESS")


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One feature as the JSON has it."""

    feature_type: str
    boxcox_lambda: float | None = None
    boxcox_shift: float | None = None
    mean: float | None = None
    stddev: float | None = None
    possible_values: tuple[int | float, ...] | None = None
    quantiles: tuple[float, ...] | None = None
    min_value: float | None = None
    max_value: float | None = None


def read_reference(raw: bytes | str, names: Sequence[str]) -> FeatureMap:
    """The feature map of a normalization JSON.

    Args:
        raw: the JSON; the value of each feature is itself a JSON text, or an object.
        names: the features of the problem in their order; each id of the JSON must be one of them.

    Raises: DataError if the text is not such a JSON, or holds figures that cannot be applied; ConfigError if it names
        a feature that the problem does not have.
    """
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any])
        figures = {name: _figures(entry) for name, entry in found.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"this is no normalization JSON: {error}", "No feature map can be made of it.") from error
    if strange := sorted(set(figures) - set(names)):
        raise ConfigError(
            f"{len(strange)} features of the JSON are not in the problem; first: {strange[0]!r}",
            hint=f"The problem has {', '.join(names[:10])}{' …' if len(names) > 10 else ''}",
            field=strange[0],
        )
    types = list(TYPES)
    order = sorted(figures, key=lambda name: (types.index(figures[name].feature_type), _id(name)))
    return FeatureMap(tuple(_column(name, figures[name], names.index(name)) for name in order))


def write_reference(features: FeatureMap) -> str:
    """The normalization JSON of a map: what ``identify_features`` fits, and what was read from such a JSON.

    A category is written as an enum of its codes. Presence indicators and the margin of Box–Cox have no place in that
    JSON, and are left out.

    Raises: ConfigError where a kind has no counterpart: number, signed_log, boolean, products of inputs.
    """
    if features.quadratic:
        raise ConfigError("products of inputs have no place in a normalization JSON", field="quadratic")
    made = {column.name: _entry(column) for column in features.columns if column.kind != "missing"}
    return msgspec.json.encode({name: msgspec.json.encode(entry).decode() for name, entry in made.items()}).decode()


def _figures(entry: Any) -> Figures:
    if isinstance(entry, str):
        return _known(msgspec.json.decode(entry, type=Figures))
    return _known(msgspec.convert(entry, Figures))


def _known(figures: Figures) -> Figures:
    if figures.feature_type not in TYPES:
        raise msgspec.ValidationError(f"{figures.feature_type!r} is none of {', '.join(TYPES)}")
    return figures


def _id(name: str) -> tuple[int, int, str]:
    """Numbers by size, then names."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _column(name: str, figures: Figures, source: int) -> FittedFeature:
    kind = TYPES[figures.feature_type]
    limit = VAST if figures.feature_type in _UNCLAMPED else CLAMP
    fitted: dict[str, Any] = {"low": figures.min_value, "high": figures.max_value}
    if kind in CENTERED:
        fitted |= {"location": _or(figures.mean, 0.0), "scale": _or(figures.stddev, 1.0)}
    if kind == "boxcox":
        if figures.boxcox_lambda is None:
            raise DataError(f"feature {name!r} of the JSON is BOXCOX and has no boxcox_lambda", field=name)
        fitted |= {"power": figures.boxcox_lambda, "shift": _or(figures.boxcox_shift, 0.0)}
    points = {"enum": figures.possible_values, "quantile": figures.quantiles}.get(kind)
    column = FittedFeature(
        kind=kind, source=source, name=name, limit=limit, points=tuple(map(float, points or ())), **fitted
    )
    if said := fault(column):
        raise DataError(f"feature {name!r} of the JSON {said}", "Its inputs would not be numbers.", field=name)
    return column


def _entry(column: FittedFeature) -> Figures:
    kinds = [name for name, kind in TYPES.items() if kind == column.kind]
    if column.kind == "category":
        return Figures(feature_type="ENUM", mean=0.0, stddev=1.0, possible_values=tuple(range(column.values)))
    if not kinds:
        raise ConfigError(
            f"{column.name!r} is a {column.kind}, which a normalization JSON cannot hold",
            hint="Maps made with features=identify can be written.",
            field=column.name,
        )
    of_action = column.kind == "untouched" and column.limit == CLAMP
    boxcox, points = column.kind == "boxcox", column.points or None
    return Figures(
        feature_type=kinds[0] if column.kind != "untouched" or of_action else "DO_NOT_PREPROCESS",
        boxcox_lambda=column.power if boxcox else None,
        boxcox_shift=column.shift if boxcox else None,
        mean=column.location,
        stddev=column.scale,
        possible_values=tuple(map(_whole, column.points)) if column.kind == "enum" else None,
        quantiles=points if column.kind == "quantile" else None,
        min_value=column.low,
        max_value=column.high,
    )
