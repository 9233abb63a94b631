"""The timeline as one SQL text, put together from problem, table and rules. Names are quoted, numbers are literals.

Reading order: ``logged`` a row of the table in our terms, ``single`` without duplicates, ``placed`` with its place in
the episode and its neighbor, ``judged`` with what it is: a step, or only the state in which its episode closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from understudy.core.problem import Problem
from understudy.data.join_sql import SLACK
from understudy.data.schema import action_columns, quoted
from understudy.data.timeline import values
from understudy.data.timeline.filters import ORDER, Input
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.table import REAL, Table
from understudy.data.timeline.values import Faults, literal, number


@dataclass(frozen=True)
class Query:
    """What the texts depend on. ``source`` is the name of the relation that holds the decision table."""

    problem: Problem
    table: Table
    rules: Rules = field(default_factory=Rules)
    source: str = "decisions"

    @property
    def input(self) -> Input:
        return Input(self.table, self.rules, self.problem, self.source)

    # -------------------------------------------------------------------------------------------------------- texts

    def steps(self, *, sort: bool = True) -> str:
        """The rows of the dataset, by (episode, sequence). A faulty row has no action, so that a footer tells."""
        sane = "NOT (" + " OR ".join(condition for _, condition in self.faults) + ")"
        rows = f"SELECT {self._columns(sane)} FROM judged WHERE {self._stays}"
        if self.rules.faulty == "aside":
            rows += " AND NOT spoilt"
        return f"{self._with()}\n{rows}{ORDER if sort else ''}"

    def faulty(self) -> str:
        """Every step that breaks a rule, with the first reason, what it said, and its place."""
        cases = " ".join(f"WHEN {condition} THEN {literal(reason)}" for reason, condition in self.faults)
        chosen = f"CASE {cases} END AS fault, said_action, {', '.join(map(quoted, self._plain_columns()))}"
        within = f"SELECT {chosen} FROM judged WHERE {self._stays}"
        if self.rules.faulty == "aside":
            whole = "COALESCE(fault, 'episode_incomplete') AS fault"
            rest = ", ".join(["said_action", *map(quoted, self._plain_columns())])
            within = f"SELECT {whole}, {rest} FROM ({within} AND spoilt) AS broken"
            return f"{self._with()}\n{within}{ORDER}"
        return f"{self._with()}\nSELECT * FROM ({within}) AS checked WHERE fault IS NOT NULL{ORDER}"

    def lost(self) -> str:
        """One row: how many rows are no steps, how many rewards other than 0 they carry, their sum, the first episode.

        ``alone`` are those of episodes that consist of that row only: there is no step before to add them to.
        """
        paid = "reward <> 0"
        return (
            f"{self._with()}\nSELECT COUNT(*) AS n, COUNT(CASE WHEN {paid} THEN 1 END) AS paid, SUM(reward) AS total, "
            f"MIN(CASE WHEN {paid} THEN episode_id END) AS first, "
            f"COUNT(CASE WHEN t = 0 AND {paid} THEN 1 END) AS alone FROM judged WHERE closing{self._within}"
        )

    # ------------------------------------------------------------------------------------------------------- frames

    def _with(self) -> str:
        frames = {"logged": self._logged(), "placed": self._placed(), "judged": self._judged()}
        if self.rules.duplicates != "refuse":
            frames["single"] = self._single()
        order = [name for name in ("logged", "single", "placed", "judged") if name in frames]
        return "WITH " + ", ".join(f"{name} AS (\n  {frames[name]}\n)" for name in order)

    def _logged(self) -> str:
        """Scalars of one row. ``bad`` is the reason why it breaks a rule by itself, or NULL."""
        t, p = self.table, self.problem
        chosen = {
            "episode_id": values.texted(t, "episode"), "sequence": values.sequence(t), "time": values.micros(t),
            "unit_id": values.texted(t, "unit") if t.has("unit") else "CAST(NULL AS VARCHAR)",
            "policy_id": values.texted(t, "policy") if t.has("policy") else "CAST(NULL AS VARCHAR)",
            "said_action": f"CAST({quoted(t.roles['action'])} AS VARCHAR)", "no_action": values.no_action(t),
            **{f"context.{f.name}": values.feature(t, f)[0] for f in p.features},
            **dict(values.actions(t, p)),
            **{f"allowed_{i}": flag for i, flag in enumerate(self._allowed[0] or ())},
            "propensity": self._propensity[0] or "CAST(NULL AS DOUBLE)",
            **{f"propensity_{i}": each for i, each in enumerate(self._propensity[1] or ())},
            **{f"outcome.{name}": values.outcome(t, name) for name in p.outcome_names},
            **{role: f"COALESCE({self._flag(role)}, FALSE)" for role in self._flags},
            "barred": values.barred(t, p.actions.k), "null_state": values.null_state(t, p), "bad": self._bad(),
            **({"inside": '"row.inside"'} if self.input.dated else {}),
            **({"newest": '"row.newest"'} if self.input.stated else {}),
        }  # fmt: skip
        inner = ",\n    ".join(f"{expression} AS {quoted(name)}" for name, expression in chosen.items())
        rows = f"SELECT\n    {inner}\n  FROM {self.input.rows(after=True)}"
        return f"SELECT *, {values.reward(p)} AS reward FROM (\n  {rows}) AS rows_read"

    def _single(self) -> str:
        order = {"first": "", "last": " DESC", "identical": ""}[self.rules.duplicates]
        by = ", ".join(f"{name}{order}" for name in ("time", "said_action", "reward", "propensity"))
        return f"""SELECT * FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY episode_id, sequence ORDER BY {by}) AS copy FROM logged
  ) AS copies WHERE copy = 1"""

    def _placed(self) -> str:
        source = "logged" if self.rules.duplicates == "refuse" else "single"
        ahead = {"next_sequence": "sequence"}
        if self.table.has("unit"):
            ahead["next_unit"] = "unit_id"
        if self.rules.discount_per == "time":
            ahead["next_time"] = "time"
        if self.may_close:
            ahead |= {f"next_{name}": name for name in ("no_action", "reward", *self._flags)}
        if self.input.dated:
            ahead["next_inside"] = "inside"
        if self._looks_ahead:
            ahead |= {"next_bad": "bad", "next_null_state": "null_state", "next_barred": "barred"}
            ahead |= {f"next.{name}": f"context.{name}" for name in self.problem.feature_names}
            ahead |= {f"next_{name}": name for name in self._masks}
        leads = ",\n    ".join(f"LEAD({quoted(old)}) OVER w AS {quoted(new)}" for new, old in ahead.items())
        if self._cuts:
            leads += ",\n    LEAD(sequence, 2) OVER w AS sequence_after"
        first = "" if self.rules.within is None else "\n    MIN(sequence) OVER e AS first_sequence,"
        return f"""SELECT *, (ROW_NUMBER() OVER w) - 1 AS t, COUNT(*) OVER e AS n,{first}
    {leads}
  FROM {source}
  WINDOW w AS (PARTITION BY episode_id ORDER BY sequence), e AS (PARTITION BY episode_id)"""

    def _judged(self) -> str:
        closes = {"keep": "no_action", "drop": "TRUE", "drop_truncated": "(no_action OR truncated)"}
        rule = closes[self.rules.terminal]
        if self.rules.terminal == "drop_truncated" and "truncated" not in self._flags:
            rule = "no_action"
        after = rule.replace("no_action", "next_no_action").replace("truncated", "next_truncated")
        closing, next_closing, cut = "FALSE", "FALSE", "FALSE"
        if self.may_close:
            closing, next_closing = f"(t = n - 1 AND {rule})", f"(t = n - 2 AND {after})"
        if self._cuts:
            cut = f"COALESCE({' OR '.join(self._cuts)}, FALSE)"
        unseen = "(t = n - 1 AND COALESCE(sequence < newest, FALSE))" if self.input.stated else "FALSE"
        spoilt = ""
        if self.rules.faulty == "aside":
            any_fault = " OR ".join(condition for _, condition in self.faults)
            spoilt = f", MAX(CASE WHEN {self._stays} AND ({any_fault}) THEN 1 ELSE 0 END) OVER "
            spoilt += "(PARTITION BY episode_id) = 1 AS spoilt"
        said = f"SELECT *, {closing} AS closing, {next_closing} AS next_closing, {cut} AS cut, {unseen} AS unseen"
        said += " FROM placed"
        ends = f"SELECT *, (t = n - 1 OR next_closing OR cut) AS ends FROM ({said}) AS closed"
        total = "reward"
        if self.may_close and self.rules.lost_reward == "add":
            total = "reward + CASE WHEN next_closing AND NOT cut THEN COALESCE(next_reward, 0e0) ELSE 0e0 END"
        ended = f"SELECT *, (ends AND {self._terminated}) AS ends_well, {total} AS total FROM ({ends}) AS ended"
        return f"SELECT *{spoilt} FROM ({ended}) AS told"

    # -------------------------------------------------------------------------------------------------------- pieces

    @property
    def _terminated(self) -> str:
        """True of a step that ends its episode because the world did, and not the log. Explicit flags win."""
        beyond = {role: f" OR (next_closing AND next_{role})" if self.may_close else "" for role in _FLAGS}
        if "terminated" in self._flags:
            return f"(terminated{beyond['terminated']})"
        barred = "(next_closing AND next_barred)" if self.may_close else "FALSE"
        if "truncated" in self._flags:
            return f"(NOT (truncated{beyond['truncated']}) AND NOT (unseen OR (cut AND NOT next_closing)))"
        return f"(barred OR {barred} OR NOT (next_closing OR cut OR unseen))"

    @cached_property
    def faults(self) -> Faults:
        """(reason, condition) of a step of ``judged``, in the order in which they are told. None is ever NULL."""
        low, high = self.problem.reward_range
        slack = SLACK * (high - low)
        bounds = f"{number(low - slack)} AND {number(high + slack)}"
        missing = [quoted(f"outcome.{o.name}") for o in self.problem.outcomes if o.default is None]
        misplaced = " OR ".join([*self._flags, "barred"])
        faults = [
            ("key_missing", "(episode_id IS NULL OR sequence IS NULL)"),
            ("sequence", "COALESCE(bad = 'sequence', FALSE)"),
            ("time_missing", "time IS NULL"),
            ("duplicate", f"COALESCE(next_sequence = sequence{self._twice}, FALSE)"),
            ("null_state", "null_state"),
            ("no_action", "no_action"),
            ("action", " OR ".join(f"{quoted(name)} IS NULL" for name in action_columns(self.problem))),
            ("row", "bad IS NOT NULL"),
            ("ended_before", f"(({misplaced}) AND NOT ends)"),
            ("outcome_missing", " OR ".join(f"{name} IS NULL" for name in missing) or "FALSE"),
            ("reward_not_finite", f"(total IS NULL OR NOT {_finite('total')})"),
            ("reward_out_of_range", f"NOT COALESCE(total BETWEEN {bounds}, FALSE)"),
        ]  # fmt: skip
        if self._allowed[0] is not None:
            faults.insert(6, ("action_not_allowed", values.not_allowed(self.problem.actions.k)))
        if self.table.has("unit"):
            faults.append(("unit_changes", "COALESCE(next_unit <> unit_id, FALSE)"))
        if self.rules.discount_per == "time":
            faults.append(("time_backwards", "COALESCE(next_time < time, FALSE)"))
            lacks = "next_sequence IS NOT NULL AND next_time IS NULL AND NOT ends_well"
            faults.append(("next_time_missing", lacks))
        if self.problem.unit == "unit":
            faults.append(("unit_missing", "unit_id IS NULL"))
        if self.problem.horizon is not None:
            faults.append(("horizon", f"t >= {self.problem.horizon}"))
        faults += self._final_faults()
        return [(reason, f"({condition})") for reason, condition in faults]

    def _final_faults(self) -> Faults:
        """What is wrong with the state that followed a truncated episode."""
        faults: Faults = []
        if self._looks_ahead:
            told = "COALESCE(next_bad LIKE 'feature%' OR next_bad = 'allowed', FALSE)"
            faults.append(("final_state_faulty", f"(ends AND NOT ends_well AND {told})"))
        if self.input.stated:
            faults.append(("final_state_dropped", "(unseen AND ends AND NOT ends_well)"))
        blind = "t = n - 1"
        if self._looks_ahead:
            blind += " OR next_null_state"
        faults.append(("final_state_missing", f"(ends AND NOT ends_well AND ({blind}))"))
        return faults

    def _bad(self) -> str:
        """The first fault that a row has by itself: what its features, its actions and its propensities say."""
        faults: Faults = []
        if self.table.type("sequence") in REAL:
            column = quoted(self.table.roles["sequence"])
            faults.append(("sequence", f"COALESCE({column} <> FLOOR({column}), FALSE)"))
        faults += [(f"{reason}:{f.name}", c) for f in self.problem.features
                   for reason, c in values.feature(self.table, f)[1]]  # fmt: skip
        faults += [*self._allowed[1], *self._propensity[2]]
        cases = " ".join(f"WHEN {condition} THEN {literal(reason)}" for reason, condition in faults)
        return f"CASE {cases} END" if faults else "CAST(NULL AS VARCHAR)"

    def _columns(self, sane: str) -> str:
        """The columns of the dataset, in order."""
        p, r = self.problem, self.rules
        low, high = p.reward_range
        first, *more = action_columns(p)
        action = [f"CASE WHEN {sane} THEN {quoted(first)} END AS {quoted(first)}", *map(quoted, more)]
        k, chosen = p.actions.k, []
        if self._allowed[0] is not None:
            chosen.append("[" + ", ".join(f"allowed_{i}" for i in range(k)) + "] AS allowed")
        chosen.append("propensity")
        if self._propensity[1] is not None:
            each = ", ".join(f"propensity_{i}" for i in range(k))
            chosen.append(f"CASE WHEN propensity_0 IS NOT NULL THEN [{each}] END AS propensities")
        clamped = f"GREATEST({number(low)}, LEAST({number(high)}, total)) AS reward"
        ends = ["ends_well AS terminated", "(ends AND NOT ends_well) AS truncated"]
        if r.discount_per != "step":
            ends.append(f"{self._span()} AS span")
        if self._looks_ahead or self._flags:
            ahead = self._looks_ahead
            ends += [
                f"CASE WHEN ends AND NOT ends_well THEN {quoted(f'next.{n}') if ahead else 'CAST(NULL AS FLOAT)'} END "
                f"AS {quoted(f'final.{n}')}"
                for n in p.feature_names
            ]
            if ahead and self._masks:
                mask = ", ".join(f"next_{name}" for name in self._masks)
                ends.append(f"CASE WHEN ends AND NOT ends_well AND NOT next_barred THEN [{mask}] END AS final_allowed")
        keys = ["episode_id", "CAST(t AS INTEGER) AS t", "sequence", "unit_id", "time", "policy_id"]
        context = [quoted(f"context.{name}") for name in p.feature_names]
        outcomes = [quoted(f"outcome.{name}") for name in p.outcome_names]
        return ",\n  ".join([*keys, *context, *action, *chosen, clamped, *outcomes, *ends])

    def _plain_columns(self) -> list[str]:
        p = self.problem
        outcomes = [f"outcome.{name}" for name in p.outcome_names]
        return ["episode_id", "t", "sequence", "time", *action_columns(p), "propensity", "total", *outcomes, "bad"]

    def _span(self) -> str:
        """The exponent of γ from a step to the next one; 1 where none follows."""
        a, b, per = "sequence", "next_sequence", self.rules.per
        if self.rules.discount_per == "time":
            a, b, per = "time", "next_time", self.rules.per * 1e6
        return f"COALESCE(CAST({b} - {a} AS DOUBLE) / {number(per)}, 1e0)"

    @property
    def _stays(self) -> str:
        """True of a step that the dataset holds."""
        return f"NOT closing{self._within}"

    @property
    def _within(self) -> str:
        """A row whose sequence is missing stays, to be told."""
        limit, inside = self.rules.within, " AND inside" if self.input.dated else ""
        return inside + ("" if limit is None else f" AND COALESCE(sequence - first_sequence <= {limit}, TRUE)")

    @property
    def _cuts(self) -> list[str]:
        """True of a step whose episode goes on in a row that does not count."""
        limit, dated = self.rules.within, self.input.dated
        after = [] if limit is None else [f"next_sequence - first_sequence > {limit}"]
        return after + (["NOT next_inside"] if dated else [])

    @property
    def _twice(self) -> str:
        """Two rows of one key after a cut would both be the state that followed."""
        return " OR (cut AND sequence_after = next_sequence)" if self._cuts else ""

    @cached_property
    def _masks(self) -> list[str]:
        return [f"allowed_{i}" for i in range(len(self._allowed[0] or ()))]

    @property
    def may_close(self) -> bool:
        """Whether some last row may be no step."""
        return self.table.closing or self.rules.terminal != "keep"

    @property
    def _looks_ahead(self) -> bool:
        """Whether a truncated episode can have a state that follows its last step."""
        return self.may_close or bool(self._cuts)

    @cached_property
    def _flags(self) -> tuple[str, ...]:
        return tuple(role for role in _FLAGS if self.table.has(role))

    def _flag(self, role: str) -> str:
        column = quoted(self.table.roles[role])
        return column if self.table.type(role) == "BOOLEAN" else f"{column} <> 0"

    @cached_property
    def _allowed(self) -> tuple[list[str] | None, Faults]:
        return values.allowed(self.table, self.problem)

    @cached_property
    def _propensity(self) -> tuple[str | None, list[str] | None, Faults]:
        return values.propensity(self.table, self.problem)


_FLAGS = ("terminated", "truncated")


def _finite(name: str) -> str:
    return f"COALESCE(ABS({name}) < CAST('Infinity' AS DOUBLE), FALSE)"
