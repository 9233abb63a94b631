"""A row and the rows that follow it, side by side, for tools that read tables of transitions; as SQL.

Columns keep their names. Of state, action, possible actions and what else was asked for there are also ``next_<name>``:
the next row's value (the type's empty value where there is none), or with ``n`` > 1 an array of those of up to n rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.data.schema import quoted
from understudy.data.timeline import values
from understudy.data.timeline.filters import Input
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.table import Table, map_types

MOST_STEPS = 100
ADDED = ("ordinal", "time_diff", "since_first", "last")


@dataclass(frozen=True)
class Pairs:
    """What the text depends on. ``lead`` names further columns to look ahead in; without a problem rewards stay."""

    table: Table
    rules: Rules = field(default_factory=Rules)
    problem: Problem | None = None
    n: int = 1
    lead: tuple[str, ...] = ()
    source: str = "decisions"

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MOST_STEPS:
            raise ConfigError(f"n is {self.n}; give 1 to {MOST_STEPS} steps", field="n")
        taken = [name for name in (*ADDED, *(f"next_{name}" for name in self.ahead)) if name in self.table.types]
        if taken:
            raise ConfigError(
                f"the table has a column {taken[0]!r} already, which the timeline adds",
                hint="Rename it, or read the table that this one was made from.",
                field=taken[0],
            )

    @property
    def ahead(self) -> list[str]:
        """Columns of which the following rows' values are given."""
        features = self.table.features.values() if self.problem is not None else ()
        roles = (self.table.roles.get(role) for role in ("state", "action", "allowed", "mask"))
        return list(dict.fromkeys(name for name in (*roles, *features, *self.lead) if name is not None))

    def text(self, *, sort: bool = True) -> str:
        """The rows, by (episode, sequence)."""
        frames = {"kept": self._kept(), "placed": self._placed()}
        if self.rules.lost_reward == "add" and self.rules.terminal != "keep":
            frames = {"whole": frames["kept"], "kept": self._added(), "placed": frames["placed"]}
        made = ", ".join(f"{name} AS (\n  {text}\n)" for name, text in frames.items())
        episode, sequence = (quoted(self.table.roles[role]) for role in ("episode", "sequence"))
        order = f"\nORDER BY {episode}, {sequence}" if sort else ""
        return f"WITH {made}\nSELECT {', '.join(self._columns())}\nFROM placed{self._after()}{order}"

    def lost(self) -> str:
        """One row: how many rows are dropped as last ones, how many rewards other than 0 they carry, and so on.

        The same as ``Query.lost``; without a problem the reward is the column of that name.
        """
        of = Input(self.table, self.rules, self.problem)
        paid = "reward <> 0" if self._paid else "FALSE"
        total = "SUM(reward)" if self._paid else "0"
        window = f"(PARTITION BY {of.episode} ORDER BY {of.sequence})"
        since = f"{of.sequence} - MIN({of.sequence}) OVER (PARTITION BY {of.episode}) AS since_start"
        last = f"(LEAD({of.sequence}) OVER {window}) IS NULL AS is_last"
        rows = f"SELECT *, {since}, {last}, ROW_NUMBER() OVER {window} AS place"
        gone = "is_last" + (f" AND {self._flag}" if self._flag else "")
        gone += "" if self.rules.within is None else f" AND since_start <= {self.rules.within}"
        return (
            f"WITH kept AS (\n  {self._kept()}\n)\nSELECT COUNT(*) AS n, COUNT(CASE WHEN {paid} THEN 1 END) AS paid, "
            f"{total} AS total, MIN(CASE WHEN {paid} THEN {of.episode} END) AS first, "
            f"COUNT(CASE WHEN {paid} AND place = 1 THEN 1 END) AS alone FROM ({rows} FROM kept) AS ranked WHERE {gone}"
        )

    @property
    def _paid(self) -> bool:
        return self.problem is not None or "reward" in self.table.types

    def _kept(self) -> str:
        """The rows that count, with the reward of the problem, once each."""
        of = Input(self.table, self.rules, self.problem, self.source)
        names = [name for name in self.table.types if name != "reward" or self.problem is None]
        chosen = ", ".join(map(quoted, names))
        rows = f"SELECT {chosen} FROM {of.rows()}"
        if self.problem is not None:
            outcomes = {n: f"({values.outcome(self.table, n)})" for n in self.problem.outcome_names}
            reward = values.reward(self.problem, outcomes)
            rows = f"SELECT {chosen}, {reward} AS reward FROM {of.rows()}"
        if self.rules.duplicates == "refuse":
            return rows
        way = " DESC" if self.rules.duplicates == "last" else ""
        by = [values.micros(self.table), f"CAST({quoted(self.table.roles['action'])} AS VARCHAR)"]
        order = ", ".join(f"{item}{way}" for item in by)
        rank = f"ROW_NUMBER() OVER (PARTITION BY {of.episode}, {of.sequence} ORDER BY {order}) AS copy_number"
        names = chosen if self.problem is None else f"{chosen}, reward"
        return f"SELECT {names} FROM (SELECT *, {rank} FROM ({rows}) AS all_copies) AS copies WHERE copy_number = 1"

    def _added(self) -> str:
        """The reward of each last row that is dropped, added to the row before it."""
        of = Input(self.table, self.rules, self.problem)
        window = f"(PARTITION BY {of.episode} ORDER BY {of.sequence})"
        names = ", ".join(quoted(name) for name in self.table.types if name != "reward")
        last = f"(LEAD({of.sequence}, 1) OVER {window}) IS NOT NULL AND (LEAD({of.sequence}, 2) OVER {window}) IS NULL"
        if self._flag:
            last += f" AND LEAD({self._flag}) OVER {window}"
        if self.rules.within is not None:
            first = f"MIN({of.sequence}) OVER (PARTITION BY {of.episode})"
            last += f" AND (LEAD({of.sequence}) OVER {window}) - {first} <= {self.rules.within}"
        more = f"CASE WHEN {last} THEN COALESCE(LEAD(reward) OVER {window}, 0e0) ELSE 0e0 END"
        return f"SELECT {names}, reward + {more} AS reward FROM whole"

    def _placed(self) -> str:
        of = Input(self.table, self.rules, self.problem)
        shifted = [of.sequence, *map(quoted, self.ahead)]
        names = ["next_sequence", *(f"next_{name}" for name in self.ahead)]
        gathered = [quoted(name) for name in self._gathered()]
        chosen = [
            f"LEAD({expression}, {i}) OVER w AS {quoted(f'{name}.{i}')}"
            for i in range(1, self.n + 1)
            for expression, name in zip(shifted, names)
        ]
        chosen += [
            f"LEAD({column}, {i}) OVER w AS {quoted(f'{name}.{i}')}"
            for i in range(1, self.n)
            for column, name in zip(gathered, self._gathered())
        ]
        leads = ",\n    ".join(chosen)
        return f"""SELECT *, {of.sequence} AS this_sequence, ROW_NUMBER() OVER w AS ordinal, COUNT(*) OVER e AS n,
    MIN({of.sequence}) OVER e AS first_sequence,
    {leads}
  FROM kept
  WINDOW w AS (PARTITION BY {of.episode} ORDER BY {of.sequence}), e AS (PARTITION BY {of.episode})"""

    def _gathered(self) -> list[str]:
        """Columns that an n-step row has one value of for each of its steps."""
        if self.n == 1:
            return []
        metrics = self.table.roles.get("metrics")
        names = ["reward"] if self._paid else []
        return names + ([metrics] if metrics else [])

    def _columns(self) -> list[str]:
        gathered = self._gathered()
        names = list(self.table.types) + (["reward"] if "reward" not in self.table.types and self.problem else [])
        kept = [self._gather(name) if name in gathered else quoted(name) for name in names]
        return [
            *kept,
            "ordinal",
            self._arrays("time_diff", [self._difference(i) for i in range(1, self.n + 1)], "0"),
            "this_sequence - first_sequence AS since_first",
            "(ordinal = n) AS last",
            *(self._next(name) for name in self.ahead),
        ]

    def _difference(self, i: int) -> str:
        return f"{quoted(f'next_sequence.{i}')} - this_sequence"

    def _next(self, name: str) -> str:
        none = empty(self.table.types[name])
        each = [f"COALESCE({quoted(f'next_{name}.{i}')}, {none})" for i in range(1, self.n + 1)]
        return self._arrays(f"next_{name}", each, none)

    def _gather(self, name: str) -> str:
        each = [quoted(name), *(quoted(f"{name}.{i}") for i in range(1, self.n))]
        return self._arrays(name, each, each[0])

    def _arrays(self, name: str, each: list[str], alone: str) -> str:
        """One value; or an array of as many as there are following rows, ``[alone]`` on the last row."""
        if self.n == 1:
            return f"CASE WHEN ordinal = n THEN {alone} ELSE {each[0]} END AS {quoted(name)}"
        cases = " ".join(f"WHEN {i} THEN [{', '.join(each[:i])}]" for i in range(1, self.n))
        return f"CASE n - ordinal WHEN 0 THEN [{alone}] {cases} ELSE [{', '.join(each)}] END AS {quoted(name)}"

    def _after(self) -> str:
        """What is left out only after neighbors were looked up, so that places are not counted anew."""
        kept = []
        if self.rules.terminal == "drop":
            kept.append("ordinal < n")
        if self.rules.terminal == "drop_truncated" and self._flag:
            kept.append(f"NOT (ordinal = n AND {self._flag})")
        if self.rules.within is not None:
            kept.append(f"this_sequence - first_sequence <= {self.rules.within}")
        return f"\nWHERE {' AND '.join(kept)}" if kept else ""

    @property
    def _flag(self) -> str:
        """True of a row flagged as truncated, where only such last rows are dropped."""
        if self.rules.terminal != "drop_truncated" or not self.table.has("truncated"):
            return ""
        column = quoted(self.table.roles["truncated"])
        return f"COALESCE({column if self.table.type('truncated') == 'BOOLEAN' else f'{column} <> 0'}, FALSE)"


def empty(kind: str) -> str:
    """The value that says "nothing follows": '' or [] or {}, and NULL for what has no empty value."""
    types = map_types(kind)
    if types:
        return f"MAP(CAST([] AS {types[0]}[]), CAST([] AS {types[1]}[]))"
    if kind.endswith("[]"):
        return f"CAST([] AS {kind})"
    return "''" if kind == "VARCHAR" else f"CAST(NULL AS {kind})"
