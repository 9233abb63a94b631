"""Whether a record that is sent again says what stands in the log under its key."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.core.errors import DataError, StoreError
from understudy.core.service import Logged
from understudy.data.eventlog import Record


class Conflict(DataError):
    """An id that stands in the log was sent again with something else."""

    kind = "conflict"


class Unreadable(StoreError):
    """What stands in the log under an id is not what was written there."""


_decode = msgspec.json.Decoder(Logged).decode


def same_question(again: Record, stands: bytes) -> Logged:
    """The decision that stands in the log, if it answers the same question. Raises: Conflict, Unreadable."""
    try:
        first = _decode(stands)
    except msgspec.MsgspecError as error:  # whoever waits must hear of it, and nobody else
        raise Unreadable(
            f"what stands in the log under decision_id {again.key!r} is no decision: {error}",
            "It was answered once, and the answer cannot be read any more.",
            "Give every decision an id of its own, or none.",
            field="decision_id",
        ) from error
    if _question(first) != _question(_decode(again.body)):
        raise Conflict(
            f"decision_id {again.key!r} stands in the log with another question",
            "One id can have one answer only.",
            "Give every decision an id of its own, or none.",
            field="decision_id",
        )
    return first


def same_value(again: Record, stands: bytes) -> None:
    """Raises: Conflict if the outcome that stands in the log has another value."""
    first = _value(stands)
    if first != _value(again.body):
        raise Conflict(
            f"outcome {again.key!r} stands in the log with another value: {first:g}",
            "What was written down first stays.",
            "Send another outcome_id if it is another outcome.",
            field="outcome_id",
        )


def _question(logged: Logged) -> tuple[Any, ...]:
    return (logged.context, logged.allowed, logged.baseline, logged.episode_id, logged.t, logged.unit_id,
            logged.deferred)  # fmt: skip


def _value(body: bytes) -> float:
    return msgspec.json.decode(body)["value"]
