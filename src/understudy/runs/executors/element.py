"""What one element of a Slurm array runs: ``python -m understudy.runs.executors.element FOLDER NAME``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from understudy.runs.executors.array import Array
from understudy.runs.executors.machine import Machine
from understudy.runs.executors.pool import Pool

LAYOUT = "layout.json"
_AMPLE = 2**40  # Slurm itself keeps to the memory and the accelerators that were asked for


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of an array are dealt out: element e has jobs [e·size, (e+1)·size), on ``cpus`` cores."""

    size: int
    cpus: int

    def mine(self, element: int, total: int) -> range:
        """The numbers of an element's jobs."""
        return range(element * self.size, min((element + 1) * self.size, total))


def layout_of(array: Array) -> Layout:
    """As it was submitted."""
    return msgspec.json.decode((array.place / LAYOUT).read_bytes(), type=Layout)


def main(folder: str, name: str) -> int:
    """Run what of this element's jobs has not ended; begun again, it goes on from there.

    USR1 says that its time is nearly up: it asks to be queued once more if anything ended since it was started, since
    otherwise it would never get further; then the jobs it could not end have failed.
    """
    array, element = Array(Path(folder) / name), int(os.environ["SLURM_ARRAY_TASK_ID"])
    layout = layout_of(array)
    mine = layout.mine(element, len(array.jobs()))
    pool = Pool(array, Machine(layout.cpus, _AMPLE, _AMPLE))
    well = pool.run(mine)
    if pool.signal == signal.SIGUSR1:
        if not pool.ended:
            print(f"element {element}: out of time, and nothing ended in it", flush=True)
            array.mark_all([k for k in pool.running if k in set(array.open())], "failed")
        if set(mine) & set(array.open()):
            job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{element}"
            print(f"element {element}: out of time, queued once more", flush=True)
            return subprocess.run(["scontrol", "requeue", job]).returncode
    return int(not well or not all((array.place / f"{k}.done").exists() for k in mine))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
