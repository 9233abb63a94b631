"""What a verb prints: a few lines for a person, or one JSON object; the artifact's path last, so that verbs pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from understudy.cli.errand import delivered
from understudy.core.errors import ConfigError, UnderstudyError

VERDICT_CODES = {"ship": 0, "hold": 3, "not_enough_evidence": 4, "refused": 5}


@dataclass(frozen=True)
class Said:
    """The result of a verb: lines to read, the same as data, the artifact's path, and the exit code."""

    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    code: int = 0


def working(on: str) -> AbstractContextManager[Any]:
    """A sign of life on standard error while a verb works; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(f"{on} …")


@contextmanager
def watched(tensorboard: Path | None) -> Iterator[Callable[[Any], None]]:
    """What to do with each epoch of a training: a line on standard error, and scalars where they are asked for."""
    from understudy.runs.epochs import point_line
    from understudy.runs.scalars import scalars

    with working("learning"), scalars(tensorboard) as note:

        def show(point: Any) -> None:
            print(point_line(point), file=sys.stderr, flush=True)
            note(point)

        yield show


def counting(what: str, every: float = 2.0) -> Callable[[int, int], None]:
    """Tells on standard error, every few seconds, how many rows are done and how many were set aside."""
    start = last = time.monotonic()

    def told(rows: int, aside: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every:
            last = now
            more = f", {aside:,} set aside" if aside else ""
            print(f"{rows:,} rows {what}{more}, {rows / (now - start):,.0f} per second", file=sys.stderr)

    return told


def already(artifact: Path) -> list[str]:
    """What to say first, asked before a verb runs: the same question in the same folder is answered from it."""
    return (
        ["already done, from the same inputs; nothing was made again"] if (artifact / "manifest.json").exists() else []
    )


def say(said: Said, *, json: bool) -> None:
    """Print it, once what was made is at its place, and leave with its exit code."""
    if json:
        payload = {**said.data, "path": said.path} if said.path else said.data
        lines = [msgspec.json.encode(payload, enc_hook=str).decode()]
    else:
        lines = [*said.lines, said.path] if said.path else said.lines
    if lines:
        print(delivered("\n".join(lines)))
    if said.code:
        raise SystemExit(said.code)


def fail(error: UnderstudyError, *, json: bool) -> int:
    """Print an error in its one shape; 2 for usage and settings, 1 for everything else."""
    from understudy.data.places import spoken

    if json:
        sys.stdout.write(spoken(msgspec.json.encode(error.as_dict()).decode()) + "\n")
    else:
        print(spoken(f"{type(error).__name__}: {error}"), file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1
