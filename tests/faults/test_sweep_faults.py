"""A study whose workers, pool and submitters are killed: every run once, and the bytes of one nobody disturbed.

The full counts are benchmarks/sweep_faults.py.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from understudy.data.artifact import verify_artifact
from understudy.runs.sweep.drive import Asked, Outcome, sweep
from understudy.runs.sweep.experiment import read_experiment
from understudy.runs.sweep.study import begin, open_study, work
from understudy.runs.sweep.table import TABLES, gather
from understudy.testing.killing import Killer, kill, kill_element, workers

SAME = ("results.parquet", "episodes.parquet", "runs.parquet")
LIFE = 0.8  # seconds of CPU that a worker of two such runs takes, nearly all of them for its imports


def experiment(folder: Path, seeds: int, group: int, episodes: int = 40) -> Path:
    path = folder / "experiment.yaml"
    fields = {"name": "faults", "learner": "uniform", "env": "bandit", "log": {"episodes": episodes}, "group": group,
              "evaluate": {"episodes": 40}, "sweep": {"log.episodes": [episodes, episodes + 20]}, "seeds": seeds,
              "resources": {"memory_mb": 500, "minutes": 5}}  # fmt: skip
    path.write_bytes(msgspec.yaml.encode(fields))
    return path


def settings(folder: Path, **fields: object) -> Path:
    path = folder / "cluster.yaml"
    path.write_bytes(msgspec.yaml.encode(fields))
    return path


def undisturbed(file: Path, to: Path) -> dict[str, bytes]:
    """The tables of the same study, done here one run after the other."""
    study = begin(read_experiment(file), to)
    work(study, range(study.plan.total))
    return tables(gather(study).parent)


def tables(study: Path) -> dict[str, bytes]:
    return {name: (study / TABLES / name).read_bytes() for name in SAME}


def swept(file: Path, study: Path, asked: Asked, killer: Killer) -> Outcome:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(sweep, file, study, asked)
        killer.watch(done.done)
        return done.result()


def landed(study: Path) -> Counter[str]:
    """How often each run was done, by what the workers have printed."""
    text = "\n".join(path.read_text() for path in (study / "jobs").glob("*/*.log"))
    return Counter(re.findall(r"run \d+ \((\w+)\) done$", text, re.MULTILINE))


def all_there_once(study: Path, total: int) -> None:
    runs = open_study(study)
    assert len(runs.done()) == total
    for run in runs.plan.runs():
        verify_artifact(runs.path(run))
    assert max(landed(study).values()) == 1
    assert not list((study / "runs").glob(".*")), "no half-written run is left"


def test_a_third_of_the_workers_killed(tmp_path: Path) -> None:
    """SIGKILL at a random moment of a worker's life: one line does it all, whoever dies."""
    file, study = experiment(tmp_path, seeds=10, group=2), tmp_path / "study"
    killer = Killer(study, share=0.3, seed=0, life=LIFE)
    outcome = swept(file, study, Asked(cluster=settings(tmp_path, workers=2)), killer)
    assert killer.killed and len(killer.seen) >= 10
    assert outcome.counts == {"done": 20} and outcome.code == 0
    all_there_once(study, 20)
    assert tables(study) == undisturbed(file, tmp_path / "calm")


def test_a_third_of_the_elements_killed_by_slurm(tmp_path: Path, slurm: Path) -> None:
    """The same with scancel --signal=KILL, which ends whatever an element of the array has running."""
    file, study = experiment(tmp_path, seeds=6, group=1), tmp_path / "study"
    killer = Killer(study, share=0.3, seed=0, life=LIFE, kill=kill_element)
    asked = Asked(at="slurm", cluster=settings(tmp_path, kind="slurm", cores=2, every=0.5))
    outcome = swept(file, study, asked, killer)
    assert killer.killed
    assert outcome.counts == {"done": 12} and outcome.code == 0
    all_there_once(study, 12)
    assert tables(study) == undisturbed(file, tmp_path / "calm")


def test_everything_killed_and_begun_again(tmp_path: Path) -> None:
    """Submitter and pool killed in the midst of it, twice; the same line goes on."""
    file, study = experiment(tmp_path, seeds=6, group=2), tmp_path / "study"
    line = command("sweep", file, "--to", study, "--cluster", settings(tmp_path, workers=2))
    for least in (2, 6):
        submitter = subprocess.Popen(line, stdout=-3, stderr=-3)
        until(lambda least=least: len(list((study / "runs").glob("*/manifest.json"))) >= least)
        submitter.kill()
        submitter.wait()
        pools = [msgspec.json.decode(path.read_bytes())["pid"] for path in (study / "jobs").glob("*/pool.json")]
        for pid in [*pools, *workers(study)]:
            if str(study) in command_of(pid):
                kill(pid)
        until(lambda: not workers(study))
    assert subprocess.run(line, stdout=-3, stderr=-3).returncode == 0
    all_there_once(study, 12)
    assert tables(study) == undisturbed(file, tmp_path / "calm")


def test_submitted_by_two_at_once(tmp_path: Path) -> None:
    """Nothing is started twice: each run is done once, and no worker finds another's work done."""
    file, study = experiment(tmp_path, seeds=4, group=2), tmp_path / "study"
    line = command("sweep", file, "--to", study, "--cluster", settings(tmp_path, workers=2))
    both = [subprocess.Popen(line, stdout=-3, stderr=-1, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    all_there_once(study, 8)
    sent = [index for each in open_study(study).submissions() for job in each.jobs for index in job]
    assert sorted(sent) == list(range(8))
    assert sum(landed(study).values()) == 8


def test_a_worker_back_from_the_dead_overwrites_nothing(tmp_path: Path) -> None:
    """Stopped in the midst of a run; another does the run; the first goes on, and finds its place taken."""
    file = experiment(tmp_path, seeds=1, group=1, episodes=400_000)
    study = begin(read_experiment(file), tmp_path / "study")
    run = study.plan.run(0)
    ghost = subprocess.Popen(command("run", study.folder, "--index", "0"), stdout=-1, stderr=-2, text=True)
    try:
        until(
            lambda: bool(list((study.folder / "runs").glob(f".{run.id}*.partial"))) or ghost.poll() is not None, 0.0005
        )
        assert ghost.poll() is None, ghost.communicate()[0]
        os.kill(ghost.pid, signal.SIGSTOP)
        assert not study.path(run).exists(), "it was to be stopped before it had finished"
        work(study, [0])
        before = facts(study.folder)
        assert study.done() == {run.id}
        os.kill(ghost.pid, signal.SIGCONT)
        said, _ = ghost.communicate(timeout=60)
    finally:
        ghost.kill()
    assert ghost.returncode == 0 and f"({run.id}) done" in said
    assert facts(study.folder) == before
    assert not list((study.folder / "runs").glob(".*"))


def facts(study: Path) -> dict[str, tuple[bytes, int, int]]:
    """What every file of a study's runs holds, which file it is, and when it was written."""
    paths = [path for part in ("runs", "times") for path in (study / part).rglob("*") if path.is_file()]
    kept = [path for path in paths if ".partial" not in str(path)]
    return {str(path): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}


def command(*words: object) -> list[str]:
    return [str(Path(sys.executable).with_name("understudy")), *map(str, words)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def until(holds, pause: float = 0.02, patience: float = 300.0) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(pause)


if sys.platform != "linux":
    pytest.skip("processes are found in /proc", allow_module_level=True)
