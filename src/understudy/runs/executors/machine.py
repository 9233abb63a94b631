"""This machine: what it has, and which of its processes still live."""

from __future__ import annotations

import os
import platform
import subprocess
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


@cache
def here() -> str:
    """The machine and, where it tells, the time since it was switched on: process ids mean something only here."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()} {boot.read_text().strip() if boot.exists() else ''}".strip()


@cache
def kind() -> str:
    """What processor this is: code compiled for one kind may not run on another."""
    told = Path("/proc/cpuinfo")
    text = told.read_text() if told.exists() else platform.processor()
    return "\n".join(sorted({line for line in text.splitlines() if line.startswith(("model name", "flags"))}) or [text])


def started(pid: int) -> str:
    """When a process started, as the system tells it; "" if there is none: with its id this names it for good."""
    if not Path("/proc/self/stat").exists():
        return _asked(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *rest = text.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def alive(pid: int, since: str) -> bool:
    """Whether the process that started then still lives."""
    return bool(since) and started(pid) == since


def _asked(pid: int) -> str:
    """As ``started``, where there is no /proc."""
    told = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return "" if told.startswith("Z") else told.partition(" ")[2].strip()
