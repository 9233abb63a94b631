"""The decision problem: what is known, what can be done, what is wanted. Written once, stamped on every artifact."""

from __future__ import annotations

import ast
from typing import Literal

import msgspec

from understudy.core.errors import ConfigError
from understudy.core.hashing import canonical, content_id
from understudy.core.yaml import decode as decode_yaml

Aggregation = Literal["first", "last", "sum", "mean", "min", "max"]


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One raw column of the context.

    Args:
        name: key in the decision's context.
        kind: ``number``, ``boolean`` or ``category``.
        values: the categories; a category travels as its index here. Empty for numbers and booleans.
        optional: a missing value is allowed and travels as NaN; otherwise its row is quarantined.
        open: a category not in ``values`` travels as ``len(values)``; otherwise its row is quarantined.
    """

    name: str
    kind: Literal["number", "boolean", "category"] = "number"
    values: tuple[str, ...] = ()
    optional: bool = False
    open: bool = False

    def __post_init__(self) -> None:
        if self.kind == "category" and not self.values and not self.open:
            raise ValueError(f"feature {self.name!r} is a category: list its values, or set open: true")
        if self.kind != "category" and self.values:
            raise ValueError(f"feature {self.name!r} has values, so it must be a category")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"feature {self.name!r} lists a value twice")


class ActionSpace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be done: ``names`` of k discrete actions, or box bounds ``low``, ``high`` of q continuous dimensions."""

    names: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.names) == bool(self.low):
            raise ValueError("actions need either names (discrete) or low and high (continuous)")
        if len(self.low) != len(self.high) or any(a >= b for a, b in zip(self.low, self.high)):
            raise ValueError("continuous actions need low < high in every dimension")
        if len(set(self.names)) != len(self.names):
            raise ValueError("an action name stands twice")

    @property
    def discrete(self) -> bool:
        return bool(self.names)

    @property
    def k(self) -> int:
        """Number of discrete actions (0 if continuous)."""
        return len(self.names)

    @property
    def dims(self) -> int:
        """Number of continuous dimensions (0 if discrete)."""
        return len(self.low)


class OutcomeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured quantity and how several arrivals become one number.

    ``default`` is the value once the window has closed and nothing arrived; None means "refuse such a row".
    """

    name: str
    aggregate: Aggregation = "first"
    default: float | None = 0.0


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an estimate's meaning depends on; hashable, and its hash is stamped on every artifact.

    Args:
        reward: the name of an outcome, or an expression of outcomes with + - * / ( ) and numbers.
        reward_range: the lowest and highest reward there can be; the gate's proof scales by it.
        discount: γ of the value Σ γ^t r_t; it lives here and nowhere else.
        horizon: most steps in an episode; 1 is a bandit, None is unbounded (then γ < 1).
        unit: who is independent of whom: ``decision``, ``episode`` or ``unit`` (the log's unit_id).
        ignore: names of the log's context that are left out on purpose; any other unknown name is refused.
    """

    features: tuple[Feature, ...]
    actions: ActionSpace
    outcomes: tuple[OutcomeSpec, ...] = (OutcomeSpec(name="reward"),)
    reward: str = "reward"
    reward_range: tuple[float, float] = (0.0, 1.0)
    discount: float = 1.0
    horizon: int | None = 1
    unit: Literal["decision", "episode", "unit"] = "decision"
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.reward_range
        if not (-1e300 < low < high < 1e300):
            raise ValueError(f"reward_range must be two finite numbers, lowest first; got [{low}, {high}]")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must be in [0, 1]; got {self.discount}")
        if self.horizon is None and self.discount >= 1:
            raise ValueError("with no horizon the value is infinite unless discount < 1")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon must be at least 1; got {self.horizon}")
        features = self.feature_names + self.ignore
        for what, names in (("feature", features), ("outcome", self.outcome_names)):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} name stands twice")
        reward_names(self.reward, self.outcome_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def outcome_names(self) -> tuple[str, ...]:
        return tuple(outcome.name for outcome in self.outcomes)

    @property
    def bandit(self) -> bool:
        return self.horizon == 1

    @property
    def hash(self) -> str:
        return content_id(canonical(self))


_ALLOWED = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Name, ast.Load,
            ast.Constant)  # fmt: skip


def reward_names(expression: str, outcomes: tuple[str, ...]) -> tuple[str, ...]:
    """The outcomes a reward expression reads, in order of appearance; anything but arithmetic is refused.

    Because only names, numbers and ``+ - * / ( )`` pass, the text is valid arithmetic in Python and in SQL alike.

    >>> reward_names("revenue - 0.3 * cost", ("revenue", "cost"))
    ('revenue', 'cost')
    """
    if expression in outcomes:  # an outcome's name need not be an identifier
        return (expression,)
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"reward {expression[:80]!r} is not an expression of outcomes") from error
    names: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Constant) and type(node.value) not in (int, float)):
            raise ValueError(f"reward {expression!r} may use outcomes, numbers and + - * / ( ) only")
        if isinstance(node, ast.Constant) and not abs(node.value) < 1e300:  # pyright: ignore[reportArgumentType]
            raise ValueError(f"reward {expression!r} holds a number that is not finite")
        if isinstance(node, ast.Name):
            if node.id not in outcomes:
                raise ValueError(f"reward {expression!r} reads {node.id!r}, which is not an outcome: {list(outcomes)}")
            names.append(node.id)
    if not names:
        raise ValueError(f"reward {expression!r} reads no outcome")
    return tuple(dict.fromkeys(names))


def decode_problem(raw: bytes, *, where: str, yaml: bool) -> Problem:
    """A Problem from YAML or JSON bytes; every fault is a ConfigError that names the field."""
    try:
        decode = decode_yaml if yaml else msgspec.json.decode
        return decode(raw, type=Problem)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{where} does not describe a problem: {error}", hint=_NEXT) from error


_NEXT = "Draft one from your log with: understudy identify LOG --to problem.yaml"
