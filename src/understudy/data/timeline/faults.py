"""What is said of rows that break a rule: how many, which first, why it matters, what to do."""

from __future__ import annotations

from typing import Any

from understudy.core.errors import DataError
from understudy.core.problem import Problem

ASIDE = "or set their episodes aside with: --faulty aside."


def fault_error(sql: Any, table: str, steps: int, problem: Problem, *, aside: bool = True) -> DataError:
    """The error about the rows in ``table`` (made by ``Query.faulty``): the first fault told, the others counted."""
    found = sql.execute(f"SELECT fault, count(*) FROM {table} GROUP BY fault ORDER BY count(*) DESC, fault").fetchall()
    names = dict(found)
    row = dict(zip(_COLUMNS, sql.execute(f"SELECT {', '.join(_COLUMNS)} FROM {table} LIMIT 1").fetchall()[0]))
    fault, detail = _told(row, problem)
    n = sum(count for name, count in names.items() if name == row["fault"])
    others = ", ".join(f"{name} {count:,}" for name, count in names.items() if name != row["fault"])
    what, why, hint = _SAID[fault]
    first = f"episode {row['episode_id']!r}, sequence {row['sequence']}"
    return DataError(
        f"{n:,} of {steps:,} rows: {what.format(**_words(problem))}; first: {first}{detail}"
        + (f"; and of other faults: {others}" if others else ""),
        why,
        f"{hint} {ASIDE}" if fault != "key_missing" and aside else f"{hint.rstrip(',;')}.",
        field=fault,
    )


_COLUMNS: tuple[str, ...] = ("fault", "said_action", "episode_id", "sequence", "t", "propensity", "total", "bad")


def _told(row: dict[str, Any], problem: Problem) -> tuple[str, str]:
    """(fault, what the first such row says)."""
    fault = row["bad"] if row["fault"] == "row" else row["fault"]
    fault, _, about = fault.partition(":")
    if about:
        return fault, f": {about}"
    if fault in ("action", "action_not_allowed", "allowed"):
        return fault, f": action={row['said_action']}"
    if fault.startswith("propensit"):
        return fault, f": propensity={row['propensity']:g}" if row["propensity"] is not None else ""
    if fault.startswith("reward"):
        return fault, f": reward={row['total']}"
    return fault, f": t={row['t']}" if fault == "horizon" else ""


def _words(problem: Problem) -> dict[str, Any]:
    return {"k": problem.actions.k or problem.actions.dims, "range": list(problem.reward_range),
            "horizon": problem.horizon}  # fmt: skip


# fault → (what, why, what next)
_SAID = {
    "key_missing": (
        "no episode or no sequence number", "Nobody can tell where in which episode they stand.",
        "Complete the table",
    ),
    "time_missing": (
        "no time", "Slices by time would leave them out, and elapsed time would be guessed.", "Complete them,",
    ),
    "time_backwards": (
        "the next row of the episode has an earlier time", "γ would count backwards, and later rewards would grow.",
        "Correct the times, or count steps with: --discount-per step;",
    ),
    "next_time_missing": (
        "the next row of the episode has no time", "How long that step lasted would be guessed.",
        "Complete it, or count steps with: --discount-per step;",
    ),
    "unit_changes": (
        "the next row of the episode has another unit", "An episode belongs to one unit: intervals are computed so.",
        "Correct the units, or give each its own episode,",
    ),
    "final_state_dropped": (
        "the episode goes on in rows without a state, which are left out, so what followed is not known",
        "The world did not end it there, and nothing can be bootstrapped from.",
        "Let the last row that has a state be what followed, with: --terminal drop;",
    ),
    "final_state_faulty": (
        "the state after the last step of a truncated episode has a feature or possible actions that are missing or "
        "unknown",
        "A learner bootstraps from that state.", "Complete it, or set optional: true in the problem,",
    ),
    "duplicate": (
        "the next row has the same episode and sequence number",
        "Both would count as decisions, with a transition between them that never was.",
        "Correct the table; keep one of each with: --duplicates identical, first or last;",
    ),
    "null_state": (
        "no feature at all", "A decision without a state says nothing, and its neighbors would lead into the void.",
        "Complete them, leave them out with: --null-states drop;",
    ),
    "no_action": (
        "no action in the middle of an episode", "Only a last row may lack one: it shows where the episode ended.",
        "Complete them,",
    ),
    "action": (
        "the action is not one of the problem's {k}, or out of its bounds",
        "No policy of this problem could have taken it.", "Name it in the problem,",
    ),
    "allowed": (
        "the possible actions are not among the problem's {k}, or a mask has another length",
        "What could have been done decides what a policy may do.", "Name them in the problem,",
    ),
    "action_not_allowed": (
        "the action is not among the possible ones", "A policy that keeps to them could not have taken it.",
        "Log what was possible at that moment,",
    ),
    "propensity": (
        "the propensity is not in (0, 1], or no density above 0",
        "The importance weight of such a row is undefined.", "Log the probability after masking,",
    ),
    "propensities": (
        "the propensities are not {k} probabilities that sum to 1", "They say how the log came about.",
        "Log them after masking,",
    ),
    "propensity_contradiction": (
        "the propensity differs from the action's entry in the propensities", "One of the two is wrong.",
        "Correct them,",
    ),
    "sequence": ("the sequence number is not whole", "Its order would depend on rounding.", "Number the rows,"),
    "feature_missing": (
        "a feature is missing that is not optional", "A learner would take the gap for a value.",
        "Complete it, or set optional: true in the problem,",
    ),
    "feature_value": (
        "a feature has a value that the problem does not know", "A learner could not tell what it means.",
        "Correct it or the problem,",
    ),
    "ended_before": (
        "flagged as the end of an episode that goes on", "One of its halves would be lost, or bootstrapped wrongly.",
        "Give the rows after it another episode id,",
    ),
    "outcome_missing": (
        "an outcome is missing that has no default", "A missing outcome is not 0.",
        "Complete it, or give it a default in the problem,",
    ),
    "reward_not_finite": ("the reward is not finite", "No mean of rewards would be.", "Correct it,"),
    "reward_out_of_range": (
        "the reward is not in {range}", "The gate's proof scales by that range.",
        "Correct reward_range in the problem,",
    ),
    "unit_missing": ("no unit, and the unit is independent", "Intervals are computed over units.", "Complete it,"),
    "horizon": (
        "the episode is longer than the problem's horizon of {horizon}", "Its value is defined over so many steps.",
        "Correct horizon in the problem,",
    ),
    "final_state_missing": (
        "the episode was cut off and the state after its last step is not logged",
        "What would have followed is unknown, so nothing can be bootstrapped from.",
        "Use the last row as that state with: --terminal drop-truncated (and say what to do with its reward: "
        "--lost-reward);",
    ),
}  # fmt: skip
