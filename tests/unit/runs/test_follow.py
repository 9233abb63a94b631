"""The process that learns per event: exact, traceable, and the same after any number of interruptions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import text_hashes
from understudy.core.steps import concat
from understudy.data.artifact import read_manifest, verify_artifact
from understudy.data.eventlog import EventLog, Record, open_event_log
from understudy.data.home import Home, now
from understudy.envs.drift import drift
from understudy.models.policy_file import read_policy
from understudy.runs.client import Delivery, drive
from understudy.runs.follow import SAVED, Follower, Lesson, follow, pairs_until
from understudy.runs.pairing import Pairing
from understudy.serve.local import LocalService

ENV = drift(rewards="exact")
LESSON = Lesson("online_linear", {"capacity": 300}, seed=3, checkpoint=40)
MESSY = Delivery(delay=60, duplicates=0.2, orphans=0.1, lost=0.1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With a log of 200 decisions in it, their rewards late, twice, and for nobody."""
    with LocalService(tmp_path, "app", problem=ENV.problem, client_times=True, poll=0) as service:
        drive(ENV, service, 200, seed=1, delivery=MESSY, batch=10)
    return Home(tmp_path)


@pytest.fixture
def log(home: Home) -> Iterator[EventLog]:
    opened = open_event_log(home.log("app"), None)
    yield opened
    opened.close()


def learn_all(home: Home, log: EventLog, lesson: Lesson = LESSON) -> Follower:
    follower = Follower(lesson, ENV.problem, home, "app", log)
    follow(follower, stop=lambda: False, once=True)
    return follower


def test_a_policy_per_event_goes_live_and_says_what_it_learned_from(tmp_path: Path) -> None:
    """One override per rewarded decision, whole artifacts, and the rows of each come back from the log."""
    home = Home(tmp_path)
    with LocalService(tmp_path, "app", problem=ENV.problem, client_times=True, poll=0) as service:
        log = open_event_log(home.log("app"), None)
        follower = Follower(LESSON, ENV.problem, home, "app", log, tell=lambda: service.desk.swap_now() and None)
        acted = drive(ENV, service, 60, seed=1, after=lambda *_: while_steps(follower))
    history = home.ledger.history("app")
    assert [change.kind for change in history] == ["override"] * 60
    assert history[-1].reason == "per-event learning: online_linear after 60 decisions"
    assert acted.policy == ("uniform", *(change.policy for change in history[:-1]))
    for n, change in enumerate(history, start=1):
        manifest = verify_artifact(home.kept(change.policy))
        assert manifest.counts == {"decisions": n}
        rows = list(pairs_until(manifest.config["learned"], log, Pairing(ENV.problem)))
        assert [pair.decision_id for pair in rows] == [f"d-{i}" for i in range(n)]
    follower.close()
    log.close()


def test_a_log_in_postgresql_is_read_to_its_end(home: Home, log: EventLog, postgres_url: str, monkeypatch) -> None:
    """There all workers share one numbering: several reads, a saved state, and the rows, as from files."""
    monkeypatch.setattr("understudy.runs.follow.AT_ONCE", 100)
    writer = open_event_log(postgres_url, 3)
    entries, _ = log.read({})
    writer.append([Record(entry.kind, entry.key, entry.body) for entry in entries])
    follower = Follower(LESSON, ENV.problem, home, "app", writer)
    for _ in range(len(entries) // 100 + 1):
        follower.step()
    assert follower.step() == 0 and follower.mark == writer.end()
    follower.close()
    resumed = Follower(LESSON, ENV.problem, home, "app", writer)
    assert resumed.step() == 0 and resumed.seen == follower.seen
    rows = list(pairs_until(resumed.learned, writer, Pairing(ENV.problem)))
    assert len(rows) == resumed.seen > 150
    resumed.close()
    writer.close()


def while_steps(follower: Follower) -> None:
    while follower.step():
        continue


def test_what_is_published_is_what_the_learner_makes_of_these_rows(home: Home, log: EventLog) -> None:
    """The live policy is bit for bit that of the same decisions given to the learner at once."""
    follower = learn_all(home, log)
    live = home.current("app")
    assert live is not None
    manifest = read_manifest(live)
    rows = list(pairs_until(manifest.config["learned"], log, Pairing(ENV.problem)))
    assert len(rows) == follower.seen == manifest.counts["decisions"]
    learner = LESSON.made()
    learning = learner.update(learner.init(ENV.problem, seed=3), concat([pair.steps() for pair in rows]))
    own, told = learner.policy(learning).state(), read_policy(live).policy.state()
    assert own.config == told.config
    for name, values in own.arrays.items():
        np.testing.assert_array_equal(values, told.arrays[name])
    assert len(set(text_hashes(pair.decision_id for pair in rows))) == len(rows)  # nobody learned from twice


def test_interrupted_anywhere_it_ends_the_same(home: Home, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped without warning after every few events, checkpoint or none: the same policy under the same id."""
    learn_all(home, log)
    whole = home.ledger.current("app")
    other = Home(Path(home.folder) / "other")
    monkeypatch.setattr("understudy.runs.follow.AT_ONCE", 17)
    for steps in (1, 2, 7, 9, 3, 11, 1, 40):  # by 7 and 9 the state was saved, by the others not
        follower = Follower(LESSON, ENV.problem, other, "app", log)
        for _ in range(steps):
            follower.step()
        release(follower)  # as a killed process does: nothing saved, only the lock is gone
    final = other.ledger.current("app")
    assert whole is not None and final is not None
    assert final.policy == whole.policy
    versions = [change.policy for change in other.ledger.history("app")]
    assert len(set(versions)) == len(versions)  # what was live already is not made live again


def release(follower: Follower) -> None:
    import os

    os.close(follower._lock)


def test_nothing_to_learn_publishes_nothing(home: Home, log: EventLog) -> None:
    """A second run over the same log changes nothing at all."""
    first = learn_all(home, log)
    again = learn_all(home, log)
    assert again.seen == first.seen
    assert len(home.ledger.history("app")) == 1  # a backlog is learned through before anything goes live


def test_every_so_many(tmp_path: Path) -> None:
    """every=50: the first policy after 50 decisions, the next after 50 more; what is left over waits."""
    home, seen = Home(tmp_path), []
    with LocalService(tmp_path, "app", problem=ENV.problem, client_times=True, poll=0) as service:
        log = open_event_log(home.log("app"), None)
        follower = Follower(Lesson("online_linear", every=50), ENV.problem, home, "app", log)
        drive(ENV, service, 120, seed=1, after=lambda *_: (while_steps(follower), seen.append(follower.published)))
    assert seen == [0] * 49 + [50] * 50 + [100] * 21
    assert [change.version for change in home.ledger.history("app")] == [1, 2]
    follower.close()
    log.close()


def test_who_was_made_live_by_somebody_else_stays(home: Home, log: EventLog) -> None:
    """A rollback, or any other hand: the learner stops and says so."""
    follower = Follower(LESSON, ENV.problem, home, "app", log)
    home.ledger.override("app", "somebody", time=now(), reason="by hand")
    with pytest.raises(StoreError, match="somebody else made somebody live"):
        follow(follower, stop=lambda: False, once=True)
    live = home.ledger.current("app")
    assert live is not None and live.policy == "somebody"


def test_one_learner_per_alias(home: Home, log: EventLog) -> None:
    """A second process is refused while the first one lives, and welcome afterwards."""
    first = Follower(LESSON, ENV.problem, home, "app", log)
    with pytest.raises(StoreError, match="another process follows 'app'"):
        Follower(LESSON, ENV.problem, home, "app", log)
    first.close()
    Follower(LESSON, ENV.problem, home, "app", log).close()


@pytest.mark.parametrize("other", [Lesson("online_linear", seed=3), Lesson("online_linear", {"capacity": 300}, seed=4)])
def test_a_saved_state_belongs_to_its_lesson(home: Home, log: EventLog, other: Lesson) -> None:
    """Other settings or another seed do not go on from it."""
    learn_all(home, log)
    with pytest.raises(StoreError, match="another lesson"):
        Follower(other, ENV.problem, home, "app", log)


def test_a_damaged_state_is_refused(home: Home, log: EventLog) -> None:
    """Cut, or with a byte changed."""
    follower = learn_all(home, log)
    path = follower.folder / SAVED
    whole = path.read_bytes()
    for raw in (whole[: len(whole) // 2], whole[:3000] + b"\xff\xff" + whole[3002:]):
        path.write_bytes(raw)
        with pytest.raises(StoreError, match="damaged"):
            Follower(LESSON, ENV.problem, home, "app", log)


def test_only_learners_that_take_decisions_as_they_come() -> None:
    """And the counts of a lesson are counts."""
    with pytest.raises(ConfigError, match="whole datasets only"):
        Lesson("direct").made()
    with pytest.raises(ConfigError):
        Lesson("online_linear", every=0)
