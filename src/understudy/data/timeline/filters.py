"""Which rows of the table count at all: what vanishes before neighbors are looked up, and how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.core.problem import Problem
from understudy.data.schema import quoted
from understudy.data.timeline import values
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.table import Table
from understudy.data.timeline.values import literal, number

ORDER = "\nORDER BY episode_id, sequence"


@dataclass(frozen=True)
class Input:
    """The decision table under rules. ``source`` is the name of the relation that holds it."""

    table: Table
    rules: Rules = field(default_factory=Rules)
    problem: Problem | None = None
    source: str = "decisions"

    @property
    def episode(self) -> str:
        return values.texted(self.table, "episode")

    @property
    def sequence(self) -> str:
        return values.sequence(self.table)

    def where(self, *, longest: bool = True) -> str:
        """The filter, with its WHERE; empty where every row counts."""
        kept = [self.inside] if self.rules.ds != (None, None) else []
        if self.rules.null_states == "drop":
            kept.append(f"NOT {values.null_state(self.table, self.problem)}")
        if longest and self.rules.longest is not None:
            short = f"SELECT {self.episode} FROM {quoted(self.source)}{self.where(longest=False)}"
            most = number(self.rules.longest + 1e-9)
            kept.append(f"{self.episode} IN ({short} GROUP BY {self.episode} HAVING COUNT(*) <= {most})")
        return f" WHERE {' AND '.join(kept)}" if kept else ""

    @property
    def inside(self) -> str:
        """True of a row in the range of ``ds``."""
        first, last = self.rules.ds
        ds = f"CAST({quoted(self.table.roles['ds'])} AS VARCHAR)"
        sides = [] if first is None else [f"{ds} >= {literal(first)}"]
        sides += [] if last is None else [f"{ds} <= {literal(last)}"]
        return " AND ".join(sides) or "TRUE"

    def lengths(self) -> str:
        """How many episodes have how many rows: what the percentile of lengths is computed from."""
        rows = f"{quoted(self.source)}{self.where(longest=False)} GROUP BY {self.episode}"
        return (
            f"SELECT n, COUNT(*) AS episodes FROM (SELECT COUNT(*) AS n FROM {rows}) AS lengths GROUP BY n ORDER BY n"
        )

    def gaps(self) -> str:
        """One row: neighbors that are joined across rows outside of ds, and episodes that go on after it."""
        return f"""WITH marked AS (
  SELECT {self.episode} AS episode_id, {self.sequence} AS sequence, COALESCE({self.inside}, FALSE) AS inside
  FROM {quoted(self.source)}
), neighbors AS (
  SELECT sequence, inside, LEAD(inside) OVER w AS next_inside,
         MAX(CASE WHEN inside THEN sequence END) OVER (PARTITION BY episode_id) AS newest
  FROM marked WINDOW w AS (PARTITION BY episode_id ORDER BY sequence)
)
SELECT COUNT(CASE WHEN sequence < newest THEN 1 END) AS joined_across,
       COUNT(CASE WHEN sequence = newest THEN 1 END) AS cut_short
FROM neighbors WHERE inside AND NOT next_inside"""

    def dropped(self) -> str:
        """One row: rows without any feature that the rules drop, the rewards other than 0 on them, and their sum."""
        kept = f" AND {self.inside}" if self.rules.ds != (None, None) else ""
        rows = f"{quoted(self.source)} WHERE {values.null_state(self.table, self.problem)}{kept}"
        if self.problem is None:
            reward = "CAST(reward AS DOUBLE)" if "reward" in self.table.types else "0e0"
            inner = f"SELECT {reward} AS r FROM {rows}"
        else:
            outcomes = {n: f"({values.outcome(self.table, n)})" for n in self.problem.outcome_names}
            inner = f"SELECT {values.reward(self.problem, outcomes)} AS r FROM {rows}"
        total = "COUNT(CASE WHEN r <> 0 THEN 1 END) AS rewards, SUM(r) AS total"
        return f"SELECT COUNT(*) AS n, {total} FROM ({inner}) AS without"

    def disputed(self) -> str:
        """Keys whose rows differ in anything, with how many rows each has."""
        differ = " OR ".join(
            f"COUNT(DISTINCT CAST({column} AS VARCHAR)) > 1 OR (COUNT({column}) > 0 AND COUNT({column}) < COUNT(*))"
            for column in map(quoted, self.table.types)
        )
        return (
            f"SELECT {self.episode} AS episode_id, {self.sequence} AS sequence, COUNT(*) AS n "
            f"FROM {quoted(self.source)}{self.where()} GROUP BY {self.episode}, {self.sequence} HAVING {differ}{ORDER}"
        )
