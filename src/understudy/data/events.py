"""Steps → raw event files, as a running service would have written them: for simulation, demos and round trips."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from understudy.core.errors import DataError
from understudy.core.events import Decision, Outcome, Scalar
from understudy.core.problem import Feature, Problem
from understudy.core.steps import Steps
from understudy.data.times import MICRO, iso


def write_events(
    steps: Steps,
    problem: Problem,
    folder: str | Path,
    *,
    prefix: str = "d",
    delays: np.ndarray | float = 1.0,
    sent: np.ndarray | None = None,
    policy_id: str | None = None,
    iso_time: bool = False,
) -> tuple[Path, Path]:
    """Write decisions.jsonl and outcomes.jsonl. Decision i is called ``<prefix>-<i>``.

    Args:
        steps: what happened; NaN outcomes were never measured. Without ``outcomes`` the reward is sent as the
            outcome that the problem's reward names.
        delays: seconds from decision to outcome, f64[n] or one number.
        sent: bool[n], whose outcomes were sent; None is all.
        iso_time: ISO 8601 text, not seconds since 1970 UTC.

    Returns:
        The two paths. Existing files are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"{prefix}-{i:07d}" for i in range(steps.n)]
    stamp = iso if iso_time else lambda micros: micros / MICRO
    decisions = folder / "decisions.jsonl"
    decisions.write_bytes(_lines(_decisions(steps, problem, ids, policy_id, stamp)))
    outcomes = folder / "outcomes.jsonl"
    outcomes.write_bytes(_lines(_outcomes(steps, problem, ids, delays, sent, stamp)))
    return decisions, outcomes


def contexts(problem: Problem, context: np.ndarray) -> list[dict[str, Scalar]]:
    """f32[n, d] as a log tells it, a dictionary per row; what is missing is left out."""
    columns = [_values(feature, context[:, j]) for j, feature in enumerate(problem.features)]
    rows = [dict(zip(problem.feature_names, row)) for row in zip(*columns)] if columns else [{} for _ in context]
    if any(feature.optional for feature in problem.features):
        rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
    return rows


def _lines(events: list) -> bytes:
    return msgspec.json.Encoder().encode_lines(events)


def _decisions(steps: Steps, problem: Problem, ids: list[str], policy_id: str | None, stamp) -> list[Decision]:
    n, names = steps.n, problem.actions.names
    told = contexts(problem, steps.context)
    actions = [names[a] for a in steps.action.tolist()] if names else steps.action.tolist()
    alone = [None] * n
    propensity = alone if steps.propensity is None else steps.propensity.tolist()
    propensities = alone if steps.propensities is None else steps.propensities.tolist()
    allowed = alone
    if steps.allowed is not None:
        allowed = [[name for name, may in zip(names, row) if may] for row in steps.allowed.tolist()]
    units = alone if problem.unit != "unit" else [f"{unit:016x}" for unit in steps.row_unit.tolist()]
    episode, t = alone, [0] * n
    if not problem.bandit:
        lengths = np.diff(steps.starts)
        episode = [f"{ids[0]}-e{i}" for i in np.repeat(np.arange(steps.m), lengths).tolist()]
        t = (np.arange(n) - np.repeat(steps.starts[:-1], lengths)).tolist()
    elif problem.unit == "episode":
        episode = [f"{unit:016x}" for unit in steps.row_unit.tolist()]
    rows = zip(ids, steps.time.tolist(), told, actions, propensity, propensities, allowed, episode, t, units)
    return [
        Decision(
            decision_id=d, time=stamp(time), context=x, action=a, propensity=p, propensities=ps, allowed=may,
            episode_id=e, t=turn, unit_id=u, policy_id=policy_id,
        )
        for d, time, x, a, p, ps, may, e, turn, u in rows
    ]  # fmt: skip


def _values(feature: Feature, column: np.ndarray) -> list:
    """A feature as people write it: numbers, true and false, names of categories; None where missing."""
    missing = np.isnan(column)
    if feature.kind == "number":
        values = column.astype(np.float64).tolist()
    elif feature.kind == "boolean":
        values = (np.nan_to_num(column) != 0).tolist()
    else:
        names = [*feature.values, "(other)"]
        values = [names[code] for code in np.nan_to_num(column).astype(np.int64).tolist()]
    return [None if gone else value for value, gone in zip(values, missing.tolist())] if missing.any() else values


def _outcomes(
    steps: Steps, problem: Problem, ids: list[str], delays: np.ndarray | float, sent: np.ndarray | None, stamp
) -> list[Outcome]:
    values = steps.outcomes
    if values is None:
        if problem.reward not in problem.outcome_names or len(problem.outcomes) > 1:
            raise DataError(
                f"the steps have a reward and no outcomes, and {problem.reward!r} cannot be undone",
                hint="Give steps with outcomes, or a problem whose reward is its only outcome.",
            )
        values = steps.reward[:, None]
    times = steps.time + np.rint(np.broadcast_to(delays, steps.n) * MICRO).astype(np.int64)
    told = np.ones(steps.n, bool) if sent is None else sent
    events = []
    for j, name in enumerate(problem.outcome_names):
        rows = np.flatnonzero(told & ~np.isnan(values[:, j]))
        for i, time, value in zip(rows.tolist(), times[rows].tolist(), values[rows, j].tolist()):
            events.append((time, Outcome(decision_id=ids[i], time=stamp(time), value=value, name=name)))
    events.sort(key=lambda event: event[0])
    return [event for _, event in events]
