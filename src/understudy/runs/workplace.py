"""The folder in which a training works beside its artifact: one process at a time; gone when the artifact is there."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from understudy.core.errors import StoreError

LOCK = "lock"


def workplace(to: str | Path) -> Path:
    """Where the training of the artifact ``to`` keeps what it needs to go on."""
    return Path(to).parent / f".{Path(to).name}.training"


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the folder for this process. It is removed at the end; after an error, what lies in it stays.

    Raises: StoreError where another process holds it.
    """
    lock = _locked(work)
    try:
        yield
        clear(work)
    finally:
        (work / LOCK).unlink(missing_ok=True)  # last, and before it is released: who waits for it sees that it is gone
        with suppress(OSError):
            work.rmdir()
        lock.close()


def clear(work: Path) -> None:
    """Remove all but the lock."""
    for path in work.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _locked(work: Path) -> Any:
    while True:
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock = (work / LOCK).open("w")
        except (FileNotFoundError, FileExistsError):  # the one before has just removed the folder
            if work.is_file():
                raise
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StoreError(
                f"another process is training in {work}",
                "Two would overwrite each other's checkpoints.",
                "Wait for it, or give another folder.",
                field="to",
            ) from error
        if _is_still(lock, work / LOCK):
            return lock
        lock.close()


def _is_still(file: Any, path: Path) -> bool:
    """Whether the open file is the one that lies there: not one that its holder removed meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
