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

    @property
    def dated(self) -> bool:
        """Whether only some of ``ds`` count."""
        return self.rules.ds != (None, None)

    @property
    def stated(self) -> bool:
        """Whether rows without any feature are left out."""
        return self.rules.null_states == "drop"

    def rows(self, *, longest: bool = True, after: bool = False) -> str:
        """The rows that count, as what stands behind FROM.

        ``after``: with them those that follow the last of its episode that is in ``ds``. They count for nothing, but
        they tell that the episode went on, and how; ``row.inside`` is false there. Where rows without a state are left
        out, ``row.newest`` is the last sequence number of the episode, whether its row is here or not.
        """
        found = quoted(self.source)
        if self.stated:
            found = f"(SELECT * FROM {self._marked(found)} WHERE NOT {self._stateless}) AS rows_stated"
        if self.dated and after:
            until = f"MAX(CASE WHEN {self.inside} THEN {self.sequence} END) OVER (PARTITION BY {self.episode})"
            marked = f'SELECT *, COALESCE({self.inside}, FALSE) AS "row.inside", {until} AS "row.until" FROM {found}'
            found = f'(SELECT * FROM ({marked}) AS rows_dated WHERE "row.inside" OR {self.sequence} > "row.until")'
            found += " AS rows_reached"
        elif self.dated:
            found = f"(SELECT * FROM {found} WHERE {self.inside}) AS rows_inside"
        if longest and self.rules.longest is not None:
            short = f"SELECT {self.episode} FROM {self.rows(longest=False)} GROUP BY {self.episode}"
            kept = f"{self.episode} IN ({short} HAVING COUNT(*) <= {number(self.rules.longest + 1e-9)})"
            found = f"(SELECT * FROM {found} WHERE {kept}) AS rows_short"
        return found

    def _marked(self, found: str) -> str:
        newest = f"MAX({self.sequence}) OVER (PARTITION BY {self.episode})"
        return f'(SELECT *, {newest} AS "row.newest" FROM {found}) AS rows_marked'

    @property
    def _stateless(self) -> str:
        """True of a row that is left out: it has no state, and is no decision that closes its episode."""
        closes = f'{values.no_action(self.table)} AND {self.sequence} = "row.newest"'
        return f"({values.null_state(self.table, self.problem)} AND NOT COALESCE({closes}, FALSE))"

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
        rows = f"{self.rows(longest=False)} GROUP BY {self.episode}"
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
        """One row: rows without any feature that the rules drop, the rewards other than 0 on them, and their sum.

        Then the same of those after the last row of their episode that has a state: how many episodes end in such
        rows, the rewards on them, their sum, and the first such episode.
        """
        if self.problem is None:
            reward = "CAST(reward AS DOUBLE)" if "reward" in self.table.types else "0e0"
        else:
            outcomes = {n: f"({values.outcome(self.table, n)})" for n in self.problem.outcome_names}
            reward = values.reward(self.problem, outcomes)
        last = f"MAX(CASE WHEN NOT {self._stateless} THEN {self.sequence} END) OVER (PARTITION BY {self.episode})"
        seen = f'SELECT *, {last} AS "row.stated" FROM {self._marked(quoted(self.source))}'
        inside = f" AND {self.inside}" if self.dated else ""
        inner = (
            f'SELECT {self.episode} AS id, {reward} AS r, {self.sequence} > "row.stated" AS ends FROM ({seen}) AS seen '
            f"WHERE {self._stateless}{inside}"
        )
        return (
            "SELECT COUNT(*) AS n, COUNT(CASE WHEN r <> 0 THEN 1 END) AS rewards, SUM(r) AS total, "
            "COUNT(DISTINCT CASE WHEN ends THEN id END) AS ended, COUNT(CASE WHEN ends AND r <> 0 THEN 1 END) AS paid, "
            "SUM(CASE WHEN ends THEN r END) AS lost, MIN(CASE WHEN ends AND r <> 0 THEN id END) AS first "
            f"FROM ({inner}) AS without"
        )

    def disputed(self) -> str:
        """Keys whose rows differ in anything, with how many rows each has; by time, of those at the one chosen."""
        rows = self.rows()
        if self.rules.duplicates != "identical":
            moment = values.micros(self.table)
            chosen = f"{'MIN' if self.rules.duplicates == 'first' else 'MAX'}({moment}) OVER "
            chosen += f"(PARTITION BY {self.episode}, {self.sequence})"
            rows = f'(SELECT *, {chosen} AS "row.moment" FROM {rows}) AS rows_timed'
            rows = f'(SELECT * FROM {rows} WHERE {moment} IS NULL OR {moment} = "row.moment") AS rows_chosen'
        differ = " OR ".join(
            f"COUNT(DISTINCT CAST({column} AS VARCHAR)) > 1 OR (COUNT({column}) > 0 AND COUNT({column}) < COUNT(*))"
            for column in map(quoted, self.table.types)
        )
        return (
            f"SELECT {self.episode} AS episode_id, {self.sequence} AS sequence, COUNT(*) AS n "
            f"FROM {rows} GROUP BY {self.episode}, {self.sequence} HAVING {differ}{ORDER}"
        )
