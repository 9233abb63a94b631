"""One context at a time: the numbers that ingest would store for it, or the reason why it would set it aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import hypot
from operator import itemgetter
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Feature, Problem

FLOAT32_MAX = float(np.finfo(np.float32).max)
_SAFE = FLOAT32_MAX  # a norm up to here holds no number that ingest would find too large, and no NaN
_NUMBER = (int, float)
_PLAIN = frozenset(_NUMBER).issuperset
_F32, _F64 = np.float32, np.float64


class Coder:
    """Contexts of one problem → f32[1, d], exactly as ``ingest`` stores them.

    Numbers as they are, booleans 0 and 1, categories by index, NaN where an optional value is missing.
    """

    def __init__(self, problem: Problem) -> None:
        if not problem.actions.discrete:
            raise ConfigError("only discrete actions can be coded one by one", field="actions")
        self.problem = problem
        self.names = problem.actions.names
        self.place = {name: i for i, name in enumerate(problem.actions.names)}
        self.sequential = not problem.bandit or problem.unit != "decision"  # whether a row says where it belongs
        self._features = problem.feature_names
        self._known = frozenset(problem.feature_names) | frozenset(problem.ignore)
        self._coders = [(feature.name, _coder(feature)) for feature in problem.features]
        numbers = all(feature.kind == "number" for feature in problem.features)
        self._pick = itemgetter(*self._features) if numbers and len(self._features) > 1 else None
        self._floats = [float] * len(self._features)

    def row(self, context: Mapping[str, Any]) -> np.ndarray:
        """f32[1, d] of a context as it came in JSON. Raises: DataError with the feature as its field."""
        if self._pick is not None and len(context) == len(self._features):
            try:
                values = self._pick(context)
            except KeyError:
                return self._careful(context)
            if [*map(type, values)] == self._floats or _PLAIN(map(type, values)):  # a bool is of another type
                try:
                    row = np.array(values, _F64)
                except OverflowError:
                    return self._careful(context)
                if hypot(*values) <= _SAFE:  # one call instead of two comparisons per value; it never overflows
                    return row.astype(_F32)[None]
        return self._careful(context)

    def allowed(self, names: Sequence[str]) -> np.ndarray:
        """bool[1, k] of the actions that may be taken. Raises: DataError if there is none, or one nobody knows."""
        mask = np.zeros((1, len(self.names)), bool)
        for name in names:
            mask[0, self.action(name, "allowed")] = True
        if not names:
            raise DataError("allowed is empty", "A policy has to do something.", field="allowed")
        return mask

    def action(self, name: str, field: str = "action") -> int:
        """The place of an action. Raises: DataError."""
        at = self.place.get(name)
        if at is None:
            what = f"{field}={_short(name)} is not one of the problem's {len(self.names)} actions"
            raise DataError(what, hint=f"They begin with: {', '.join(self.names[:5])}", field=field)
        return at

    def check_place(self, episode_id: str | None, t: int, unit_id: str | None) -> None:
        """Refuse a row that ingest would set aside because nobody could tell where it belongs. Raises: DataError."""
        problem = self.problem
        if episode_id is None and (not problem.bandit or problem.unit == "episode"):
            raise DataError("no episode_id", "Which decisions belong together could not be told.", field="episode_id")
        if unit_id is None and problem.unit == "unit":
            raise DataError("no unit_id, and the unit is what is independent", field="unit_id")
        if not 0 <= t < (problem.horizon or 2**31):
            raise DataError(f"t={t} is not a whole number from 0 to {(problem.horizon or 2**31) - 1}", field="t")

    def _careful(self, context: Mapping[str, Any]) -> np.ndarray:
        """The same, feature by feature: whatever is wrong is found here and said."""
        if not self._known.issuperset(context):
            name = min(key for key in context if key not in self._known)
            what = f"{_short(name)} is neither a feature nor ignored"
            raise DataError(what, "A misspelled feature would be missing in silence.", field=_short(name))
        row = np.empty((1, len(self._coders)), np.float32)
        for j, (name, code) in enumerate(self._coders):
            row[0, j] = code(context.get(name))
        return row


def _coder(feature: Feature) -> Callable[[Any], float]:
    name, optional = feature.name, feature.optional
    kind = {"number": _number, "boolean": _boolean, "category": _category}[feature.kind](feature)

    def code(value: Any) -> float:
        made = np.nan if value is None else kind(value)
        if made != made and not optional:
            raise DataError(f"{name} is missing (and not optional)", field=name)
        return made

    return code


def _number(feature: Feature) -> Callable[[Any], float]:
    def code(value: Any) -> float:
        if not isinstance(value, _NUMBER) or isinstance(value, bool):
            raise _wrong(feature, value)
        try:
            number = float(value)
        except OverflowError:
            number = np.inf
        if abs(number) > FLOAT32_MAX:
            raise DataError(f"{feature.name}={number:g} is not finite in 32 bits", field=feature.name)
        return number

    return code


def _boolean(feature: Feature) -> Callable[[Any], float]:
    def code(value: Any) -> float:
        if not isinstance(value, _NUMBER) or value not in (0, 1):
            raise _wrong(feature, value)
        return float(value)

    return code


def _category(feature: Feature) -> Callable[[Any], float]:
    lookup = {value: float(i) for i, value in enumerate(feature.values)}

    def code(value: Any) -> float:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if type(value) is not str:
            raise _wrong(feature, value)
        at = lookup.get(value)
        if at is None:
            if not feature.open:
                raise DataError(f"{feature.name}={_short(value)} is not one of its values", field=feature.name)
            return float(len(lookup))
        return at

    return code


def _wrong(feature: Feature, value: Any) -> DataError:
    return DataError(f"{feature.name}={_short(value)} is not a {feature.kind}", field=feature.name)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
