"""Decisions and outcomes of a live log, brought together as they come: a pair is complete when its reward is known."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np

from understudy.core.events import Outcome
from understudy.core.problem import Problem, reward_names
from understudy.core.service import Logged
from understudy.core.steps import Steps, bandit_steps
from understudy.data.context import Coder
from understudy.data.eventlog import Entry

MOST = 200_000  # decisions that wait for a reward; beyond, the oldest is given up
_ACTIVATED = ""  # stands beside the names of outcomes, none of which is empty


class Pair(NamedTuple):
    """A decision whose reward is known."""

    decision_id: str
    row: np.ndarray  # f32[1, d]
    action: int
    propensity: float
    reward: float

    def steps(self) -> Steps:
        """As one logged decision."""
        action, propensity = np.array([self.action], np.int32), np.array([self.propensity])
        return bandit_steps(self.row, action, np.array([self.reward]), propensity)


class Pairing:
    """An incremental join without a window: what it gives depends on the order of the log and on nothing else.

    The first value of each outcome counts, whatever its problem's aggregation; there is a reward once every outcome
    it reads has come, and (for a deferred decision) the activation too. A decision nobody rewards is never learned
    from, where the join would give it the default: there is no moment at which its window has closed.
    """

    def __init__(self, problem: Problem, most: int = MOST) -> None:
        self.coder, self.most = Coder(problem), most
        self.needed = reward_names(problem.reward, problem.outcome_names)
        self.reward = _formula(problem.reward, self.needed)
        self.range = problem.reward_range
        self.given_up = self.out_of_range = 0
        self._decisions: dict[str, bytes] = {}  # not yet rewarded, oldest first
        self._known: dict[str, dict[str, float]] = {}  # outcomes so far of decisions not yet complete, or nobody's
        self._done: dict[str, None] = {}  # the newest pairs given, so that no duplicate makes another
        self._logged = msgspec.json.Decoder(Logged)
        self._outcome = msgspec.json.Decoder(Outcome)

    def take(self, entry: Entry) -> Pair | None:
        """One event, in the order of the log. Returns the pair that it completes."""
        if entry.kind == "decision":
            id = entry.key
            if id not in self._done:
                self._decisions[id] = entry.body
                self.given_up += _trim(self._decisions, self.most)
        else:
            if entry.kind == "outcome":
                outcome = self._outcome.decode(entry.body)
                id, name, value = outcome.decision_id, outcome.name, outcome.value
            else:
                id, name, value = entry.key, _ACTIVATED, 1.0
            if id in self._done:
                return None
            self._known.setdefault(id, {}).setdefault(name, value)
            _trim(self._known, self.most)
        return self._complete(id)

    def _complete(self, id: str) -> Pair | None:
        known, body = self._known.get(id), self._decisions.get(id)
        if known is None or body is None or not all(name in known for name in self.needed):
            return None
        logged = self._logged.decode(body)
        if logged.deferred and _ACTIVATED not in known:
            return None
        del self._known[id], self._decisions[id]
        self._done[id] = None
        _trim(self._done, self.most)
        reward = self.reward(known)
        if not self.range[0] <= reward <= self.range[1]:  # as the join would set it aside; NaN too
            self.out_of_range += 1
            return None
        row, action = self.coder.row(logged.context), self.coder.place[str(logged.action)]
        return Pair(id, row, action, float(logged.propensity or np.nan), reward)


def _trim(held: dict[str, Any], most: int) -> int:
    """Let go of the oldest if there are more than ``most``. Returns how many went."""
    if len(held) <= most:
        return 0
    del held[next(iter(held))]
    return 1


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else float("nan"),
    ast.USub: operator.neg,
}


def _formula(expression: str, names: tuple[str, ...]) -> Callable[[Mapping[str, float]], float]:
    """A problem's reward as a function of outcomes; checked arithmetic only, so nothing else can stand in it."""
    if expression in names:
        return operator.itemgetter(expression)
    return partial(_value, ast.parse(expression, mode="eval").body)


def _value(node: ast.expr, outcomes: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, outcomes), _value(node.right, outcomes))
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, outcomes))
    if isinstance(node, ast.Name):
        return outcomes[node.id]
    assert isinstance(node, ast.Constant)
    return float(node.value)  # pyright: ignore[reportArgumentType]
