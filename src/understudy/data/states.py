"""States to be decided on, as a stream: JSON lines, CSV or Parquet → batches that are checked like a log's decisions.

Memory is bounded by a block of the file, whatever its length; rows keep their order, and what they came with.
"""

from __future__ import annotations

import gc
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.data import columns as col
from understudy.data.read import MAX_LINE, Names, Reject, Rows, read
from understudy.data.sources import Source
from understudy.data.validate import Faults, action_lookup, feature_values, narrow, take

BLOCK = 1 << 22  # bytes of a JSON-lines file that are held at a time
DECIDED = ("action", "propensity", "propensities", "policy_id")  # what a decision adds to a state
OWN = ("decision_id", "time", *DECIDED)  # keys that are written, or kept where they stand
ALLOWED, MASK = ("allowed", "possible_actions"), ("mask", "possible_actions_mask")
_BRACED = methodcaller("endswith", b"}")
_KEYS = (*OWN, "episode_id", "t", *ALLOWED, *MASK)


@dataclass(frozen=True)
class Batch:
    """n states of one block: columns to be checked, and the rows as they were read."""

    rows: Rows  # features ``context.<name>``, and the fields in _KEYS that stand in some row
    lines: list[bytes] | None = None  # JSON lines: each an object, its brace last
    standing: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # bool[n]: a key of OWN stands in the line

    def keep(self, mask: np.ndarray) -> Batch:
        """The states marked in ``mask`` bool[n]."""
        if mask.all():
            return self
        places = np.flatnonzero(mask)
        rows = take(self.rows, mask)
        if self.rows.batch is not None:
            rows = Rows(rows.lines, rows.columns, rows.raw, rows.text, batch=self.rows.batch.take(pa.array(places)))
        lines = None if self.lines is None else [self.lines[i] for i in places]
        return Batch(rows, lines, self.standing[mask] if len(self.standing) else self.standing)


def read_states(source: Source, problem: Problem) -> Iterator[Batch]:
    """The states of one file or table, batch by batch. Rows that cannot be read are ``rows.rejects``.

    A JSON line is an object with a ``context``, an object with the features at the top, or an array of the features
    in the problem's order; the first line says which. Tables have a column per feature, or a ``context``.
    Raises: DataError where the file as a whole cannot be read.
    """
    if source.format == "jsonl":
        assert source.path is not None
        yield from _json(source.path, problem)
        return
    names = Names(frozenset(problem.feature_names), ignore=frozenset(problem.ignore))
    for rows in read(source, names):
        for name in (*ALLOWED[1:], *MASK):
            if rows.batch is not None and name in rows.batch.schema.names:
                rows.columns[name] = rows.batch.column(name)
        yield Batch(rows)


def check_states(
    batch: Batch, problem: Problem, *, overwrite: bool
) -> tuple[np.ndarray, np.ndarray | None, list[Reject]]:
    """Context f32[n, d], allowed bool[n, k] or None, of the rows that are sound; and the others, with their reasons.

    The first two have as many rows as ``batch.keep(sound)``, where sound is what ``_sound`` of the rejects leaves.
    """
    rows, faults = batch.rows, Faults(batch.rows.n)
    context = np.empty((rows.n, len(problem.features)), np.float32)
    for j, feature in enumerate(problem.features):
        context[:, j] = feature_values(rows, feature, faults)
    allowed = _allowed(rows, problem, faults)
    if not overwrite:
        for name in DECIDED:
            if name in rows.columns:
                taken = np.array([value is not None for value in _listed(rows.columns[name])], bool)
                faults.flag(taken, "already_decided", lambda i, name=name: f"{name} stands in the row already")
    found = sorted(faults.found.items())
    rejects = [Reject(int(rows.lines[i]), reason, detail, rows.raw(i)) for i, (reason, detail) in found]
    if faults.bad.any():
        context, allowed = context[~faults.bad], None if allowed is None else allowed[~faults.bad]
    return context, allowed, rejects


def _allowed(rows: Rows, problem: Problem, faults: Faults) -> np.ndarray | None:
    """bool[n, k] from a list of names, or from a list of flags; None where no row says anything."""
    k = problem.actions.k
    mask: np.ndarray | None = None
    if not k:
        return None
    for name in ALLOWED:
        if name in rows.columns:
            lookup = action_lookup(problem.actions.names)
            parsed = col.members(rows.columns[name], lookup)
            said = parsed.values if parsed.values.shape[1] == k else narrow(parsed.values, lookup, k)
            faults.flag(parsed.wrong, "allowed", lambda i, name=name: f"{name} is not a list of the problem's actions")
            mask = _both(mask, np.where(parsed.good[:, None], said, True))
    for name in MASK:
        if name in rows.columns:
            values = [None if v is None else [float(f) for f in v] for v in _listed(rows.columns[name])]
            parsed = col.matrix(values, k)
            faults.flag(parsed.wrong, "allowed", lambda i, name=name: f"{name} is not {k} flags")
            mask = _both(mask, np.where(parsed.good[:, None], parsed.values > 0, True))
    if mask is not None:
        faults.flag(np.logical_not(mask.any(axis=1)), "allowed", lambda i: "no action is allowed")
    return mask


def _both(a: np.ndarray | None, b: np.ndarray) -> np.ndarray:
    return b if a is None else a & b


def _listed(column: Any) -> list:
    return column.to_pylist() if isinstance(column, pa.Array) else column


# ---------------------------------------------------------------------------------------------------------- JSON lines


def _json(path: Path, problem: Problem) -> Iterator[Batch]:
    shape, number = None, 1
    for block in _blocks(path):
        lines = block.split(b"\n")
        if shape is None:
            head = next((line.strip() for line in lines if line.strip()), b"")
            shape = _Shape(problem, head) if head else None
        if shape is not None:
            with _quiet_collector():
                batch = _batch(shape, number, block, lines)
            yield batch
        number += len(lines)


def _batch(shape: _Shape, first: int, block: bytes, lines: list[bytes]) -> Batch:
    """The batch of a block; lines that are too long are set aside unread."""
    if max(map(len, lines)) <= MAX_LINE:
        return shape.batch(first, block, lines)
    long = [i for i, line in enumerate(lines) if len(line) > MAX_LINE]
    said = f"the line has more than {MAX_LINE:,} bytes"
    rejects = [
        Reject(first + i, "line_too_long", said, lines[i][:MAX_LINE].decode("utf-8", "backslashreplace")) for i in long
    ]
    lines = [b"" if len(line) > MAX_LINE else line for line in lines]
    batch = shape.batch(first, b"\n".join(lines), lines)
    return replace(batch, rows=replace(batch.rows, rejects=[*rejects, *batch.rows.rejects]))


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """No garbage collection: a block's rows are half a million objects without a cycle, looked at again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _blocks(path: Path) -> Iterator[bytes]:
    """The file's lines, a block at a time, without the last line break of each; a huge line may be cut short."""
    rest, first = b"", True
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while block := file.read(BLOCK):
                block = block.removeprefix(b"\xef\xbb\xbf") if first else block
                if len(rest) > MAX_LINE:  # of a line that is too long only its end is still to be found
                    _, found, after = block.partition(b"\n")
                    block = found + after
                whole, cut, rest = (rest + block).rpartition(b"\n")
                rest = rest[: MAX_LINE + 1]
                if cut:
                    yield whole
                first = False
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", "Half a file is worse than none.") from error
    if rest:
        yield rest


def _object(line: bytes) -> dict[str, Any]:
    """A line's object; an empty one where it is none."""
    try:
        return msgspec.json.decode(line, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"context": {}} if b'"context"' in line else {}


class _Shape:
    """How the lines of one file are decoded: by a type made for them, which names the columns of a block."""

    def __init__(self, problem: Problem, head: bytes) -> None:
        self.names = problem.feature_names
        self.positional = head.startswith(b"[")
        if self.positional:
            self.decoder: Any = msgspec.json.Decoder(list)
            return
        seen = _object(head)
        nested = self.nested = isinstance(seen.get("context"), dict)
        taken = frozenset(_KEYS) | {"context"}
        own = list(self.names)
        if not nested:  # a feature that is called like a field of ours stands under its full name
            own = [f"context.{name}" if name in taken or f"context.{name}" in seen else name for name in own]
        known = [*own, *(name for name in problem.ignore if nested)]
        inner = msgspec.defstruct(
            "Context", [(f"f{i}", Any, None) for i in range(len(known))],
            rename={f"f{i}": name for i, name in enumerate(known)}, forbid_unknown_fields=nested, gc=False,
        )  # fmt: skip
        keys: list[Any] = [(name, Any, UNSET) for name in _KEYS]
        keys.insert(0, ("context", inner) if nested else ("context", Any, UNSET))
        row = msgspec.defstruct("Row", keys, bases=() if nested else (inner,), gc=False)
        self.decoder = msgspec.json.Decoder(row)
        self.own = self.names
        self.getter = attrgetter(*_KEYS, *(f"context.f{i}" if nested else f"f{i}" for i in range(len(own))))

    def batch(self, first: int, block: bytes, lines: list[bytes]) -> Batch:
        """The columns of a block, and the lines that could not be decoded."""
        objects, rejects, places = self._decoded(first, block, lines)
        if len(places) < len(lines):
            lines = [lines[i - first] for i in places.tolist()]
        if self.positional:
            return self._by_position(objects, lines, places, rejects)
        if not self.nested and any(type(row.context) is dict for row in objects):
            objects, lines, places = self._flat(objects, lines, places, rejects)
        columns: dict[str, Any] = {}
        standing = np.zeros(len(objects), bool)
        found = list(zip(*map(self.getter, objects))) or [()] * (len(_KEYS) + len(self.own))
        for name, values in zip(_KEYS, found):
            unset = values.count(UNSET)
            if unset == len(values):
                continue
            columns[name] = [None if value is UNSET else value for value in values] if unset else values
            if name in DECIDED:
                standing |= np.array([value is not UNSET for value in values], bool)
            elif name in OWN and None in values:
                standing |= np.array([value is None for value in values], bool)
        columns |= {f"context.{name}": values for name, values in zip(self.own, found[len(_KEYS) :])}
        if not all(map(_BRACED, lines)):
            lines = [line.rstrip() for line in lines]
        rows = Rows(places, columns, lambda i: lines[i].decode("utf-8", "backslashreplace"), rejects=rejects)
        return Batch(rows, lines, standing)

    def _flat(
        self, objects: list[Any], lines: list[bytes], places: np.ndarray, rejects: list[Reject]
    ) -> tuple[list[Any], list[bytes], np.ndarray]:
        """Without the lines whose features stand in a context, where those of the first stand at the top."""
        flat = np.array([type(row.context) is not dict for row in objects])
        said = "its features stand in a context, and those of the first line at the top"
        for i in np.flatnonzero(~flat).tolist():
            rejects.append(Reject(int(places[i]), "not_a_state", said, lines[i].decode("utf-8", "backslashreplace")))
        kept = np.flatnonzero(flat).tolist()
        return [objects[i] for i in kept], [lines[i] for i in kept], places[flat]

    def _decoded(self, first: int, block: bytes, lines: list[bytes]) -> tuple[list[Any], list[Reject], np.ndarray]:
        try:
            objects = self.decoder.decode_lines(block)
            if len(objects) == len(lines):
                return objects, [], np.arange(first, first + len(lines))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # found below, line by line
        objects, rejects, places = [], [], []
        for place, line in enumerate(lines, first):
            if not line.strip():
                continue
            try:
                objects.append(self.decoder.decode(line))
                places.append(place)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                detail = str(error).replace("Object contains unknown field", "neither a feature nor ignored:")
                rejects.append(Reject(place, "not_a_state", detail, line.decode("utf-8", "backslashreplace")))
        return objects, rejects, np.array(places, np.int64)

    def _by_position(self, objects: list[list], lines: list[bytes], places: np.ndarray, rejects: list[Reject]) -> Batch:
        """Arrays of features become objects with a context, so that what is written is a log."""
        d = len(self.names)
        good = [len(values) == d for values in objects]
        if not all(good):
            for values, line, place, fits in zip(objects, lines, places.tolist(), good):
                if not fits:
                    said = f"{len(values)} values, and the problem has {d} features"
                    rejects.append(Reject(place, "wrong_length", said, line.decode("utf-8", "backslashreplace")))
            objects, places = [values for values, fits in zip(objects, good) if fits], places[np.array(good)]
        made = [msgspec.json.encode({"context": dict(zip(self.names, values))}) for values in objects]
        found = list(zip(*objects)) or [()] * d
        columns: dict[str, Any] = {f"context.{name}": values for name, values in zip(self.names, found)}
        rows = Rows(places, columns, lambda i: made[i].decode(), rejects=rejects)
        return Batch(rows, made, np.zeros(len(made), bool))
