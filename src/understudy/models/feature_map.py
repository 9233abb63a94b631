"""Raw context to model inputs: the first layer of every model, fitted on the training slice and saved inside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps
from understudy.models.state import bad, only

Kind = Literal["number", "signed_log", "boolean", "category", "missing"]
LIMIT = 1e6  # standardised numbers are clipped here, so that one absurd value stays a finite number
WIDEST = 2_000  # inputs whose products are still worth making: 2,003,000 inputs in all


class FittedFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model input (a category: several) made from one raw column.

    number      (x − location) / scale, clipped to ±limit; missing becomes 0, the mean
    signed_log  (sign(x)·log(1 + |x|) − location) / scale, likewise
    boolean     x, missing becomes 0.5
    category    one input per value, and one for "any other" if the feature is open; missing is all zero
    missing     1 where the value is missing
    """

    kind: Kind
    source: int  # raw column
    name: str
    location: float = 0.0
    scale: float = 1.0
    limit: float = LIMIT
    values: int = 0  # inputs of a category

    @property
    def width(self) -> int:
        """How many model inputs it makes."""
        return self.values if self.kind == "category" else 1


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each raw column, mergeable by ``+``. Arrays are f64[2, d].

    Row 0 is the raw value, row 1 its signed logarithm. Source: Chan, Golub & LeVeque 1983, equations 1.5.
    """

    count: np.ndarray  # f64[d] values present
    missing: np.ndarray  # f64[d]
    mean: np.ndarray  # f64[2, d]
    spread: np.ndarray  # f64[2, d] Σ (x − mean)²

    @staticmethod
    def of(context: np.ndarray) -> Moments:
        """The moments of one batch, f32[n, d]; NaN is missing."""
        absent = np.isnan(context)
        count = (~absent).sum(0).astype(np.float64)
        raw = np.where(absent, 0.0, context.astype(np.float64))
        both = np.stack([raw, _signed_log(raw)])  # [2, n, d]
        mean = both.sum(1) / np.maximum(count, 1)
        spread = (np.where(absent, 0.0, both - mean[:, None]) ** 2).sum(1)
        return Moments(count, absent.sum(0).astype(np.float64), mean, spread)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        spread = self.spread + other.spread + delta**2 * self.count * share
        return Moments(count, self.missing + other.missing, self.mean + delta * share, spread)


@dataclass(frozen=True)
class FeatureMap:
    """f32[n, d] → f32[n, d′], always finite. ``quadratic`` adds the products of every two inputs, squares too."""

    columns: tuple[FittedFeature, ...]
    quadratic: bool = False

    def __call__(self, context: np.ndarray) -> np.ndarray:
        """Model inputs of raw contexts, f32[n, d] → f32[n, d′]."""
        z = self._plain(context)
        if not self.quadratic:
            return z
        i, j = self._pairs
        return np.concatenate([z, z[:, i] * z[:, j]], axis=1)

    def _plain(self, context: np.ndarray) -> np.ndarray:
        plan = self._plan
        parts = []
        for kind, (source, location, scale, limit) in plan.items():
            raw = context[:, source]
            if kind == "missing":
                parts.append(np.isnan(raw))
            elif kind == "category":  # location is the code of each input
                parts.append(raw == location)
            elif kind == "boolean":
                parts.append(np.where(np.isnan(raw), 0.5, np.clip(raw, 0.0, 1.0)))
            else:
                raw = raw.astype(np.float64)
                z = ((_signed_log(raw) if kind == "signed_log" else raw) - location) / scale
                parts.append(np.where(np.isnan(z), 0.0, np.clip(z, -limit, limit)))
        if not parts:
            return np.zeros((len(context), 0), np.float32)
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")

    @cached_property
    def width(self) -> int:
        """d′, the number of model inputs."""
        plain = sum(column.width for column in self.columns)
        return plain + plain * (plain + 1) // 2 if self.quadratic else plain

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name per model input, in their order."""
        found: list[str] = []
        for kind in self._plan:
            for column in self.columns:
                if column.kind == kind == "category":
                    found += [f"{column.name}={code}" for code in range(column.values)]
                elif column.kind == kind:
                    found.append(column.name if kind in ("number", "boolean") else f"{kind}({column.name})")
        if self.quadratic:
            found += [f"{found[i]}·{found[j]}" for i, j in zip(*self._pairs)]
        return tuple(found)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(sum(column.width for column in self.columns))

    @cached_property
    def _plan(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Per kind, arrays over its inputs, so that a row costs a handful of NumPy calls whatever d is."""
        plan = {}
        for kind in dict.fromkeys(column.kind for column in self.columns):
            own = [column for column in self.columns if column.kind == kind]
            widths = [column.width for column in own]
            codes = [float(code) for column in own for code in range(column.values)]
            location = codes if kind == "category" else [column.location for column in own]
            plan[kind] = (
                np.repeat([column.source for column in own], widths),
                np.asarray(location),
                np.repeat([column.scale for column in own], widths),
                np.repeat([column.limit for column in own], widths),
            )
        return plan

    def state(self) -> State:
        extra = {"quadratic": True} if self.quadratic else {}  # a plain map is written as it always was
        return State("feature_map", {"columns": [msgspec.to_builtins(column) for column in self.columns]} | extra)

    @classmethod
    def from_state(cls, state: State) -> FeatureMap:
        quadratic = "quadratic" in state.config
        only(state, ["columns", "quadratic"] if quadratic else ["columns"])
        if quadratic and state.config["quadratic"] is not True:
            raise bad("feature_map: quadratic is true, or not there")
        try:
            columns = msgspec.convert(state.config["columns"], tuple[FittedFeature, ...])
        except msgspec.ValidationError as error:
            raise bad(f"feature_map: {error}") from error
        for column in columns:
            numbers = (column.location, column.scale, column.limit)
            if not np.isfinite(numbers).all() or column.scale <= 0 or column.limit <= 0:
                raise bad(f"feature_map: column {column.name!r} has location, scale, limit {numbers}")
            if not 0 <= column.source < 2**20 or not 0 <= column.values < 2**20:
                raise bad(f"feature_map: column {column.name!r} reads raw column {column.source}")
        if quadratic and sum(column.width for column in columns) > WIDEST:
            raise bad(f"feature_map: more than {WIDEST} inputs have too many products")
        return cls(columns, quadratic)


def fit_feature_map(
    problem: Problem, batches: Iterable[Steps], signed_log: bool = False, quadratic: bool = False
) -> FeatureMap:
    """The map of a training slice: one pass, batch by batch.

    With ``signed_log`` each number also enters as its standardised signed logarithm, and both are clipped to ±5:
    for heavy-tailed measurements, where one value in a thousand would otherwise carry a linear model.
    With ``quadratic`` the products of every two of these inputs follow them. Raises ConfigError beyond WIDEST inputs.
    """
    total: Moments | None = None
    for batch in batches:
        own = Moments.of(batch.context)
        total = own if total is None else total + own
    if total is None:
        raise DataError("there are no steps to fit a feature map on", "Nothing can be learned from nothing.")
    columns: list[FittedFeature] = []
    for i, feature in enumerate(problem.features):
        if feature.kind == "category":
            width = len(feature.values) + feature.open
            columns.append(FittedFeature(kind="category", source=i, name=feature.name, values=width))
        elif feature.kind == "boolean":
            columns.append(FittedFeature(kind="boolean", source=i, name=feature.name))
        else:
            columns += _numbers(i, feature.name, total, signed_log)
        if feature.optional or total.missing[i] > 0:
            columns.append(FittedFeature(kind="missing", source=i, name=feature.name))
    if quadratic and sum(column.width for column in columns) > WIDEST:
        raise ConfigError(f"quadratic: the products of more than {WIDEST} inputs are too many", field="quadratic")
    return FeatureMap(tuple(columns), quadratic)


def _numbers(i: int, name: str, total: Moments, signed_log: bool) -> list[FittedFeature]:
    kinds: tuple[Kind, ...] = ("number", "signed_log") if signed_log else ("number",)
    fitted = []
    for row, kind in enumerate(kinds):
        location = float(total.mean[row, i])
        deviation = float(np.sqrt(total.spread[row, i] / max(total.count[i], 1.0)))
        # A column that never moved (beyond the rounding of its own size) must not be blown up to unit variance.
        constant = deviation <= 1e-7 * max(abs(location), 1e-30)
        scale = 1.0 if constant else deviation
        limit = 5.0 if signed_log else LIMIT
        fitted.append(FittedFeature(kind=kind, source=i, name=name, location=location, scale=scale, limit=limit))
    return fitted


def _signed_log(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.log1p(np.abs(x))
