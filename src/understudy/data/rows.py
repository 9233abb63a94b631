"""Rows at random from a dataset that does not fit in memory: fixed-width records in one temporary file."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.core.steps import Steps, Transitions
from understudy.ops.transitions import transitions

FINAL = ("final_context", "final_allowed")
COLUMNS = ("context", "action", "reward", "terminated", "truncated", "allowed", "propensity", "span")
_AT_ONCE = 512


@dataclass(frozen=True)
class RowFile:
    """Every step of a dataset as a record, and every episode's final context and mask; gone when nobody holds it.

    A draw touches a page of the file per row, and gives the pages back at once: memory grows with the draw and not
    with the dataset. The same rows give the same transitions as in memory, bit for bit.
    """

    rows: np.memmap  # [n] records of COLUMNS, and the episode's number
    final: np.memmap | None  # [m] records of FINAL
    files: tuple[Any, ...]  # open handles of unlinked files

    @staticmethod
    def spill(batches: Iterator[Steps]) -> RowFile:
        """Write the steps once, in order. Raises: OSError where the temporary folder is full."""
        rows, final = (tempfile.TemporaryFile(prefix="understudy-rows-") for _ in range(2))  # noqa: SIM115  held open
        kind, ending, episodes = None, np.dtype([]), 0
        for steps in batches:
            if kind is None:
                kind, ending = (
                    np.dtype([("episode", np.int64), *_kinds(steps, COLUMNS)]),
                    np.dtype(_kinds(steps, FINAL)),
                )
            record = _filled(steps, kind, steps.n)
            record["episode"] = np.repeat(np.arange(episodes, episodes + steps.m), np.diff(steps.starts))
            rows.write(record.tobytes())
            final.write(_filled(steps, ending, steps.m).tobytes())
            episodes += steps.m
        rows.flush()
        final.flush()
        assert kind is not None, "a dataset that is read at random is not empty"
        ends = np.memmap(final, ending, "r") if ending.itemsize else None
        return RowFile(np.memmap(rows, kind, "r"), ends, (rows, final))

    def transitions(self, at: np.ndarray, discount: float, n: int = 1) -> Transitions:
        """What ``ops.transitions`` gives for rows ``at`` i64[b] of the whole dataset."""
        order = np.argsort(at, kind="stable")  # neighbours share a page
        index = np.minimum(at[order, None] + np.arange(n + 1), len(self.rows) - 1)  # [b, n + 1]
        record = _gathered(self.rows, index.ravel())
        columns: dict[str, Any] = {name: np.ascontiguousarray(record[name]) for name in record.dtype.names or ()}
        episode = columns.pop("episode")[:: n + 1]
        if self.final is not None:
            ends = _gathered(self.final, episode)
            columns |= {name: np.ascontiguousarray(ends[name]) for name in ends.dtype.names or ()}
        starts = np.arange(len(at) + 1) * (n + 1)
        few = Steps(
            starts=starts,
            unit=np.zeros(len(at), np.uint64),
            time=np.zeros(len(record), np.int64),
            **columns,
        )
        drawn = transitions(few, starts[:-1], discount, n)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        taken: dict[str, Any] = {name: None if column is None else column[back] for name, column in vars(drawn).items()}
        return Transitions(**taken)


def _gathered(held: np.memmap, rows: np.ndarray) -> np.ndarray:
    """Those rows; after every few the pages they touched, and those the kernel mapped around them, are given back."""
    out = np.empty((len(rows), *held.shape[1:]), held.dtype)
    for at in range(0, len(rows), _AT_ONCE):
        np.take(held, rows[at : at + _AT_ONCE], axis=0, out=out[at : at + _AT_ONCE])
        held._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
    return out


def _kinds(steps: Steps, names: tuple[str, ...]) -> list[Any]:
    """Name, type and width of those columns that these steps have."""
    columns = {name: column for name in names if (column := getattr(steps, name)) is not None}
    return [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]


def _filled(steps: Steps, kind: np.dtype, n: int) -> np.ndarray:
    """n records of these steps' columns."""
    record = np.empty(n, kind)
    for name in kind.names or ():
        if name != "episode":
            record[name] = getattr(steps, name)
    return record
