"""Outcomes of one decision as one number, as the join would make it: aggregate each outcome, then the expression."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence

from understudy.core.problem import Aggregation, Problem, reward_names

Arrival = tuple[int, float]  # microseconds since 1970 UTC, value

_TWO: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip

_AGGREGATES: dict[Aggregation, Callable[[Sequence[Arrival]], float]] = {
    "first": lambda seen: min(seen)[1],
    "last": lambda seen: max(seen)[1],
    "sum": lambda seen: math.fsum(value for _, value in seen),
    "mean": lambda seen: math.fsum(value for _, value in seen) / len(seen),
    "min": lambda seen: min(value for _, value in seen),
    "max": lambda seen: max(value for _, value in seen),
}


class Rewards:
    """A problem's reward, asked of one decision's arrivals at a time."""

    def __init__(self, problem: Problem) -> None:
        self.names = reward_names(problem.reward, problem.outcome_names)
        self._specs = {spec.name: spec for spec in problem.outcomes}
        self._tree = None if problem.reward in self._specs else ast.parse(problem.reward, mode="eval").body
        low, high = problem.reward_range
        slack = 1e-9 * (high - low)
        self._low, self._high = low - slack, high + slack

    def of(self, arrived: Mapping[str, Sequence[Arrival]], *, closed: bool) -> float:
        """The reward; NaN while nothing that it reads has arrived and the window is open, or where the join refuses it.

        Args:
            arrived: outcome name → its arrivals, each once.
            closed: whether the join's window has closed, so that the declared defaults stand in for what is missing.
        """
        if not closed and not any(name in arrived for name in self.names):
            return math.nan
        values: dict[str, float] = {}
        for name in self.names:
            spec, seen = self._specs[name], arrived.get(name)
            default = math.nan if spec.default is None else spec.default
            values[name] = _AGGREGATES[spec.aggregate](seen) if seen else default
        try:
            reward = values[self.names[0]] if self._tree is None else _value(self._tree, values)
        except (ZeroDivisionError, OverflowError):
            return math.nan
        return reward if self._low <= reward <= self._high else math.nan


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    """Plain arithmetic, which is all that a problem lets through."""
    if isinstance(node, ast.BinOp):
        return _TWO[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        operand = _value(node.operand, values)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.Name):
        return values[node.id]
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]
