"""200 runs with 30 % of their workers killed at random, on the local pool and on a real Slurm; two submissions at once.

    python benchmarks/sweep_faults.py [--quick] [local] [slurm] [twice]      → results/sweep-faults.json

Every run must land once, and the tables must be the bytes of a study that nobody disturbed. A fast part is
tests/faults/test_sweep_faults.py. Slurm is Debian's, started by tests/slurm-one-node.sh in a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from understudy.data.artifact import verify_artifact
from understudy.runs.sweep.drive import Asked, sweep
from understudy.runs.sweep.experiment import read_experiment
from understudy.runs.sweep.study import begin, open_study, work
from understudy.runs.sweep.table import TABLES, gather
from understudy.testing.killing import Killer, kill, kill_element

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "sweep-faults.json"
SAME = ("results.parquet", "episodes.parquet", "runs.parquet")
SHARE, SEED, GROUP = 0.3, 7, 8
LIFE = 1.0  # seconds of CPU: about what a worker of eight such runs takes, most of them for its imports


def experiment(folder: Path, runs: int, group: int) -> Path:
    """Two settings, half as many seeds, and hardly any work."""
    path = folder / f"{runs}.yaml"
    fields = {"name": "faults", "learner": "uniform", "env": "bandit", "log": {"episodes": 40}, "group": group,
              "evaluate": {"episodes": 40}, "sweep": {"log.episodes": [40, 60]}, "seeds": runs // 2,
              "resources": {"memory_mb": 500, "minutes": 10}}  # fmt: skip
    path.write_bytes(msgspec.yaml.encode(fields))
    return path


def killed(folder: Path, at: str, runs: int, group: int, cluster: dict[str, Any]) -> dict[str, Any]:
    """One ``sweep`` while a share of its workers is killed."""
    file, study, begun = experiment(folder, runs, group), folder / at, time.monotonic()
    told = folder / f"{at}.yaml"
    told.write_bytes(msgspec.yaml.encode(cluster))
    way: Callable[[int], None] = kill_element if at == "slurm" else kill
    killer = Killer(study, SHARE, SEED, LIFE, kill=way)
    with ThreadPoolExecutor(1) as pool:
        swept = pool.submit(sweep, file, study, Asked(at=at, cluster=told))
        killer.watch(swept.done)
        outcome = swept.result()
    counts = {"runs": runs, "runs_per_job": group, "workers": len(killer.seen), "killed": len(killer.killed),
              "submissions": len(open_study(study).submissions()), "lost": len(outcome.lost)}  # fmt: skip
    return counts | judged(study, file, folder / f"calm-{at}") | {"wall_s": time.monotonic() - begun}


def twice(folder: Path, runs: int) -> dict[str, Any]:
    """Two processes call the same line at one moment."""
    file, study = experiment(folder, runs, 4), folder / "twice"
    line = [str(Path(sys.executable).with_name("understudy")), "sweep", str(file), "--to", str(study)]
    both = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    codes = [process.wait() for process in both]
    sent = [index for each in open_study(study).submissions() for job in each.jobs for index in job]
    counts = {"runs": runs, "exit_codes": codes, "sent": len(sent), "sent_twice": len(sent) - len(set(sent))}
    return counts | judged(study, file, folder / "calm-twice")


def judged(study: Path, file: Path, calm: Path) -> dict[str, Any]:
    """What is there, how often each run was done, and whether the tables are those of an undisturbed study."""
    known = open_study(study)
    for run in known.plan.runs():
        verify_artifact(known.path(run))
    printed = "\n".join(path.read_text() for path in (study / "jobs").glob("*/*.log"))
    landed = Counter(re.findall(r"run \d+ \((\w+)\) done$", printed, re.MULTILINE))
    other = begin(read_experiment(file), calm)
    work(other, range(other.plan.total))
    gather(other)
    same = all((study / TABLES / name).read_bytes() == (calm / TABLES / name).read_bytes() for name in SAME)
    return {"done": len(known.done()), "done_more_than_once": sum(n > 1 for n in landed.values()),
            "half_written": len(list((study / "runs").glob(".*"))), "tables_equal": same}  # fmt: skip


@contextmanager
def slurm() -> Iterator[None]:
    """A Slurm of one node for as long as the context."""
    script = str(ROOT / "tests" / "slurm-one-node.sh")
    with tempfile.TemporaryDirectory(prefix="understudy-slurm-") as folder:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [str(one.getsockname()[1]) for one in held]
        for one in held:
            one.close()
        subprocess.run(["bash", script, "start", folder, *ports], check=True, stdout=subprocess.DEVNULL)
        os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"
        try:
            yield
        finally:
            subprocess.run(["bash", script, "stop", folder], check=True)


def on_slurm(folder: Path, runs: int) -> dict[str, Any]:
    """Elements of two jobs side by side, killed by scancel --signal=KILL."""
    with slurm():
        return killed(folder, "slurm", runs, GROUP, {"kind": "slurm", "cores": 2, "every": 1.0})


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "local": lambda folder, runs: killed(folder, "local", runs, GROUP, {"workers": 4}),
    "slurm": on_slurm,
    "twice": lambda folder, runs: twice(folder, runs // 5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="20 runs; nothing written")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            told = PARTS[name](Path(folder), 20 if options.quick else 200)
        print(name, json.dumps(told), flush=True)
        if not options.quick:  # parts measured earlier stay until they are measured again
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps(known | {name: told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
