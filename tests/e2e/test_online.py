"""Learning per event beside a real service: rewards late, twice, for nobody; a learner killed; every row traced."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.problem import Problem
from understudy.core.service import Logged
from understudy.data.artifact import read_manifest
from understudy.data.context import Coder
from understudy.data.eventlog import open_event_log
from understudy.data.eventlog.export import export
from understudy.data.home import Home
from understudy.data.join import join
from understudy.envs.classification import digits
from understudy.envs.drift import drift
from understudy.runs.client import Delivery, drive, joined, patience
from understudy.runs.follow import Follower, Lesson, follow
from understudy.serve.client import Client
from understudy.serve.deployment import policy_of
from understudy.serve.engine import replay
from understudy.serve.local import LocalService

RUN = [sys.executable, "-c", "from understudy.cli import run; run()"]
ALIAS = "production"
MESSY = Delivery(delay=60, duplicates=0.2, orphans=0.1)


@contextmanager
def verb(*argv: str, end: int = signal.SIGTERM) -> Iterator[re.Match[str]]:
    """A verb in a process of its own, once it is ready."""
    process = subprocess.Popen([*RUN, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if ready := re.search(r"ready: (\S+)", line):
                yield ready
                break
        else:
            pytest.fail(f"{argv[0]} ended before it was ready: {''.join(said)}")
    finally:
        process.send_signal(end)
        process.communicate(timeout=30)


@contextmanager
def serving(home: Path, problem: Problem) -> Iterator[tuple[Client, str]]:
    file = home / "problem.yaml"
    file.write_bytes(msgspec.yaml.encode(problem))
    argv = ["serve", ALIAS, "--home", str(home), "--problem", str(file), "--client-times", "--port", "0"]
    with verb(*argv) as ready, Client(ready[1], timeout=30.0) as client:
        yield client, ready[1]


def learning(home: Path, url: str, *words: str, end: int = signal.SIGTERM):
    argv = ["learn", "online_linear", *words, "--home", str(home), "--problem", str(home / "problem.yaml")]
    return verb(*argv, "--url", url, end=end)


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def learned(home: Path) -> int:
    """Decisions behind the policy that is live."""
    live = Home(home).current(ALIAS)
    return 0 if live is None else read_manifest(live).counts["decisions"]


def test_what_comes_late_twice_or_for_nobody_is_learned_from_once(tmp_path: Path) -> None:
    """Digits: 1,000 uniform decisions, each learned from exactly once; then 300 decisions that show it.

    Uniform earns 0.1. Of 300 its chance to earn 0.25 or more is below 1e-12; what was learned earns over 0.6.
    """
    env = digits()
    with serving(tmp_path, env.problem) as (client, url):
        first = drive(env, client, 1_000, seed=1, delivery=MESSY, batch=50)
        with learning(tmp_path, url, "quadratic=false", "epsilon=0.05"):
            until(lambda: learned(tmp_path) >= 1_000, "the learner did not catch up")
            until(lambda: client.status()["policy_id"] == live_id(tmp_path), "the service did not swap")
            second = drive(env, client, 300, seed=1, first=1_000, delivery=MESSY, batch=50)
            until(lambda: learned(tmp_path) >= 1_300, "the learner did not catch up")
    assert min(first.sent["duplicates"], first.sent["orphans"]) > 50
    assert learned(tmp_path) == 1_300
    assert set(first.policy) == {"uniform"} and "uniform" not in second.policy
    assert second.reward.mean() > 0.25
    log = open_event_log(Home(tmp_path).log(ALIAS), None)
    export(log, problem=env.problem, to=tmp_path / "logs")
    log.close()
    data = join(tmp_path / "logs", window="2h", as_of="2026-02-01", to=tmp_path / "data")
    (steps,) = data.scan(10_000)
    assert steps.n == 1_300
    np.testing.assert_array_equal(steps.action, np.concatenate([first.action, second.action]))
    np.testing.assert_array_equal(steps.reward, np.concatenate([first.reward, second.reward]))
    np.testing.assert_array_equal(steps.propensity, np.concatenate([first.propensity, second.propensity]))


def live_id(home: Path) -> str:
    live = Home(home).ledger.current(ALIAS)
    return "" if live is None else live.policy


def test_a_killed_learner_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """A policy per event, kill -9 in the middle: the end is that of nobody ever having been killed.

    Uniform earns 0.327 with a standard deviation of 0.403, so 160 decisions earn 0.327 + 5 · 0.403 / √160 = 0.486 or
    more by chance three times in ten million.
    """
    env, words = drift(d=2, rewards="exact", strength=6.0), ["quadratic=false", "capacity=64"]
    with serving(tmp_path, env.problem) as (client, url):
        warm = drive(env, client, 30, seed=2, batch=10)
        with learning(tmp_path, url, *words, end=signal.SIGKILL):
            until(lambda: client.status()["version"][0] > 0, "nobody went live")
            before = drive(env, client, 80, seed=2, first=30, after=patience(client))
        lonely = drive(env, client, 20, seed=2, first=110)  # nobody learns, and the service serves on
        with learning(tmp_path, url, *words):
            until(lambda: learned(tmp_path) == 130, "the learner did not catch up")
            after = drive(env, client, 80, seed=2, first=130, after=patience(client))
    assert len(set(lonely.policy)) <= 2 and len(set(before.policy)) == len(set(after.policy)) == 80
    assert learned(tmp_path) == 210
    log, other = open_event_log(Home(tmp_path).log(ALIAS), None), Home(tmp_path / "other")
    lesson = Lesson("online_linear", {"quadratic": False, "capacity": 64})
    follow(Follower(lesson, env.problem, other, ALIAS, log), stop=lambda: False, once=True)
    assert live_id(tmp_path / "other") == live_id(tmp_path)
    assert set(warm.policy) == {"uniform"}
    assert joined([before, after]).reward.mean() > 0.486
    coder, policies = Coder(env.problem), policy_of(tmp_path)
    entries, _ = log.read({}, 10_000)
    decisions = [msgspec.json.decode(entry.body, type=Logged) for entry in entries if entry.kind == "decision"]
    assert len(decisions) == 210
    assert all(replay(logged, policies, coder) == logged for logged in decisions)  # bit for bit, every policy kept
    log.close()


def test_over_http_and_in_this_process_the_same_is_decided(tmp_path: Path) -> None:
    """One seed, two ways to ask, in a drifting world: equal actions, propensities, rewards, and equal logs."""
    env, bodies = drift(period=40), []
    (tmp_path / "http").mkdir()
    with serving(tmp_path / "http", env.problem) as (client, _):
        one = drive(env, client, 100, seed=3, delivery=MESSY)
    with LocalService(tmp_path / "local", ALIAS, problem=env.problem, client_times=True) as service:
        two = drive(env, service, 100, seed=3, delivery=MESSY)
    for name in ("action", "propensity", "reward"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for place in ("http", "local"):
        log = open_event_log(Home(tmp_path / place).log(ALIAS), None)
        bodies.append([(entry.kind, entry.key, entry.body) for entry in log.read({}, 10_000)[0]])
        log.close()
    assert bodies[0] == bodies[1]
