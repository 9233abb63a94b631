"""The border: raw rows → decisions and outcomes that may be trusted ever after, and rejects with a reason each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.core.hashing import text_hash, text_hashes
from understudy.core.problem import Feature, Problem
from understudy.data import columns as col
from understudy.data.read import Reject, Rows
from understudy.data.schema import action_columns, decision_schema, outcome_schema, staged

LONGEST_ID = 1024
SUM_TOLERANCE = 1e-4  # propensities written with five digits still sum to 1
SMALLEST = 1e-100  # a propensity; below it the square of its weight overflows, and one row voids every estimate
MATCH_TOLERANCE = 1e-4  # relative, between the propensity and its entry in the propensities
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sorted:
    """What became of one batch: staged decisions, staged outcomes, and (kind, reject) pairs."""

    decisions: pa.RecordBatch | None
    outcomes: pa.RecordBatch | None
    rejects: list[tuple[str, Reject]]


class Faults:
    """The first fault of each row: later checks do not speak of a row that has failed already."""

    def __init__(self, n: int) -> None:
        self.bad = np.zeros(n, bool)
        self.found: dict[int, tuple[str, str]] = {}

    def flag(self, mask: np.ndarray, reason: str, detail: Callable[[int], str]) -> None:
        """Rows in ``mask`` bool[n] that had no fault so far get this one."""
        new = mask & ~self.bad
        for i in np.flatnonzero(new):
            self.found[int(i)] = (reason, detail(int(i)))
        self.bad |= new


def validate(rows: Rows, problem: Problem, source: int) -> Sorted:
    """Tell decisions from outcomes by their fields, check each against the problem, and give back what holds."""
    decided, measured = present(rows, "action"), present(rows, "value")
    rejects = [("row", reject) for reject in rows.rejects]
    for mask, reason, detail in (
        (~decided & ~measured, "neither", "no action (a decision has one) and no value (an outcome has one)"),
        (decided & measured, "both", "an action and a value in one row: is it a decision or an outcome?"),
    ):
        for i in np.flatnonzero(mask):
            rejects.append(("row", Reject(int(rows.lines[i]), reason, detail, rows.raw(int(i)))))
    parts: list[pa.RecordBatch | None] = []
    for kind, mask, check in (
        ("decision", decided & ~measured, check_decisions),
        ("outcome", measured & ~decided, check_outcomes),
    ):
        part = take(rows, mask)
        if part.n == 0:
            parts.append(None)
            continue
        faults, made = check(part, problem, source)
        for i, (reason, detail) in sorted(faults.found.items()):
            rejects.append((kind, Reject(int(part.lines[i]), reason, detail, part.raw(i))))
        parts.append(made.filter(pa.array(~faults.bad)) if faults.bad.any() else made)
    return Sorted(parts[0], parts[1], rejects)


def take(rows: Rows, mask: np.ndarray) -> Rows:
    """The rows marked in ``mask`` bool[n], without the rejects."""
    if mask.all():
        return rows
    places = np.flatnonzero(mask)
    picked = {
        name: column.take(pa.array(places)) if isinstance(column, pa.Array) else [column[i] for i in places]
        for name, column in rows.columns.items()
    }
    back = {int(old): new for new, old in enumerate(places)}
    extra = {back[i]: name for i, name in rows.extra.items() if i in back}
    return Rows(rows.lines[places], picked, lambda i: rows.raw(int(places[i])), rows.text, extra)


def present(rows: Rows, name: str) -> np.ndarray:
    column = rows.columns.get(name)
    if column is None:
        return np.zeros(rows.n, bool)
    if isinstance(column, pa.Array):
        return np.asarray(column.is_valid())
    return np.array([value is not None for value in column], bool)


# ----------------------------------------------------------------------------------------------------------- decisions


def check_decisions(rows: Rows, problem: Problem, source: int) -> tuple[Faults, pa.RecordBatch]:
    """Staged decisions [n] and the faults among them."""
    faults, n, made = Faults(rows.n), rows.n, {}
    _unknown(rows, faults)
    ids = _identity(rows, faults, made)
    _when(rows, faults, made)
    _who(rows, problem, faults, made, ids)
    _action(rows, problem, faults, made)
    _propensity(rows, problem, faults, made)
    for feature in problem.features:
        made[f"context.{feature.name}"] = feature_values(rows, feature, faults)
    for name in problem.outcome_names:
        made[f"outcome.{name}"] = _beside(rows, name, faults)
    made |= {"source": np.full(n, source, np.int32), "line": rows.lines}
    return faults, _batch(made, staged(decision_schema(problem), problem))


def _batch(made: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        values = made[field.name]
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type, from_pandas=False))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _unknown(rows: Rows, faults: Faults) -> None:
    if rows.extra:
        mask = np.zeros(rows.n, bool)
        mask[list(rows.extra)] = True
        faults.flag(mask, "unknown_field", lambda i: f"{rows.extra[i]!r} is neither a field nor a feature")


def _text_column(rows: Rows, name: str, faults: Faults) -> col.Parsed:
    """An optional column of texts: null where missing or faulty."""
    if name not in rows.columns:
        return col.Parsed(pa.nulls(rows.n, pa.string()), np.ones(rows.n, bool), np.zeros(rows.n, bool))
    parsed = col.texts(rows.columns[name])
    long = np.array([type(v) is str and len(v) > LONGEST_ID for v in parsed.values], bool)
    faults.flag(parsed.wrong, name, lambda i: f"{name}={_short(rows.columns[name], i)} is not text")
    faults.flag(long, name, lambda i: f"{name} has {len(parsed.values[i]):,} characters; the most is {LONGEST_ID}")
    values = parsed.values
    if parsed.wrong.any() or long.any():
        values = np.where(parsed.good & ~long, values, None)
    return col.Parsed(pa.array(values, pa.string()), parsed.missing | long, parsed.wrong)


def _identity(rows: Rows, faults: Faults, made: dict[str, Any]) -> pa.Array:
    ids = _text_column(rows, "decision_id", faults)
    texts = [text or "" for text in ids.values.to_pylist()]
    faults.flag(np.array([not text for text in texts], bool), "decision_id", lambda i: "no decision_id")
    made["decision_id"], made["key"] = ids.values, text_hashes(texts)
    return ids.values


def _when(rows: Rows, faults: Faults, made: dict[str, Any]) -> None:
    column = rows.columns.get("time")
    parsed = col.absent(rows.n, np.int64) if column is None else col.times(column, text=rows.text)
    faults.flag(parsed.missing, "time", lambda i: "no time")
    faults.flag(
        parsed.wrong, "time",
        lambda i: f"time={_short(column, i)} is neither seconds since 1970 UTC (years 1 to 9999) nor ISO 8601 text",
    )  # fmt: skip
    made["time"] = parsed.values


def _who(rows: Rows, problem: Problem, faults: Faults, made: dict[str, Any], ids: pa.Array) -> None:
    for name in ("episode_id", "unit_id", "policy_id"):
        made[name] = _text_column(rows, name, faults).values
    made["policy"] = hashed(made["policy_id"])
    made["t"] = _turn(rows, problem, faults)
    sequence = not problem.bandit
    if sequence or problem.unit == "episode":
        faults.flag(np.asarray(made["episode_id"].is_null()), "episode_id", lambda i: "no episode_id")
    if problem.unit == "unit":
        faults.flag(
            np.asarray(made["unit_id"].is_null()), "unit_id", lambda i: "no unit_id, and the unit is independent"
        )
    made["episode"] = hashed(made["episode_id"]) if sequence else made["key"]
    by = {"decision": made["key"], "episode": made["episode_id"], "unit": made["unit_id"]}[problem.unit]
    made["unit"] = hashed(by) if isinstance(by, pa.Array) else by


def _turn(rows: Rows, problem: Problem, faults: Faults) -> np.ndarray:
    if "t" not in rows.columns:
        return np.zeros(rows.n, np.int32)
    parsed, column = col.numbers(rows.columns["t"], text=rows.text), rows.columns["t"]
    end = problem.horizon or 2**31
    fine = parsed.missing | (parsed.good & (parsed.values >= 0) & (parsed.values < end) & (parsed.values % 1 == 0))
    faults.flag(~fine, "t", lambda i: f"t={_short(column, i)} is not a whole number from 0 to {end - 1} (the horizon)")
    return np.where(fine, parsed.values, 0).astype(np.int32)


def hashed(texts: pa.Array) -> np.ndarray:
    """u64[n] stable hash of each text, 0 where it is null; every distinct text is hashed once."""
    if texts.null_count == len(texts):
        return np.zeros(len(texts), np.uint64)
    encoded = texts.dictionary_encode()
    table = np.append(text_hashes(encoded.dictionary.to_pylist()), np.uint64(0))
    return table[encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]


def action_lookup(names: tuple[str, ...]) -> dict[Any, int]:
    """What may name an action: its name; or, where no name looks like a number, its index as well."""
    lookup = {name: i for i, name in enumerate(names)}
    if not any(name.lstrip("-").isdigit() for name in names):
        lookup |= {str(i): i for i in range(len(names))}
    return lookup


def _action(rows: Rows, problem: Problem, faults: Faults, made: dict[str, Any]) -> None:
    column, space = rows.columns["action"], problem.actions
    if space.discrete:
        lookup = action_lookup(space.names)
        parsed = col.codes(column, lookup)
        outside = parsed.wrong | (parsed.values < 0)
        faults.flag(outside, "action", lambda i: f"action={_short(column, i)} is not one of the problem's {space.k}")
        made["action"] = np.where(outside, 0, parsed.values).astype(np.int32)
        made["allowed"] = _allowed(rows, lookup, space.k, faults, made["action"])
        return
    parsed = col.matrix([[v] if isinstance(v, float) else v for v in col_list(column)], space.dims)
    inside = (parsed.values >= np.array(space.low)) & (parsed.values <= np.array(space.high))
    outside = parsed.wrong | ~inside.all(1)
    faults.flag(outside, "action", lambda i: f"action={_short(column, i)} is not {space.dims} numbers in their bounds")
    for j, name in enumerate(action_columns(problem)):
        made[name] = np.where(outside, space.low[j], parsed.values[:, j]).astype(np.float32)
    made["allowed"] = pa.nulls(rows.n, pa.list_(pa.bool_()))
    faults.flag(present(rows, "allowed"), "allowed", lambda i: "allowed has no meaning for continuous actions")


def col_list(column: Any) -> list:
    """The column as Python objects."""
    return column.to_pylist() if isinstance(column, pa.Array) else column


def _allowed(rows: Rows, lookup: dict, k: int, faults: Faults, action: np.ndarray) -> pa.Array:
    if "allowed" not in rows.columns:
        return pa.nulls(rows.n, pa.list_(pa.bool_()))
    column = rows.columns["allowed"]
    parsed = col.members(column, lookup)
    mask = parsed.values if parsed.values.shape[1] == k else narrow(parsed.values, lookup, k)
    faults.flag(
        parsed.wrong, "allowed", lambda i: f"allowed={_short(column, i)} is not a list of the problem's actions"
    )
    barred = parsed.good & ~mask[np.arange(rows.n), action]
    faults.flag(barred, "action_not_allowed", lambda i: f"action={_short(rows.columns['action'], i)} was not allowed")
    return listed(mask, ~parsed.good, pa.bool_())


def narrow(wide: np.ndarray, lookup: dict, k: int) -> np.ndarray:
    """bool[n, k] of the actions, from bool[n, names] of all the names they have."""
    mask = np.zeros((len(wide), k), bool)
    for column, place in enumerate(lookup.values()):
        mask[:, place] |= wide[:, column]
    return mask


def listed(values: np.ndarray, null: np.ndarray, kind: pa.DataType) -> pa.Array:
    """[n, k] as an Arrow list column, null where ``null`` bool[n]."""
    n, k = values.shape
    offsets = np.concatenate([[0], np.cumsum(np.where(null, 0, k))]).astype(np.int32)
    flat = pa.array(np.ascontiguousarray(values[~null]).reshape(-1), kind)
    mask = pa.array(null) if null.any() else None
    return (
        pa.ListArray.from_arrays(pa.array(offsets), flat, type=pa.list_(kind), mask=mask)
        if n
        else pa.nulls(0, pa.list_(kind))
    )


def _propensity(rows: Rows, problem: Problem, faults: Faults, made: dict[str, Any]) -> None:
    column = rows.columns.get("propensity")
    single = col.absent(rows.n) if column is None else col.numbers(column, text=rows.text)
    faults.flag(single.wrong, "propensity", lambda i: f"propensity={_short(column, i)} is not a number")
    if not problem.actions.discrete:
        low = single.good & ~(np.isfinite(single.values) & (single.values >= SMALLEST))
        faults.flag(low, "propensity", lambda i: f"propensity={single.values[i]:g} is not a density above 0")
        faults.flag(present(rows, "propensities"), "propensities", lambda i: "continuous actions have no propensities")
        made["propensities"] = pa.nulls(rows.n, pa.list_(pa.float64()))
        made["propensity"] = pa.array(single.values, pa.float64(), mask=single.missing)
        return
    outside = single.good & ~((single.values >= SMALLEST) & (single.values <= 1))
    faults.flag(outside, "propensity", lambda i: f"propensity={single.values[i]:g} is not in (0, 1]")
    every = _propensities(rows, problem.actions.k, faults, made)
    chosen = every.values[np.arange(rows.n), made["action"]]
    apart = single.good & every.good & (np.abs(chosen - single.values) > MATCH_TOLERANCE * single.values + 1e-9)
    faults.flag(
        apart, "propensity_contradiction",
        lambda i: f"propensity={single.values[i]:g}, but propensities say {chosen[i]:g} for the action",
    )  # fmt: skip
    borrowed = single.missing & every.good
    faults.flag(borrowed & ~(chosen >= SMALLEST), "propensity", lambda i: "the action's entry in propensities is 0")
    made["propensity"] = pa.array(np.where(borrowed, chosen, single.values), mask=single.missing & ~every.good)


def _propensities(rows: Rows, k: int, faults: Faults, made: dict[str, Any]) -> col.Parsed:
    if "propensities" not in rows.columns:
        made["propensities"] = pa.nulls(rows.n, pa.list_(pa.float64()))
        return col.Parsed(np.zeros((rows.n, k)), np.ones(rows.n, bool), np.zeros(rows.n, bool))
    column = rows.columns["propensities"]
    parsed = col.matrix(column, k)
    faults.flag(parsed.wrong, "propensities", lambda i: f"propensities={_short(column, i)} are not {k} numbers")
    outside = parsed.good & ~((parsed.values >= 0) & (parsed.values <= 1)).all(1)
    faults.flag(outside, "propensities", lambda i: f"propensities={_short(column, i)} are not all in [0, 1]")
    total = parsed.values.sum(1)
    off = parsed.good & ~(np.abs(total - 1) <= SUM_TOLERANCE)
    faults.flag(off, "propensities_sum", lambda i: f"the propensities sum to {total[i]:.6g}, not 1")
    if made["allowed"].null_count < rows.n:
        everything = pa.scalar([True] * k, pa.list_(pa.bool_()))
        mask = made["allowed"].fill_null(everything).flatten().to_numpy(zero_copy_only=False).reshape(rows.n, k)
        leak = parsed.good & ((parsed.values > 0) & ~mask).any(1)
        faults.flag(
            leak, "propensities_not_allowed", lambda i: "an action that is not allowed has a probability above 0"
        )
    made["propensities"] = listed(parsed.values, ~parsed.good, pa.float64())
    return parsed


def feature_values(rows: Rows, feature: Feature, faults: Faults) -> np.ndarray:
    """f32[n]: numbers as they are, booleans 0 and 1, categories by index; NaN where an optional one is missing."""
    column, name = rows.columns.get(f"context.{feature.name}"), feature.name
    if column is None:
        parsed = col.absent(rows.n)
    elif feature.kind == "number":
        parsed = col.numbers(column, text=rows.text)
    elif feature.kind == "boolean":
        parsed = col.flags(column, text=rows.text)
    else:
        parsed = col.codes(column, {value: i for i, value in enumerate(feature.values)})
        unknown = parsed.good & (parsed.values < 0)
        if not feature.open:
            faults.flag(unknown, "feature_value", lambda i: f"{name}={_short(column, i)} is not one of its values")
        parsed = col.Parsed(np.where(unknown, len(feature.values), parsed.values), parsed.missing, parsed.wrong)
    faults.flag(parsed.wrong, "feature_type", lambda i: f"{name}={_short(column, i)} is not a {feature.kind}")
    missing = parsed.missing | (parsed.good & np.isnan(parsed.values))
    if not feature.optional:
        faults.flag(missing, "feature_missing", lambda i: f"{name} is missing (and not optional)")
    large = parsed.good & ~missing & ~(np.abs(parsed.values) <= FLOAT32_MAX)
    faults.flag(large, "feature_value", lambda i: f"{name}={parsed.values[i]:g} is not finite in 32 bits")
    return np.where(missing | large | parsed.wrong, np.nan, parsed.values).astype(np.float32)


def _beside(rows: Rows, name: str, faults: Faults) -> pa.Array:
    """An outcome that stands in the decision's own row."""
    column = rows.columns.get(f"outcome.{name}")
    if column is None:
        return pa.nulls(rows.n, pa.float64())
    parsed = col.measures(column, text=rows.text)
    bad = parsed.wrong | (parsed.good & ~np.isfinite(parsed.values))
    faults.flag(bad, "outcome_value", lambda i: f"{name}={_short(column, i)} is not a finite number")
    return pa.array(parsed.values, pa.float64(), mask=parsed.missing | bad)


# ------------------------------------------------------------------------------------------------------------ outcomes


def check_outcomes(rows: Rows, problem: Problem, source: int) -> tuple[Faults, pa.RecordBatch]:
    """Staged outcomes [n] and the faults among them."""
    faults, n, made = Faults(rows.n), rows.n, {}
    _unknown(rows, faults)
    ids = _identity(rows, faults, made)
    _when(rows, faults, made)
    lookup = {name: i for i, name in enumerate(problem.outcome_names)}
    if "name" in rows.columns:
        names = col.codes(rows.columns["name"], lookup)
        place = np.where(names.missing, lookup.get("reward", -1), names.values)
        unknown = names.wrong | (place < 0)
    else:
        place = np.full(n, lookup.get("reward", -1))
        unknown = place < 0
    faults.flag(
        unknown, "outcome_name",
        lambda i: f"name={_short(rows.columns.get('name', ['reward'] * n), i)} is not an outcome of the problem",
    )  # fmt: skip
    column = rows.columns["value"]
    parsed = col.measures(column, text=rows.text)
    bad = ~parsed.good | ~np.isfinite(parsed.values)
    faults.flag(bad, "outcome_value", lambda i: f"value={_short(column, i)} is not a finite number")
    made["outcome_id"] = _text_column(rows, "outcome_id", faults).values
    made |= {"name": place.astype(np.int16), "value": np.where(bad, 0.0, parsed.values)}
    made["dedup"] = dedup_keys(ids, made["name"], made["time"], made["value"], made["outcome_id"])
    made |= {"source": np.full(n, source, np.int32), "line": rows.lines}
    return faults, _batch(made, staged(outcome_schema()))


def dedup_keys(
    ids: pa.Array, name: np.ndarray, time: np.ndarray, value: np.ndarray, outcome_id: pa.Array | None
) -> np.ndarray:
    """u64[n], equal for copies: hash of (decision_id, name, outcome_id), or of (decision_id, name, time, value)."""
    bits = (value + 0.0).view(np.int64)  # -0.0 is 0.0
    keys = outcome_id.to_pylist() if outcome_id is not None else [None] * len(name)
    rows = zip(ids.to_pylist(), name.tolist(), time.tolist(), bits.tolist(), keys)
    return np.fromiter(
        (text_hash(f"{d}\0{n}\0{t}\0{b}" if o is None else f"{d}\0{n}\0{o}") for d, n, t, b, o in rows), np.uint64
    )


def _short(column: Any, i: int) -> str:
    value = column[i].as_py() if isinstance(column, pa.Array) else column[i]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
