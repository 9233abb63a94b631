"""A log → the draft of a Problem, with notes on everything that was guessed. A person edits it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem, decode_problem
from understudy.data import columns as col
from understudy.data.profile import ColumnProfile, merge, profiles
from understudy.data.read import read
from understudy.data.sources import Source, resolve
from understudy.data.validate import col_list, present, take

MOST_CATEGORIES = 100
RARE = 1_000  # an action taken in fewer than one of so many rows is worth a question
ENOUGH = 50  # rows below which "every value differs" proves nothing
REWARDS = (
    "reward",
    "click",
    "clicks",
    "clicked",
    "conversion",
    "converted",
    "purchase",
    "revenue",
    "outcome",
    "rating",
)


@dataclass
class _Seen:
    """What the sample showed."""

    decisions: dict[str, ColumnProfile] = field(default_factory=dict)
    outcomes: dict[str, list[float]] = field(default_factory=dict)
    arrivals: dict[tuple[str, str], int] = field(default_factory=dict)
    actions: list[Any] = field(default_factory=list)
    propensities: list[tuple[Any, float, list]] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)
    n: int = 0
    neither: int = 0  # rows with neither an action nor a value


def identify(source: Any, outcomes: Any = None, *, sample: int = 100_000) -> Problem:
    """Draft the Problem of a log: features, actions, outcomes, reward range, unit. See ``draft`` for its notes."""
    return draft(source, outcomes, sample=sample)[0]


def draft(source: Any, outcomes: Any = None, *, sample: int = 100_000) -> tuple[Problem, dict[str, list[str]]]:
    """The draft of a Problem and notes by section (features, actions, outcomes, reward_range, unit, horizon).

    Args:
        source, outcomes: as for ``ingest``.
        sample: most rows read of each file.

    Raises:
        DataError: no row looks like a decision.
    """
    seen = _Seen()
    for item in resolve(source) + resolve(outcomes):
        _look(item, sample, seen)
    if not seen.n:
        raise DataError(
            "no row has an action, so none is a decision",
            hint="Decisions need decision_id, time, action and context; see docs/guide/ingest.md.",
        )
    notes: dict[str, list[str]] = {}
    _lacking(seen, notes)
    named, beside = _outcomes(seen, notes)
    features, ignore = _features(seen, set(beside), notes)
    problem = Problem(
        features=features,
        actions=_actions(seen, notes),
        outcomes=named,
        reward=named[0].name,
        reward_range=_reward_range(seen, named[0].name, notes),
        unit=_unit(seen, notes),
        ignore=ignore,
        **_horizon(seen, notes),
    )
    return problem, notes


def _look(source: Source, sample: int, seen: _Seen) -> None:
    left = sample
    for rows in read(source):
        decided, measured = present(rows, "action"), present(rows, "value")
        part = take(rows, decided)
        if part.n:
            seen.decisions = merge(seen.decisions, profiles(part))
            _look_at_actions(part, seen)
            seen.n += part.n
        seen.neither += int((~decided & ~measured).sum())
        part = take(rows, measured & ~decided)
        if part.n:
            names = col_list(part.columns.get("name", ["reward"] * part.n))
            values = col.measures(part.columns["value"], text=part.text).values.tolist()
            for name, value, d in zip(names, values, col_list(part.columns.get("decision_id", [None] * part.n))):
                seen.outcomes.setdefault(str(name or "reward"), []).append(value)
                key = (str(name or "reward"), str(d))
                seen.arrivals[key] = seen.arrivals.get(key, 0) + 1
        left -= rows.n
        if left <= 0:
            return


def _look_at_actions(rows: Any, seen: _Seen) -> None:
    actions = col_list(rows.columns["action"])
    seen.actions += actions
    if "allowed" in rows.columns:
        for names in col.sequences(rows.columns["allowed"]).values:
            seen.allowed.update(map(str, names or ()))
    if "propensities" in rows.columns and len(seen.propensities) < 5_000:
        every = col.sequences(rows.columns["propensities"]).values
        single = col.numbers(rows.columns["propensity"], text=rows.text) if "propensity" in rows.columns else None
        for i, (action, row) in enumerate(zip(actions, every)):
            if isinstance(row, list):
                seen.propensities.append((action, math.nan if single is None else float(single.values[i]), row))


def _lacking(seen: _Seen, notes: dict[str, list[str]]) -> None:
    """Names that every row needs and this log does not use: ingest would refuse all of it."""
    missing = [name for name in ("decision_id", "time") if name not in seen.decisions]
    said = [f"no decision has {' or '.join(missing)}: rename your columns, or ingest refuses them"] if missing else []
    if seen.neither:
        said.append(
            f"{seen.neither:,} rows with neither action nor value: an outcome has decision_id, time, name and value"
        )
    if said:
        notes["columns"] = said


# ------------------------------------------------------------------------------------------------------------ features


def _features(
    seen: _Seen, beside: set[str], notes: dict[str, list[str]]
) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    said, features, ignore = notes.setdefault("features", []), [], []
    for column, found in sorted(seen.decisions.items()):
        name = column.removeprefix("context.")
        if not column.startswith("context.") or name in beside:
            continue
        why = _unusable(found)
        if why:
            ignore.append(name)
            said.append(f"{name} left out: {why}")
            continue
        optional = found.missing > 0
        if optional:
            said.append(f"{name} is missing in {found.missing:,} of {found.n:,} rows, so it is optional")
        features.append(_feature(name, found, optional, said))
    return tuple(features), tuple(ignore)


def _unusable(found: ColumnProfile) -> str:
    kinds = sum(count > 0 for count in (found.numbers, found.booleans, found.texts, found.other))
    present, distinct = found.n - found.missing, len(found.values)
    unique = found.many or distinct == present
    if kinds == 0:
        return "it is always missing"
    if found.other:
        return "it holds lists or objects; give each number or name a key of its own"
    if kinds > 1:
        return "it mixes numbers and text"
    if found.texts and (found.many or distinct > max(MOST_CATEGORIES, present // 2)):
        return "it has nearly as many values as rows, like an id or free text"
    if found.texts and present >= ENOUGH and unique:
        return "every value differs, like an id"
    if found.numbers and found.whole and present >= ENOUGH and unique and not found.many:
        return "a whole number that is different in every row, like an id"
    return ""


def _feature(name: str, found: ColumnProfile, optional: bool, said: list[str]) -> Feature:
    if len(found.values) == 1 and not found.missing and found.n >= ENOUGH:
        said.append(f"{name} is always {next(iter(found.values))!r}")
    if found.numbers:
        return Feature(name=name, kind="number", optional=optional)
    if found.booleans:
        return Feature(name=name, kind="boolean", optional=optional)
    values = tuple(sorted(map(str, found.values)))
    wide = len(values) > MOST_CATEGORIES
    if wide:
        said.append(f"{name} has {len(values):,} values; others may follow, so it is open")
    return Feature(name=name, kind="category", values=values, optional=optional, open=wide)


# ------------------------------------------------------------------------------------------------------------- actions


def _actions(seen: _Seen, notes: dict[str, list[str]]) -> ActionSpace:
    said = notes.setdefault("actions", [])
    if "propensity" not in seen.decisions and not seen.propensities:
        said.append("the log has no propensities: estimates will have to estimate them too, and will say so")
    lists = [action for action in seen.actions if isinstance(action, list)]
    if lists or all(isinstance(action, float) for action in seen.actions):
        points = np.array([action if isinstance(action, list) else [action] for action in seen.actions], np.float64)
        said.append("bounds are the smallest and largest value seen; declare the true ones")
        low, high = points.min(0), points.max(0)
        high = np.where(high > low, high, low + 1)
        return ActionSpace(low=tuple(low.tolist()), high=tuple(high.tolist()))
    names = {str(action) for action in seen.actions} | seen.allowed
    said += _rare(seen)
    numeric = all(name.lstrip("-").isdigit() for name in names)
    ordered = sorted(names, key=int) if numeric else sorted(names)
    width = len(seen.propensities[0][2]) if seen.propensities else 0
    if not width:
        return ActionSpace(names=tuple(ordered))
    if numeric and min(map(int, names)) >= 0 and max(map(int, names)) < width:
        return ActionSpace(names=tuple(map(str, range(width))))
    return ActionSpace(names=_in_order_of_propensities(ordered, width, seen, said))


def _rare(seen: _Seen) -> list[str]:
    """Actions so rare that they may be a slip of the pen."""
    taken = Counter(str(action) for action in seen.actions)
    return [
        f"{name} was taken {n} of {seen.n:,} times; if it is a typing error, strike it, and its rows go to quarantine"
        for name, n in sorted(taken.items())
        if n * RARE <= seen.n
    ]


def _in_order_of_propensities(names: list[str], width: int, seen: _Seen, said: list[str]) -> tuple[str, ...]:
    """An order in which every action's own propensity stands at its place in every row seen.

    Each action may take the places where its propensity always stood. A perfect matching of actions to places is an
    order that contradicts no row; where several are, the actions concerned had equal propensities in every row.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    places = {name: set(range(width)) for name in names}
    for action, propensity, row in seen.propensities:
        if str(action) in places and len(row) == width and not math.isnan(propensity):
            fits = {j for j, p in enumerate(row) if isinstance(p, (int, float)) and abs(p - propensity) <= 1e-6}
            places[str(action)] &= fits
    possible = np.array([[j in places[name] for j in range(width)] for name in names])  # [names, width]
    place = maximum_bipartite_matching(csr_array(possible), perm_type="column")  # i32[names], -1 = none left
    if (place < 0).any():
        said.append("the order of the propensities could not be told from the log: check that it is the order below")
        return tuple(names + [f"action {j}" for j in range(len(names), width)])
    found = {int(j): name for j, name in zip(place, names)}
    unclear = [name for name in names if len(places[name]) > 1]
    if len(unclear) > 1:
        said.append(f"the order of the propensities is a guess for {', '.join(unclear)}: no row tells them apart")
    if len(found) < width:
        said.append(f"{width - len(found)} of {width} actions were never taken; name them")
    return tuple(found.get(j, f"action {j}") for j in range(width))


# --------------------------------------------------------------------------------------------- outcomes, unit, horizon


def _outcomes(seen: _Seen, notes: dict[str, list[str]]) -> tuple[tuple[OutcomeSpec, ...], list[str]]:
    said, beside = notes.setdefault("outcomes", []), []
    if not seen.outcomes:
        for name in REWARDS:
            found = seen.decisions.get(f"context.{name}") or seen.decisions.get(f"context.outcome.{name}")
            if found is not None and found.numbers + found.booleans == found.n - found.missing > 0:
                beside.append(name)
                seen.outcomes[name] = [found.low, found.high] if found.numbers else [0.0, 1.0]
        said += [f"{name} stands in the decision's own row and is taken for an outcome" for name in beside]
    if not seen.outcomes:
        said.append("no outcome was seen; 'reward' is a guess")
        return (OutcomeSpec(name="reward"),), beside
    names = sorted(seen.outcomes, key=lambda name: (REWARDS.index(name) if name in REWARDS else 99, name))
    for name in names:
        most = max((n for (other, _), n in seen.arrivals.items() if other == name), default=1)
        if most > 1:
            said.append(
                f"{name} arrives up to {most} times per decision; the first counts: or sum, last, mean, min, max?"
            )
    said.append("0 stands in once the window has closed and nothing arrived; null refuses such a decision instead")
    if len(names) > 1:
        notes["reward"] = [f"may be an expression of {', '.join(names)}, such as {names[0]} - 0.1 * {names[1]}"]
    return tuple(OutcomeSpec(name=name) for name in names), beside


def _reward_range(seen: _Seen, name: str, notes: dict[str, list[str]]) -> tuple[float, float]:
    finite = [v for v in seen.outcomes.get(name, []) if math.isfinite(v)] + [0.0]
    low, high = min(finite), max(finite)
    notes["reward_range"] = [
        f"seen: {low:g} to {high:g}. Declare the lowest and highest reward there can ever be: the proof scales by it"
    ]
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return float(math.floor(low)), float(math.ceil(high)) if math.ceil(high) > math.floor(low) else low + 1.0


def _unit(seen: _Seen, notes: dict[str, list[str]]) -> Any:
    found = seen.decisions.get("unit_id")
    if found is not None and not found.missing and (found.many or len(found.values) < found.n):
        notes["unit"] = ["decisions of one unit_id depend on each other; intervals are computed over units"]
        return "unit"
    notes["unit"] = ["every decision is taken for independent; if users come back, log unit_id and say unit"]
    return "decision"


def _horizon(seen: _Seen, notes: dict[str, list[str]]) -> dict[str, Any]:
    t = seen.decisions.get("t")
    if "episode_id" in seen.decisions and t is not None and t.high > 0:
        notes["horizon"] = ["the longest episode seen; null is unbounded (then discount must be below 1)"]
        return {"horizon": int(t.high) + 1}
    return {"horizon": 1}


# ------------------------------------------------------------------------------------------------------------- as text


def draft_yaml(problem: Problem, notes: dict[str, list[str]] | None = None) -> str:
    """The problem as YAML, with the notes as comments above the section they speak of."""
    lines = ["# A draft by `understudy identify`. Read it as a colleague's guess: correct it, then ingest."]
    for name, value in msgspec.to_builtins(problem).items():
        lines += ["", *(f"# {note}" for note in (notes or {}).get(name, []))]
        if name in ("features", "outcomes") and value:
            lines.append(f"{name}:")
            lines += [f"  - {_flow(_plain(item))}" for item in value]
        else:
            lines.append(f"{name}: {_flow(_plain(value))}")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _plain(value: Any) -> Any:
    """Without what the defaults say anyway."""
    if not isinstance(value, dict):
        return value
    return {k: v for k, v in value.items() if not (v in ((), [], False) or (k == "kind" and v == "number"))}


def _flow(value: Any) -> str:
    """JSON, which is YAML, with bare keys."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return msgspec.json.encode(value).decode()


def load_problem(path: str | Path) -> Problem:
    """The Problem in a YAML or JSON file; ConfigError names the field that is wrong."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=_NEXT) from error
    return decode_problem(raw, where=str(path), yaml=path.suffix != ".json")


def save_problem(problem: Problem, path: str | Path, notes: dict[str, list[str]] | None = None) -> Path:
    """Write the problem: JSON if the path ends so, else YAML with the notes as comments."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_bytes(msgspec.json.format(msgspec.json.encode(problem)) + b"\n")
    else:
        path.write_text(draft_yaml(problem, notes))
    return path


_NEXT = "Draft one from your log with: understudy identify LOG --to problem.yaml"
