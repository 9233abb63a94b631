"""A policy at rest: ``policy.json`` (what it is) beside ``weights.safetensors`` (its numbers). No code, no pickles."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import StoreError
from understudy.core.hashing import canonical
from understudy.core.problem import Problem
from understudy.core.protocols import Policy, State
from understudy.models.safetensors import decode, encode, strict_json
from understudy.models.state import revive

FORMAT = 1
HEAD, WEIGHTS = "policy.json", "weights.safetensors"
MAX_HEAD = 64 << 20
_KEYS = {"format", "kind", "config", "problem", "problem_hash", "weights_sha256", "extra"}


@dataclass(frozen=True)
class PolicyFile:
    """What a policy's folder holds."""

    policy: Policy
    problem: Problem
    extra: dict[str, Any]  # whatever the writer noted: learner, seed, dataset


def save_policy(
    policy: Policy, folder: str | Path, *, problem: Problem, extra: Mapping[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write ``policy.json`` and ``weights.safetensors`` into ``folder``, each atomically, the weights first.

    Equal policies give equal bytes. Returns the two paths. Raises StoreError if the state holds numbers that are
    not finite, or types that a file must not hold.
    """
    folder, files = Path(folder), encode_policy(policy, problem=problem, extra=extra)
    folder.mkdir(parents=True, exist_ok=True)
    written = write_file(folder / WEIGHTS, files[WEIGHTS])
    return write_file(folder / HEAD, files[HEAD]), written


def encode_policy(policy: Policy, *, problem: Problem, extra: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a policy by name, as ``save_policy`` writes them."""
    state = policy.state()
    for name, values in state.arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StoreError(f"array {name!r} of this {state.kind} policy is not finite", "It could not act.")
    weights = encode(state.arrays)
    body = {
        "format": FORMAT,
        "kind": state.kind,
        "config": state.config,
        "problem": msgspec.to_builtins(problem),
        "problem_hash": problem.hash,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "extra": dict(extra or {}),
    }
    head = msgspec.json.format(canonical(body | {"sha256": _digest(body)}), indent=1)
    return {HEAD: head, WEIGHTS: weights}


def load_policy(folder: str | Path) -> Policy:
    """The policy in ``folder``, bit for bit the one that was saved. Raises StoreError for anything else."""
    return read_policy(folder).policy


def read_policy(folder: str | Path) -> PolicyFile:
    """The policy in ``folder`` with its problem and notes. Raises StoreError if any byte is not as it was saved."""
    folder = Path(folder)
    body = strict_json(read_file(folder / HEAD, MAX_HEAD), str(folder / HEAD))
    if not isinstance(body, dict) or set(body) != _KEYS | {"sha256"}:
        raise _bad(folder, "its keys are not those of a policy")
    if body["format"] != FORMAT:
        raise _bad(folder, f"its format is {body['format']!r}; this version reads {FORMAT}")
    if body.pop("sha256") != _digest(body):
        raise _bad(folder, "its checksum does not match its content")
    weights = read_file(folder / WEIGHTS)
    if hashlib.sha256(weights).hexdigest() != body["weights_sha256"]:
        raise _bad(folder, f"{WEIGHTS} is not the file it was saved with")
    if not isinstance(body["kind"], str) or not isinstance(body["config"], dict) or not isinstance(body["extra"], dict):
        raise _bad(folder, "kind, config or extra is of the wrong type")
    try:
        problem = msgspec.convert(body["problem"], Problem)
    except (msgspec.ValidationError, ValueError) as error:
        raise _bad(folder, f"its problem is not one: {error}") from error
    if problem.hash != body["problem_hash"]:
        raise _bad(folder, "its problem does not have the hash it is stamped with")
    state = State(body["kind"], body["config"], decode(weights, str(folder / WEIGHTS)))
    policy = revive(state)
    if not hasattr(policy, "probs") and not hasattr(policy, "prob"):
        raise _bad(folder, f"a {state.kind} is not a policy")
    return PolicyFile(policy, problem, body["extra"])


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(body)).hexdigest()


def write_file(path: Path, raw: bytes) -> Path:
    """Replace a file whole or not at all, durably."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read_file(path: Path, limit: int | None = None) -> bytes:
    """A file of at most ``limit`` bytes. Raises StoreError if it cannot be read."""
    try:
        if limit is not None and path.stat().st_size > limit:
            raise _bad(path.parent, f"{path.name} is larger than {limit} bytes")
        return path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror or error}", hint="Is it the policy's folder?"
        ) from error


def _bad(folder: Path, fault: str) -> StoreError:
    return StoreError(
        f"the policy in {folder} is damaged: {fault}",
        "A policy that is not exactly the one that was saved must not act.",
        "Take the folder again from the store, or train the policy again.",
    )
