"""The join as SQL: one text, put together from the problem, for DuckDB and through sqlglot for Spark.

Names are quoted, numbers are literals with an exponent: without one they would be decimals.

Reading order: ``d`` the decisions, ``o`` the outcomes (once each), ``hits`` every outcome with its fate, ``sums`` the
outcomes of one decision as one number each, ``joined`` a row of the dataset.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from understudy.core.problem import Problem, reward_names
from understudy.data.schema import action_columns, quoted

JOINED, EARLY, LATE, ORPHAN, WAITING, PAST = range(6)  # the fate of an outcome
SLACK = 1e-9  # of the reward range: rounding of a sum, not a reward out of range


@dataclass(frozen=True)
class Query:
    """What the texts depend on. Times in microseconds."""

    problem: Problem
    decisions: str  # a relation with file_row_number, each row's place in the log
    outcomes: str  # likewise
    window: int
    backward: int
    as_of: int
    after: int | None = None

    @property
    def due(self) -> str:
        """True of a decision whose window has closed by now, and had not by ``after``."""
        return f"closes <= {self.as_of}" + ("" if self.after is None else f" AND closes > {self.after}")

    @property
    def d(self) -> str:
        """Decisions with their place in the log, and the moment their (episode's) last window closes."""
        closes = f"time + {self.window}"
        if not self.problem.bandit:
            closes = f"max(time) OVER (PARTITION BY episode) + {self.window}"
        return (
            f"(SELECT * EXCLUDE (file_row_number), file_row_number AS log_row, {closes} AS closes "
            f"FROM {self.decisions} AS logged)"
        )

    def hits(self) -> str:
        """Every outcome once (the earliest of its copies, whose values are equal), with its decision and its fate."""
        name = "0" if len(self.problem.outcomes) == 1 else "any_value(name)"
        past = "" if self.after is None else f"WHEN d.closes <= {self.after} THEN {PAST}"
        return f"""
SELECT d.log_row, o.position, o.name, o.value, o.time - d.time AS delay,
       CASE WHEN d.time IS NULL THEN {ORPHAN}
            WHEN o.time - d.time >= {self.window} THEN {LATE}
            WHEN o.time - d.time <= -{self.backward} AND o.time < d.time THEN {EARLY}
            WHEN d.closes > {self.as_of} THEN {WAITING} {past}
            ELSE {JOINED} END::UTINYINT AS fate
FROM (SELECT key, dedup, min(file_row_number) AS position, {name} AS name, min(time) AS time, min(value) AS value
      FROM {self.outcomes} AS told GROUP BY key, dedup) AS o
LEFT JOIN (SELECT key, time, log_row, closes FROM {self.d}) AS d USING (key)"""

    def lost(self) -> str:
        """The outcomes that counted for nothing, as they stand in the log, with why and how late."""
        return f"""
SELECT o.* EXCLUDE (file_row_number), CASE fate WHEN {LATE} THEN 'late' WHEN {EARLY} THEN 'early' ELSE 'orphan' END
       AS fate, h.delay / 1e6 AS delay
FROM {self.outcomes} AS o
JOIN (SELECT * FROM hits WHERE fate IN ({LATE}, {EARLY}, {ORPHAN})) AS h ON o.file_row_number = h.position
ORDER BY h.position"""

    def sums(self) -> str:
        """One row per decision with outcomes: each outcome as one number, how many came, how soon the first."""
        values, joins = [], []
        for place, outcome in enumerate(self.problem.outcomes):
            only = "" if len(self.problem.outcomes) == 1 else f" FILTER (h.name = {place})"
            value = _AGGREGATES[outcome.aggregate].replace(" FILTER", only)
            if outcome.aggregate in ("sum", "mean"):
                joins.append(_exact_sums(place, outcome.aggregate))
                value = f"coalesce(any_value(exact{place}.value), {value})"
            values.append(f"{value} AS {quoted(f'outcome.{outcome.name}')}")
        return f"""
SELECT log_row, {", ".join(values)}, count(*)::INTEGER AS arrived, min(h.delay) / 1e6 AS delay
FROM (SELECT * FROM hits WHERE fate = {JOINED}) AS h {" ".join(joins)} GROUP BY log_row"""

    def joined(self) -> str:
        """Mature decisions with their outcomes and their reward, whatever it is."""
        names = ", ".join(f"s.{quoted(f'outcome.{name}')}" for name in self.problem.outcome_names)
        ends = "true" if self.problem.bandit else "log_row = max(log_row) OVER (PARTITION BY episode)"
        return f"""
(SELECT d.*, d.key AS decision, {names}, coalesce(s.arrived, 0)::INTEGER AS arrived, s.delay,
        {self.reward()} AS reward, {ends} AS terminated, false AS truncated
 FROM {self.d} AS d LEFT JOIN ({self.sums()}) AS s USING (log_row) WHERE {self.due})"""

    def dataset(self, *, sort: bool) -> str:
        """The rows of the dataset. A fault in one step sets its whole episode aside."""
        low, high = self.problem.reward_range
        reward = f"greatest({number(low)}, least({number(high)}, reward)) AS reward"
        if self.problem.bandit:
            judged = f"{self.joined()} AS rewarded WHERE {self.sound()}"
        else:
            judged = f"{self._judged()} AS judged WHERE fault IS NULL"
        return f"SELECT {self._columns(reward)} FROM {judged}{' ORDER BY log_row' if sort else ''}"

    def faulty(self) -> str:
        """The mature rows that may not enter the dataset, with their reward as it is and the reason."""
        rows = f"{self._judged()} AS judged WHERE fault IS NOT NULL"
        return f"SELECT {self._columns('reward')}, fault FROM {rows} ORDER BY log_row"

    def sound(self) -> str:
        """True where ``fault`` is NULL. NaN and infinity lie in no range, NULL is not true."""
        low, high = self._bounds()
        return " AND ".join(
            [f"reward BETWEEN {number(low)} AND {number(high)}", *(f"{name} IS NOT NULL" for name in self._needed())]
        )

    def fault(self) -> str:
        """Why a row may not be used; NULL if it may."""
        low, high = self._bounds()
        missing = " OR ".join(f"{name} IS NULL" for name in self._needed()) or "false"
        return f"""
CASE WHEN {missing} THEN 'outcome_missing'
     WHEN NOT COALESCE(ABS(reward) < CAST('Infinity' AS DOUBLE), FALSE) THEN 'reward_not_finite'
     WHEN reward NOT BETWEEN {number(low)} AND {number(high)} THEN 'reward_out_of_range' END"""

    def _bounds(self) -> tuple[float, float]:
        low, high = self.problem.reward_range
        return low - SLACK * (high - low), high + SLACK * (high - low)

    def _needed(self) -> list[str]:
        """Columns of the outcomes that have no default."""
        return [quoted(f"outcome.{outcome.name}") for outcome in self.problem.outcomes if outcome.default is None]

    def _judged(self) -> str:
        name = "fault" if self.problem.bandit else "own_fault"
        judged = f"(SELECT *, {self.fault()} AS {name} FROM {self.joined()} AS rewarded)"
        if self.problem.bandit:
            return judged
        spoilt = "count(own_fault) OVER (PARTITION BY episode) > 0"
        return f"""
(SELECT *, coalesce(own_fault, CASE WHEN {spoilt} THEN 'episode_incomplete' END) AS fault FROM {judged} AS spoken)"""

    def _columns(self, reward: str) -> str:
        """The columns of the dataset, in order."""
        p = self.problem
        features = [f"context.{name}" for name in p.feature_names]
        outcomes = [f"outcome.{name}" for name in p.outcome_names]
        before = [*_KEPT, *features, *action_columns(p), "allowed", "propensity", "propensities"]
        after = [*outcomes, "arrived", "delay", "terminated", "truncated"]
        return ", ".join([*map(quoted, before), reward, *map(quoted, after)])

    def reward(self) -> str:
        """The reward as SQL arithmetic over outcomes, the default standing in where none arrived."""
        return arithmetic_sql(self.problem, {n: f"s.{quoted(f'outcome.{n}')}" for n in self.problem.outcome_names})


def number(value: float) -> str:
    """A DOUBLE literal in every dialect."""
    text = repr(float(value))
    return text if "e" in text else f"{text}e0"


def arithmetic_sql(problem: Problem, columns: dict[str, str]) -> str:
    """The reward as SQL arithmetic over each outcome's column, an outcome's default standing in for NULL."""
    values = {}
    for outcome in problem.outcomes:
        column, default = columns[outcome.name], outcome.default
        values[outcome.name] = column if default is None else f"coalesce({column}, {float(default)!r}::DOUBLE)"
    if problem.reward in values:
        return values[problem.reward]
    reward_names(problem.reward, problem.outcome_names)  # plain arithmetic, or ValueError
    return _arithmetic(ast.parse(problem.reward, mode="eval").body, values)


_KEPT = (
    "log_row",
    "decision",
    "decision_id",
    "episode",
    "episode_id",
    "t",
    "unit",
    "unit_id",
    "time",
    "policy",
    "policy_id",
)

_AGGREGATES = {
    "first": "arg_min(h.value, h.position) FILTER",
    "last": "arg_max(h.value, h.position) FILTER",
    "sum": "sum(h.value) FILTER",
    "mean": "avg(h.value) FILTER",
    "min": "min(h.value) FILTER",
    "max": "max(h.value) FILTER",
}

_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _exact_sums(place: int, aggregate: str) -> str:
    """Sums of three or more, added in the log's order: two numbers add up alike in any order, three need not."""
    total = "list_sum(list(value ORDER BY position))"
    value = total if aggregate == "sum" else f"{total} / count(*)"
    mine = f"fate = {JOINED} AND name = {place}"
    return (
        f"LEFT JOIN (SELECT log_row, {value} AS value FROM hits SEMI JOIN (SELECT log_row FROM hits WHERE {mine} "
        f"GROUP BY log_row HAVING count(*) > 2) USING (log_row) WHERE {mine} GROUP BY log_row) AS exact{place} "
        "USING (log_row)"
    )


def _arithmetic(node: ast.AST, values: dict[str, str]) -> str:
    if isinstance(node, ast.BinOp):
        return f"({_arithmetic(node.left, values)} {_SIGNS[type(node.op)]} {_arithmetic(node.right, values)})"
    if isinstance(node, ast.UnaryOp):
        return f"(-{_arithmetic(node.operand, values)})"
    if isinstance(node, ast.Name):
        return values[node.id]
    assert isinstance(node, ast.Constant)
    return f"{float(node.value)!r}::DOUBLE"  # type: ignore[arg-type]
