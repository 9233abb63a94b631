"""This machine: what it has, and which of its processes still live."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Cores this process may use, megabytes of memory, accelerators."""

    cpus: int
    memory_mb: int
    gpus: int


@cache
def machine() -> Machine:
    """What there is here."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return Machine(cpus, memory, len(list(Path("/dev").glob("nvidia[0-9]*"))))


def started(pid: int) -> str:
    """When a process started, in ticks since boot; "" if there is none: with its id this names it for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *rest = text.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def alive(pid: int, since: str) -> bool:
    """Whether the process that started then still lives."""
    return bool(since) and started(pid) == since
