"""The pool on this machine: what there is room for, when time is up, and whether a pool lives that is not seen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from understudy.core.errors import ConfigError
from understudy.core.jobs import ALIVE, Job, Resources
from understudy.runs.executors import machine, pool
from understudy.runs.executors.array import Array
from understudy.runs.executors.build import make_executor, remember
from understudy.runs.executors.inline import Inline
from understudy.runs.executors.local import Local
from understudy.runs.executors.machine import Machine
from understudy.runs.executors.pool import Pool, surroundings


def shell(text: str, **asked: int) -> Job:
    return Job(("sh", "-c", text), Resources(**{"memory_mb": 100, "minutes": 1, **asked}))


@pytest.mark.parametrize("asked", [{"cpus": 2}, {"memory_mb": 600}, {"gpus": 1}])
def test_jobs_share_what_there_is(asked: dict[str, int], tmp_path: Path) -> None:
    """Two that together ask for more than there is run one after the other; small ones side by side."""
    room = Machine(cpus=2, memory_mb=1000, gpus=1)
    for name, jobs in (("big", [shell("sleep 0.3", **asked)] * 2), ("small", [shell("sleep 0.3")] * 2)):
        array = Array(tmp_path / name)
        array.take(jobs)
        assert Pool(array, room).run([0, 1])
    (first, second), (left, right) = (sorted(Array(tmp_path / name).spans()) for name in ("big", "small"))
    assert second[0] >= first[1] - 0.01
    assert right[0] < left[1]


def test_more_than_there_is_gets_all_there_is(tmp_path: Path) -> None:
    """A pool of one core runs a job that asked for two; check would have said so where the machine has no more."""
    array = Array(tmp_path / "a")
    array.take([shell("true", cpus=8)])
    assert Pool(array, Machine(1, 50, 0)).run([0])


def test_a_job_that_takes_too_long_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not begun again by itself, unlike one that somebody else killed."""
    monkeypatch.setattr(pool, "MINUTE", 0.3)
    array = Array(tmp_path / "a")
    array.take([shell("sleep 300 & wait"), shell("kill -9 $$"), shell("exit 3")])
    assert not Pool(array, Machine(3, 1000, 0)).run(range(3))
    assert array.states(lambda k, begun: "waiting") == ("failed", "gone", "failed")


def test_an_interrupted_inline_run_ends_its_child_and_goes_on_later(tmp_path: Path) -> None:
    """Ctrl-C: what ran is gone, what is done stays, and the caller hears of it."""
    jobs = [["sh", "-c", "true"], ["sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 300"]]
    code = """
import sys, json; from pathlib import Path
from understudy.core.jobs import Job
from understudy.runs.executors.inline import Inline
Inline(Path(sys.argv[1])).submit('a', [Job(tuple(argv)) for argv in json.loads(sys.argv[2])])
"""
    line = [sys.executable, "-c", code, str(tmp_path / "jobs"), msgspec.json.encode(jobs).decode()]
    caller = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    caller.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in caller.communicate(timeout=30)[1] and caller.returncode != 0
    assert Inline(tmp_path / "jobs").poll("a") == ("done", "gone")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_pool_elsewhere_lives_by_its_signs_of_life(tmp_path: Path) -> None:
    """On another machine, or before this one was started anew, process ids say nothing."""
    array, executor = Array(tmp_path / "a"), Local(tmp_path)
    array.take([shell("true")])
    assert executor.poll("a") == ("waiting",), "whoever took the name may be about to start"
    array.write("pool.json", msgspec.json.encode({"where": "another", "pid": os.getpid(), "started": "1"}))
    assert executor.poll("a") == ("waiting",)
    old = time.time() - 3600
    os.utime(array.place / "pool.json", (old, old))
    assert executor.poll("a") == ("gone",)
    (array.place / "pool.json").unlink()
    os.utime(array.place / "jobs.json", (old, old))
    assert executor.poll("a") == ("gone",)


def test_a_killed_pool_is_seen_and_its_jobs_are_gone(tmp_path: Path) -> None:
    """A process id that is used again is not taken for it: it counts with the moment it was started."""
    executor = Local(tmp_path, workers=1)
    executor.submit("a", [shell("sleep 300"), shell("true")])
    while executor.poll("a")[0] != "running":
        time.sleep(0.02)
    told = msgspec.json.decode((tmp_path / "a" / "pool.json").read_bytes())
    (child,) = Path(f"/proc/{told['pid']}/task/{told['pid']}/children").read_text().split()
    os.kill(told["pid"], signal.SIGKILL)
    os.kill(int(child), signal.SIGKILL)
    while ALIVE & set(executor.poll("a")):
        time.sleep(0.02)
    assert executor.poll("a") == ("gone", "gone")
    Array(tmp_path / "a").write("pool.json", msgspec.json.encode(told | {"pid": os.getpid()}))
    assert executor.poll("a") == ("gone", "gone")


def test_a_process_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, ps tells when a process was started."""
    assert machine.started(os.getpid()) and not machine.started(2**22 + 1)
    told = machine._asked(os.getpid())
    assert told and machine._asked(os.getpid()) == told and not machine._asked(2**22 + 1)


def test_what_a_job_finds_around_it(tmp_path: Path) -> None:
    """Threads as many as cores, one folder for compiled code; a variable that is set stays."""
    found = surroundings(Resources(cpus=3), tmp_path, {"HOME": "/h", "OMP_NUM_THREADS": "9"})
    assert {found[name] for name in found if name.endswith("_THREADS")} == {"3"} and found["HOME"] == "/h"
    assert Path(found["JAX_COMPILATION_CACHE_DIR"]).is_relative_to(tmp_path / ".cache")
    given = {"JAX_COMPILATION_CACHE_DIR": "/mine"}
    assert surroundings(Resources(), tmp_path, given)["JAX_COMPILATION_CACHE_DIR"] == "/mine"


def test_a_study_remembers_the_settings_of_an_executor(tmp_path: Path) -> None:
    """So that logs and cancel need not be told again; a file for another executor is refused, as is an unknown key."""
    file = tmp_path / "cluster.yaml"
    file.write_text("kind: local\nworkers: 3\n")
    remember("local", tmp_path, file)
    made = make_executor("local", tmp_path, None)
    assert isinstance(made, Local) and made.workers == 3
    with pytest.raises(ConfigError, match="is for local"):
        make_executor("slurm", tmp_path, file)
    file.write_text("wokers: 3\n")
    with pytest.raises(ConfigError, match="workers"):
        make_executor("local", tmp_path, file)


@pytest.mark.parametrize("name", ["", "a b", "../a", ".a", "a/b", "x" * 101])
def test_the_name_of_an_array_is_a_plain_word(name: str, tmp_path: Path) -> None:
    """It becomes a folder, and a word in a script."""
    with pytest.raises(ConfigError, match="cannot be the name"):
        Local(tmp_path / "jobs").submit(name, [shell("true")])
    assert not (tmp_path / "jobs").exists()
