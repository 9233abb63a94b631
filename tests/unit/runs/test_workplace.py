"""One training per artifact at a time: who comes second is told, who was killed holds nothing, nobody overlaps."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from understudy.core.errors import StoreError
from understudy.data.artifact import verify_artifact
from understudy.runs.bring import bring, bring_together
from understudy.runs.rehearsal import asked, rehearse
from understudy.runs.simulate import make_env, simulate
from understudy.runs.train import train
from understudy.runs.workplace import alone, workplace

HOLD = """
import sys, time
from pathlib import Path
from understudy.runs.workplace import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
BRIEF = {"steps": 300, "warmup_steps": 100, "envs": 4, "eval_every": 100, "eval_episodes": 2, "env.steps": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joined dataset of 1,200 decisions."""
    place = tmp_path_factory.mktemp("data")
    env, problem = make_env("bandit", {"k": 3, "d": 2, "population": 500}), place / "problem.yaml"
    simulate(env, {}, behavior="uniform", n=1_200, seed=0, to=place / "raw")
    problem.write_bytes(msgspec.yaml.encode(env.problem))
    raw = [place / "raw" / "decisions.jsonl", place / "raw" / "outcomes.jsonl"]
    bring(raw, layout="events", problem=problem, options={}, to=place / "log", home=place / "home")
    bring_together(place / "log", window="2h", backward="2m", as_of=None, to=place / "data", home=place / "home")
    return place / "data"


@contextmanager
def held(work: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder, killed at the end without a chance to clean up."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(work)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.send_signal(signal.SIGKILL)


def test_a_second_training_in_a_world_is_told(tmp_path: Path) -> None:
    """It reads no checkpoint and removes none; when the first was killed, the next one is alone and cleans up."""
    what, to = asked("dqn", "cartpole", BRIEF, choose="best", seed=0), tmp_path / "a"
    with held(workplace(to)):
        (workplace(to) / "epochs").mkdir()
        with pytest.raises(StoreError, match="another process is training in") as error:
            rehearse(what, to=to)
        assert error.value.why and error.value.hint and (workplace(to) / "epochs").is_dir() and not to.exists()
    rehearse(what, to=to)
    verify_artifact(to)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_second_training_on_a_log_is_told(data: Path, tmp_path: Path) -> None:
    """Also in one go; what is finished already is returned although somebody trains beside it."""
    to = tmp_path / "a"
    with held(workplace(to)), pytest.raises(StoreError, match="another process is training in"):
        train("direct", on=data, to=to)
    first = train("direct", on=data, to=to)
    assert not workplace(to).exists()
    with held(workplace(to)):
        assert train("direct", on=data, to=to) == first


def test_nobody_is_inside_with_another(tmp_path: Path) -> None:
    """8 threads that come and go 100 times each: a folder that its holder removes is never held twice."""
    inside, entered, overlaps, done = [], [], [], []

    def come_and_go() -> None:
        for _ in range(100):
            try:
                with alone(tmp_path / "work"):
                    inside.append(1)
                    overlaps.append(len(inside))
                    (tmp_path / "work" / "note").write_text("x")
                    inside.pop()
                    entered.append(1)
            except StoreError:
                pass
        done.append(1)

    threads = [Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8 and len(entered) > 50 and set(overlaps) == {1} and not (tmp_path / "work").exists()


def test_what_failed_keeps_its_checkpoints(tmp_path: Path) -> None:
    """An error leaves what lies there; an empty folder goes."""
    for kept in (True, False):
        with pytest.raises(KeyError), alone(tmp_path / "work"):
            if kept:
                (tmp_path / "work" / "checkpoint").write_text("x")
            raise KeyError
        assert [path.name for path in tmp_path.rglob("*")] == (["work", "checkpoint"] if kept else [])
        if kept:
            (tmp_path / "work" / "checkpoint").unlink()
