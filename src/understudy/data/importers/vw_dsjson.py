"""Vowpal Wabbit's dsjson: joined decisions of the Decision Service family, one JSON object per line.

Read are ``EventId``, ``Timestamp``, ``c`` (context), ``a`` (actions, counted from 1, the chosen one first), ``p``
(their probabilities, in the order of ``a``), ``_label_cost``, ``_label_probability``, ``_labelIndex`` (from 0) or
``_label_Action`` (from 1), ``o`` or ``_outcomes``, ``pdrop``, ``_skipLearn`` and ``DeferredAction``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from understudy.core.errors import DataError
from understudy.core.hashing import fractions, text_hashes
from understudy.core.problem import ActionSpace
from understudy.data.identify import draft
from understudy.data.importers.imported import Imported
from understudy.data.read import Reject, event_lines


def vw_dsjson(path: str | Path, *, cost: str = "_label_cost", action_id: str | None = None) -> Imported:
    """A dsjson file as decisions and outcomes; reward = −cost.

    Events that were thinned before logging (``pdrop`` = d, weight 1/(1 − d)) are thinned further to the highest d in
    the file, by a hash of their id: the rows that stay all weigh the same, so no estimate needs a weight.

    Args:
        path: a .json, .jsonl or .dsjson file, optionally .gz.
        cost: field of the cost; ``_original_label_cost`` where an apprentice's imitation cost hides the real one.
        action_id: dotted path of an action's name inside its entry of ``c._multi``; without it, actions are their
            places, which means one action only if the service always lists them in one order.
    """
    events, aside = [], []
    for line, raw in event_lines(Path(path)):
        if isinstance(raw, Reject):
            aside.append(raw)
            continue
        try:
            event = _event(msgspec.json.decode(raw), cost, action_id)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            aside.append(Reject(line, "not_json", str(error), raw.decode("utf-8", "backslashreplace")))
        except _Refused as error:
            aside.append(Reject(line, error.args[0], error.args[1], raw.decode("utf-8", "backslashreplace")))
        else:
            events.append(event | {"line": line, "raw": raw.decode()})
    events, thinned = _thin(events)
    if not events:
        first = f"; first: line {aside[0].line}: {aside[0].detail}" if aside else ""
        raise DataError(f"no event of {path} can be used{first}", hint="Is it dsjson, with labels joined?")
    decisions, outcomes, names = _tables(events)
    problem, notes = draft([decisions, outcomes], sample=len(events))
    problem = msgspec.structs.replace(problem, actions=ActionSpace(names=tuple(names)))
    said = tuple(note for section in notes.values() for note in section)
    return Imported(problem, decisions, outcomes, said, tuple(aside + thinned))


def drop_weight(pdrop: float) -> float:
    """1/(1 − d): what an event stands for that was logged with probability 1 − d. ValueError outside [0, 1).

    >>> drop_weight(0.5)
    2.0
    """
    if isinstance(pdrop, bool) or not isinstance(pdrop, (int, float)) or not 0 <= pdrop < 1:
        raise ValueError(f"pdrop={pdrop!r} is not in [0, 1)")
    return 1 / (1 - pdrop)


class _Refused(Exception):
    """(reason, detail) of an event that cannot be translated."""


def _event(event: Any, cost: str, action_id: str | None) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise _Refused("not_an_object", "the line is JSON but not an object")
    value = event.get(cost)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _Refused("no_label", f"{cost} is missing: the event was never joined with its outcome")
    if event.get("_skipLearn") or (event.get("DeferredAction") and not _activated(event)):
        raise _Refused("never_activated", "a deferred decision that was never shown says nothing")
    try:
        weight = drop_weight(event.get("pdrop", 0.0))
    except ValueError as error:
        raise _Refused("pdrop", str(error)) from error
    actions, p = event.get("a"), event.get("p")
    if not isinstance(actions, list) or not isinstance(p, list) or len(actions) != len(p) or not actions:
        raise _Refused("actions", "a and p must be lists of one length")
    chosen = _chosen(event)
    names = _names(event, actions, action_id)
    if chosen not in actions:
        raise _Refused("action", f"the label speaks of action {chosen}, which is not in a")
    place = actions.index(chosen)
    label_p = event.get("_label_probability", p[place])
    if not isinstance(label_p, (int, float)) or abs(label_p - p[place]) > 1e-4:
        raise _Refused("propensity_contradiction", f"_label_probability={label_p!r}, but p says {p[place]!r}")
    if "EventId" not in event or "Timestamp" not in event:
        raise _Refused("decision_id", "no EventId or no Timestamp")
    return {
        "id": str(event["EventId"]), "time": event["Timestamp"], "action": names[place], "propensity": label_p,
        "names": names, "p": p, "reward": -float(value), "weight": weight,
        "context": dict(_flat("", event.get("c") or {})),
    }  # fmt: skip


def _activated(event: dict) -> bool:
    outcomes = event.get("o", event.get("_outcomes")) or []
    return any(isinstance(item, dict) and item.get("ActionTaken") for item in outcomes)


def _chosen(event: dict) -> int:
    """The chosen action, counted from 1."""
    if isinstance(event.get("_labelIndex"), int):
        return event["_labelIndex"] + 1
    for name in ("_label_Action", "_labelAction", "_label_action"):
        if isinstance(event.get(name), int):
            return event[name]
    return event["a"][0]


def _names(event: dict, actions: list, action_id: str | None) -> list[str]:
    if action_id is None:
        return [str(a) for a in actions]
    entries, names = (event.get("c") or {}).get("_multi") or [], []
    for action in actions:
        found: Any = entries[action - 1] if isinstance(action, int) and 0 < action <= len(entries) else None
        for part in action_id.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, (str, int)) or isinstance(found, bool):
            raise _Refused("action", f"action {action} has no {action_id}")
        names.append(str(found))
    if len(set(names)) != len(names):
        raise _Refused("action", f"two actions of one event have the same {action_id}")
    return names


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Namespaces and features as dotted names; keys that start with ``_`` are VW's own."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.startswith("_"):
                yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _flat(prefix if isinstance(item, dict) else f"{prefix}.{i}", item)
    elif value is not None:
        yield prefix, value


def _thin(events: list[dict]) -> tuple[list[dict], list[Reject]]:
    """Keep event i with probability w_i / max w, so that all that stay stand for equally many."""
    heaviest = max((event["weight"] for event in events), default=1.0)
    if math.isclose(heaviest, min((event["weight"] for event in events), default=1.0)):
        return events, []
    keep = fractions(text_hashes(event["id"] for event in events)) < np.array([e["weight"] for e in events]) / heaviest
    detail = f"its pdrop is below the file's highest, {1 - 1 / heaviest:g}; left out to make all rows weigh the same"
    gone = [Reject(e["line"], "thinned", detail, e["raw"]) for e, kept in zip(events, keep) if not kept]
    return [event for event, kept in zip(events, keep) if kept], gone


def _tables(events: list[dict]) -> tuple[pa.Table, pa.Table, list[str]]:
    names = sorted({name for event in events for name in event["names"]}, key=lambda s: (len(s), s))
    place = {name: i for i, name in enumerate(names)}
    rows, results = [], []
    for event in events:
        propensities = [0.0] * len(names)
        for name, p in zip(event["names"], event["p"]):
            propensities[place[name]] = p
        rows.append({
            "decision_id": event["id"], "time": event["time"], "action": event["action"],
            "propensity": event["propensity"], "propensities": propensities,
            "allowed": event["names"] if len(event["names"]) < len(names) else None,
            "context": event["context"],
        })  # fmt: skip
        results.append({
            "decision_id": event["id"], "time": event["time"], "name": "reward", "value": event["reward"],
        })  # fmt: skip
    contexts = sorted({name for row in rows for name in row["context"]})
    columns = {f"context.{name}": _column([row["context"].get(name) for row in rows]) for name in contexts}
    plain = {name: [row[name] for row in rows] for name in rows[0] if name != "context"}
    return pa.table(plain | columns), pa.Table.from_pylist(results), names


def _column(values: list) -> pa.Array:
    """Arrow needs one type per column; what mixes types becomes text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
