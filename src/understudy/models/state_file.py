"""A state in one file, replaced whole or not at all: what a killed online learner goes on from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.errors import StoreError
from understudy.core.hashing import canonical
from understudy.core.protocols import State
from understudy.models.policy_file import read_file, write_file
from understudy.models.safetensors import decode, encode, strict_json


def write_state(path: str | Path, state: State, extra: Mapping[str, Any] | None = None) -> Path:
    """Write ``state``, and beside it ``extra`` (plain JSON: a watermark, say), to one file, atomically and durably."""
    head = canonical({"kind": state.kind, "config": state.config, "extra": dict(extra or {})})
    arrays = state.nest("state") | {"head": np.frombuffer(head, np.uint8)}
    body = encode(arrays)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_file(path, hashlib.sha256(body).digest() + body)


def read_state(path: str | Path) -> tuple[State, dict[str, Any]]:
    """(state, extra) as they were written. Raises StoreError if any byte is not."""
    raw, where = read_file(Path(path)), str(path)
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise StoreError(f"{where} is damaged: its checksum does not match", hint="Start afresh from the log.")
    arrays = decode(raw[32:], where)
    head = strict_json(arrays.pop("head").tobytes(), where)
    own = {name.removeprefix("state."): values for name, values in arrays.items()}
    return State(head["kind"], head["config"], own), head["extra"]
