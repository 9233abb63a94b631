"""``python -m understudy.runs.executors.pool FOLDER NAME WORKERS [AFTER ...]``: the process behind ``Local``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from understudy.core.jobs import ALIVE
from understudy.runs.executors.local import TICK, Local


def main(folder: str, name: str, workers: str, *after: str) -> None:
    """Wait for other arrays, then run this one."""
    pool = Local(Path(folder), int(workers))
    while any(state in ALIVE for other in after for state in pool.poll(other)):
        time.sleep(TICK)
    pool.run(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
