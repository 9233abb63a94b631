"""Which column of a decision table plays which role. Types are DuckDB's names for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.core.registry import unknown

# The names under which each role is looked for, in this order.
ROLES: dict[str, tuple[str, ...]] = {
    "episode": ("episode_id", "episode", "mdp_id"),
    "sequence": ("sequence", "sequence_number", "t", "step", "transition_number"),
    "state": ("state_features", "context", "state"),
    "action": ("action",),
    "propensity": ("propensity", "action_probability"),
    "propensities": ("propensities", "all_action_probabilities"),
    "metrics": ("metrics", "outcomes"),
    "allowed": ("allowed", "possible_actions"),
    "mask": ("mask", "possible_actions_mask"),
    "ds": ("ds",),
    "time": ("time", "timestamp"),
    "unit": ("unit_id", "unit"),
    "policy": ("policy_id",),
    "terminated": ("terminated", "terminal", "terminals"),
    "truncated": ("truncated", "timeout", "timeouts"),
}
NEEDED = ("episode", "sequence", "action")
WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
REAL = frozenset({"FLOAT", "DOUBLE"})
_MAP = re.compile(r"MAP\((\w+), *(.+)\)$")


@dataclass(frozen=True)
class Table:
    """Columns of the source with their types, and the roles they play.

    Args:
        types: column → type, such as ``VARCHAR``, ``BIGINT``, ``DOUBLE``, ``BOOLEAN``, ``VARCHAR[]``,
            ``MAP(BIGINT, DOUBLE)``. Structs must have been taken apart into columns.
        roles: role → column.
        features, outcomes: name → column; what is not there is looked up in the ``state`` and ``metrics`` maps.
        action_keys: keys of the action where it is a map, in the order of the problem's dimensions.
        closing: some rows may have no action: they only show where an episode ended.
    """

    types: Mapping[str, str]
    roles: Mapping[str, str]
    features: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    action_keys: tuple[str, ...] = ()
    closing: bool = True

    def has(self, role: str) -> bool:
        return role in self.roles

    def type(self, role: str) -> str:
        """Type of the role's column, with decimals counted as real numbers."""
        return plain(self.types[self.roles[role]])


def plain(kind: str) -> str:
    return "DOUBLE" if kind.startswith("DECIMAL") else kind


def map_types(kind: str) -> tuple[str, str] | None:
    """(key, value) types of a map; None if it is none."""
    found = _MAP.match(kind)
    return (found[1], found[2]) if found else None


def assign(types: Mapping[str, str], problem: Problem | None, given: Mapping[str, str] | None = None) -> Table:
    """Give every column its role, by the names it has or by ``given`` (role, feature or outcome → column).

    Raises:
        ConfigError: a role that is needed has no column, or a column that was named does not exist.
    """
    given = dict(given or {})
    for role, column in given.items():
        if column not in types:
            raise unknown(f"column for {role}", column, tuple(types))
    roles = {}
    for role, names in ROLES.items():
        found = given.pop(role, None) or next((name for name in names if name in types), None)
        if found is not None:
            roles[role] = found
    wanted = (problem.feature_names, problem.outcome_names) if problem is not None else ((), ())
    features = _named(wanted[0], "context", types, given)
    outcomes = _named(wanted[1], "outcome", types, given)
    if given:
        raise unknown("role", next(iter(given)), (*ROLES, *wanted[0], *wanted[1]))
    for role in list(roles):  # a feature called "t" or "mask" is a feature
        if roles[role] in {*features.values(), *outcomes.values()} and role not in NEEDED:
            del roles[role]
    for role in NEEDED:
        if role not in roles:
            raise ConfigError(
                f"the table has no column for {role}: it has {', '.join(list(types)[:12])}",
                f"It would be called {' or '.join(ROLES[role])}.",
                f"Name it with: --columns {role}=COLUMN",
                field=role,
            )
    _all_there(wanted[0], features, roles, types, "state", "feature")
    _all_there(wanted[1], outcomes, roles, types, "metrics", "outcome")
    return Table(types, roles, features, outcomes)


def _named(names: tuple[str, ...], prefix: str, types: Mapping[str, str], given: dict[str, str]) -> dict[str, str]:
    found = {}
    for name in names:
        column = given.pop(name, None) or next((c for c in (f"{prefix}.{name}", name) if c in types), None)
        if column is not None:
            found[name] = column
    return found


def _all_there(
    names: tuple[str, ...], found: Mapping[str, str], roles: Mapping[str, str], types: Mapping[str, str], role: str,
    what: str,
) -> None:  # fmt: skip
    missing = [name for name in names if name not in found]
    if not missing or (role in roles and map_types(types[roles[role]])):
        return
    where = ROLES[role][0]
    raise ConfigError(
        f"{len(missing)} of {len(names)} {what}s of the problem have no column; first: {missing[0]!r}",
        f"The table has {', '.join(list(types)[:12])}.",
        f"Name it with: --columns {missing[0]}=COLUMN; or give one map column {where}.",
        field=missing[0],
    )
