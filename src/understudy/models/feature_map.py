"""Raw context to model inputs: the first layer of every model, fitted on the training slice and saved inside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps
from understudy.models.features.kinds import LIMIT, FittedFeature, Formula, Kind, fault, formula, invert, written
from understudy.models.features.moments import Moments
from understudy.models.state import bad, only

__all__ = ["LIMIT", "FeatureMap", "FittedFeature", "Kind", "Moments", "fit_feature_map"]

WIDEST = 2_000  # inputs whose products are still worth making: 2,003,000 inputs in all


@dataclass(frozen=True)
class FeatureMap:
    """f32[n, d] → f32[n, d′], always finite. ``quadratic`` adds the products of every two inputs, squares too.

    ``notes`` say what was left out of it, and why.
    """

    columns: tuple[FittedFeature, ...]
    quadratic: bool = False
    notes: tuple[str, ...] = ()

    def __call__(self, context: np.ndarray) -> np.ndarray:
        """Model inputs of raw contexts, f32[n, d] → f32[n, d′]."""
        z = self._plain(context)
        if not self.quadratic:
            return z
        i, j = self._pairs
        return np.concatenate([z, z[:, i] * z[:, j]], axis=1)

    def _plain(self, context: np.ndarray) -> np.ndarray:
        parts = [inputs(context[:, source]) for source, inputs in self._plan]
        if not parts:
            return np.zeros((len(context), 0), np.float32)
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")

    def inverse(self, inputs: np.ndarray) -> np.ndarray:
        """The raw values behind model inputs, f[n, d′] → f64[n, d′], a column per feature: at serving, actions.

        Raises: ConfigError where an input is not a number's (binary, enum, category, missing), or is a product.
        """
        try:
            if self.quadratic:
                raise ValueError("products have no inverse")
            found = [invert(column, inputs[:, j]) for j, column in enumerate(self.ordered)]
        except ValueError as error:
            raise ConfigError(f"this feature map cannot be inverted: {error}") from error
        return np.stack(found, axis=1) if found else np.zeros((len(inputs), 0))

    @cached_property
    def width(self) -> int:
        """d′, the number of model inputs."""
        plain = sum(column.width for column in self.columns)
        return plain + plain * (plain + 1) // 2 if self.quadratic else plain

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name per model input, in their order."""
        found = [name for column in self.ordered for name in column.names]
        if self.quadratic:
            found += [f"{found[i]}·{found[j]}" for i, j in zip(*self._pairs)]
        return tuple(found)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return np.triu_indices(sum(column.width for column in self.columns))

    @cached_property
    def ordered(self) -> list[FittedFeature]:
        """The columns kind by kind, in the order in which kinds first appear: the order of the inputs."""
        kinds = dict.fromkeys(column.kind for column in self.columns)
        return [column for kind in kinds for column in self.columns if column.kind == kind]

    @cached_property
    def _plan(self) -> list[tuple[np.ndarray, Formula]]:
        """Per kind, the raw columns it reads and its formula: a row costs a handful of NumPy calls whatever d is."""
        plan = []
        for _, group in groupby(self.ordered, lambda column: column.kind):
            own = list(group)
            sources = np.repeat([column.source for column in own], [column.width for column in own])
            plan.append((sources, formula(own[0].kind, own)))
        return plan

    def state(self) -> State:
        extra: dict[str, Any] = {"quadratic": True} if self.quadratic else {}  # a plain map as it always was
        if self.notes:
            extra["notes"] = list(self.notes)
        return State("feature_map", {"columns": [written(column) for column in self.columns]} | extra)

    @classmethod
    def from_state(cls, state: State) -> FeatureMap:
        quadratic, noted = "quadratic" in state.config, "notes" in state.config
        only(state, ["columns", *["quadratic"] * quadratic, *["notes"] * noted])
        if quadratic and state.config["quadratic"] is not True:
            raise bad("feature_map: quadratic is true, or not there")
        try:
            columns = msgspec.convert(state.config["columns"], tuple[FittedFeature, ...])
            notes = msgspec.convert(state.config.get("notes", []), tuple[str, ...])
        except msgspec.ValidationError as error:
            raise bad(f"feature_map: {error}") from error
        for column in columns:
            if said := fault(column):
                raise bad(f"feature_map: column {column.name!r} {said}")
        if quadratic and sum(column.width for column in columns) > WIDEST:
            raise bad(f"feature_map: more than {WIDEST} inputs have too many products")
        return cls(columns, quadratic, notes)


def fit_feature_map(
    problem: Problem,
    batches: Iterable[Steps],
    signed_log: bool = False,
    quadratic: bool = False,
    kinds: Literal["standard", "identify"] = "standard",
) -> FeatureMap:
    """The map of a training slice: one pass, batch by batch.

    ``standard`` scales numbers, keeps booleans, and spreads categories; ``identify`` finds a kind for every number by
    its distribution: see ``features.identify``. With ``signed_log`` each number also enters as its standardised signed
    logarithm, and both are clipped to ±5: for heavy-tailed measurements, where one value in a thousand would otherwise
    carry a linear model. With ``quadratic`` the products of every two of these inputs follow them.

    Raises: ConfigError beyond WIDEST inputs, or on contradicting settings; DataError where there are no steps.
    """
    if kinds == "identify":
        from understudy.models.features.identify import identify_features

        if signed_log:
            raise ConfigError("signed_log belongs to features=standard; identify finds its own", field="signed_log")
        found = identify_features(problem, batches)
        return _checked(found.columns, quadratic, found.notes)
    if kinds != "standard":
        raise ConfigError(f"features must be standard or identify; got {kinds!r}", field="features")
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
    return _checked(tuple(columns), quadratic)


def _checked(columns: tuple[FittedFeature, ...], quadratic: bool, notes: tuple[str, ...] = ()) -> FeatureMap:
    if quadratic and sum(column.width for column in columns) > WIDEST:
        raise ConfigError(f"quadratic: the products of more than {WIDEST} inputs are too many", field="quadratic")
    return FeatureMap(columns, quadratic, notes)


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
