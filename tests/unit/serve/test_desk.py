"""The desk: durable before answered, once per id, never late because a policy is, and one deployment at a time."""

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.service import ActivateRequest, DecideRequest, Logged, RewardRequest, Service
from understudy.data.eventlog import LogDown, Record, open_event_log
from understudy.data.eventlog.export import export
from understudy.data.eventlog.sqlite import SqliteLog
from understudy.data.home import Home
from understudy.data.traffic import Direction, Traffic
from understudy.models.policies import Discrete, Fixed, Uniform
from understudy.models.policy_file import HEAD, save_policy
from understudy.serve.agreement import Conflict
from understudy.serve.deployment import Actor, load_deployment, policy_of
from understudy.serve.desk import Desk
from understudy.serve.engine import replay
from understudy.serve.local import LocalService

PROBLEM = Problem(features=(Feature(name="x"), Feature(name="y")), actions=ActionSpace(names=("a", "b", "c")))
OTHER = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b", "c")))
CONTEXT = {"x": 1.0, "y": 2.0}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Policies bee (always b), cee (always c), even; bee is live."""
    place = Home(tmp_path / "home")
    for id, policy in (("bee", Fixed(3, 1)), ("cee", Fixed(3, 2)), ("even", Uniform(3))):
        save_policy(policy, place.kept(id), problem=PROBLEM)
    save_policy(Uniform(3), place.kept("other"), problem=OTHER)
    place.ledger.install("production", "bee", time=1, reason="first")
    return place


def direct(home: Home, **direction) -> None:
    Traffic(home.ledger).direct(Direction(alias="production", **direction))


def ask(**more) -> DecideRequest:
    return DecideRequest(**({"context": CONTEXT} | more))


def events(home: Home, kind: str = "decision") -> list[bytes]:
    log = open_event_log(home.log("production"), worker=None)
    entries, _ = log.read({})
    log.close()
    return [entry.body for entry in entries if entry.kind == kind]


# Who acts


def test_what_the_ledger_says_is_what_acts(home):
    """Nobody live: uniform. Then installed, canary, promoted over its own canary, rolled back: one value each."""
    fresh = load_deployment(home, "new", PROBLEM)
    assert (fresh.policy_id, fresh.mode, fresh.version) == ("uniform", "live", (0, 0))
    with pytest.raises(ConfigError, match="nobody is live"):
        load_deployment(home, "new")
    home.ledger.install("new", "logged", time=1, reason="the log's own policy")
    assert load_deployment(home, "new", PROBLEM).policy_id == "uniform"
    first = load_deployment(home, "production")
    assert (first.policy_id, first.version, first.problem) == ("bee", (1, 0), PROBLEM)
    assert load_deployment(home, "production", known=first) is first
    direct(home, mode="canary", candidate="cee", share=0.2)
    canary = load_deployment(home, "production", known=first)
    assert (canary.policy_id, canary.version, canary.mode) == ("bee+cee@0.2", (1, 1), "canary")
    assert canary.incumbent is first.incumbent  # not read again
    home.ledger.override("production", "cee", time=2, reason="test")
    live = load_deployment(home, "production", known=canary)
    assert (live.policy_id, live.mode, live.share, live.candidate) == ("cee", "live", 0.0, None)
    home.ledger.rollback("production", time=3, reason="test")
    assert load_deployment(home, "production").policy_id == "bee+cee@0.2"
    direct(home, mode="apprentice")
    assert load_deployment(home, "production").mode == "apprentice"


def test_a_bad_policy_never_replaces_a_good_one(home):
    """Damaged, missing, or made for another problem: whoever acts goes on, and it is said why."""
    with LocalService(home.folder, "production", poll=0) as service:
        for bad, why in (("other", "was made for problem"), ("missing", "cannot be read"), ("cee", "damaged")):
            if bad == "cee":
                head = home.kept("cee") / HEAD
                head.write_bytes(head.read_bytes().replace(b'"action": 2', b'"action": 1'))
            home.ledger.override("production", bad, time=2, reason="test")
            with pytest.raises(StoreError, match=why):
                service.desk.swap_now()
            assert service.decide(ask()).policy_id == "bee"
            assert why in service.status()["swap_fault"]
        home.ledger.override("production", "even", time=3, reason="test")
        assert service.desk.swap_now() and service.decide(ask()).policy_id == "even"
        assert service.status()["swap_fault"] == "" and not service.desk.swap_now()


def test_a_swap_is_seen_without_being_asked_for(home):
    """The ledger is looked at four times a second."""
    with LocalService(home.folder, "production") as service:
        home.ledger.override("production", "even", time=2, reason="test")
        until = time.monotonic() + 5
        while service.status()["policy_id"] != "even" and time.monotonic() < until:
            time.sleep(0.02)
        assert service.status()["policy_id"] == "even" and service.status()["version"] == [2, 0]


# Durable, once


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_answers_are_in_the_log_and_outlive_the_service(home, deadline):
    """What was answered stands in the log when a second service opens it, and repeats to the letter."""
    with LocalService(home.folder, "production", deadline=deadline) as service:
        assert isinstance(service, Service)
        first = service.decide(ask(decision_id="d-1", unit_id="u", deferred=True))
        batch = service.decide_batch([ask(), ask(), ask(decision_id="d-2")])
        service.reward(RewardRequest(decision_id="d-1", value=0.5))
        service.activate(ActivateRequest(decision_id="d-1"))
        assert len(events(home)) == 4
    with LocalService(home.folder, "production", deadline=deadline) as service:
        home.ledger.override("production", "even", time=2, reason="test")
        service.desk.swap_now()
        assert (
            service.decide(ask(decision_id="d-1", unit_id="u", deferred=True)) == first
        )  # as it was, not as it would be
        assert service.decide(ask(decision_id="d-2")) == batch[2]
        service.reward(RewardRequest(decision_id="d-1", value=0.5))
        service.activate(ActivateRequest(decision_id="d-1"))
        counts = service.status()["counts"]
        assert (counts["decisions"], counts["repeated"], counts["rewards"], counts["rewards_repeated"]) == (0, 2, 0, 1)
    assert len(events(home)) == 4 and len(events(home, "outcome")) == len(events(home, "activation")) == 1
    logged = msgspec.json.decode(events(home)[0], type=Logged)
    assert (logged.unit_id, logged.deferred, logged.policy_id, logged.propensity) == ("u", True, "bee", 1.0)


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_an_id_has_one_answer(home, deadline):
    """Again: the same. With another question: refused, and the log keeps the first."""
    with LocalService(home.folder, "production", deadline=deadline) as service:
        service.decide(ask(decision_id="d-1", allowed=("a", "b")))
        for other in (ask(decision_id="d-1"), ask(decision_id="d-1", allowed=("a", "b"), context={"x": 1.0, "y": 3.0})):
            with pytest.raises(Conflict) as caught:
                service.decide(other)
            assert caught.value.field == "decision_id" and caught.value.kind == "conflict"
        twice = service.decide_batch([ask(decision_id="d-2"), ask(decision_id="d-2")])
        assert twice[0] == twice[1]
    assert len(events(home)) == 2


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_a_batch_with_a_conflict_writes_nothing(home, deadline):
    """Else the caller, told no, would do none of it, and the log would hold decisions that nobody carried out."""
    with LocalService(home.folder, "production", deadline=deadline) as service:
        first = service.decide(ask(decision_id="d-1"))
        service.reward(RewardRequest(decision_id="d-1", value=1.0, outcome_id="o"))
    with LocalService(home.folder, "production", deadline=deadline, worker=1) as service:  # another worker's file
        again, other = ask(decision_id="d-1"), ask(decision_id="d-1", baseline="a")
        for batch in (
            [ask(decision_id="new-1"), other, ask(decision_id="new-2")],
            [ask(decision_id=f"new-{i}") for i in range(20)] + [other],
            [ask(decision_id="new-3"), ask(decision_id="new-3", baseline="a")],  # it contradicts itself
        ):
            with pytest.raises(Conflict):
                service.decide_batch(batch)
            with pytest.raises(Conflict):
                asyncio.run(service.desk.decide_soon(batch))
        with pytest.raises(Conflict):
            service.reward_batch([RewardRequest(decision_id="new", value=1.0),
                                  RewardRequest(decision_id="d-1", value=0.5, outcome_id="o")])  # fmt: skip
        assert (len(events(home)), len(events(home, "outcome"))) == (1, 1)
        assert service.desk.ready() and service.status()["counts"]["repeated"] == 0  # no was said, not the same again
        assert service.decide_batch([again, ask(decision_id="new-1")])[0] == first
        counts = service.status()["counts"]
        assert (counts["decisions"], counts["repeated"], counts["rewards_repeated"]) == (1, 1, 0)
    assert len(events(home)) == 2


def test_a_conflict_costs_only_its_own_batch(home):
    """Callers whose requests share a commit with it are answered."""
    home.ledger.override("production", "even", time=2, reason="test")
    with LocalService(home.folder, "production", deadline=1.0) as service, ThreadPoolExecutor(12) as pool:
        service.decide(ask(decision_id="d"))
        both = [ask(decision_id="d", baseline="a"), ask(decision_id="lost")]
        fine = [[ask(decision_id=f"f-{i}-{j}") for j in range(i % 3 + 1)] for i in range(60)]
        asked = [pool.submit(service.decide_batch, batch) for pair in zip(fine, [both] * 60) for batch in pair]
        assert all(len(one.result()) == len(batch) for one, batch in zip(asked[::2], fine))
        assert all(isinstance(one.exception(), Conflict) for one in asked[1::2])
    assert len(events(home)) == 1 + sum(map(len, fine))


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_five_at_once_with_one_id(home, deadline):
    """Whoever comes first is written down; all five are told the same."""
    home.ledger.override("production", "even", time=2, reason="test")
    with LocalService(home.folder, "production", deadline=deadline) as service, ThreadPoolExecutor(5) as pool:
        for i in range(20):
            barrier = threading.Barrier(5)
            asked = [pool.submit(lambda b=barrier, i=i: (b.wait(), service.decide(ask(decision_id=f"d-{i}")))[1])
                     for _ in range(5)]  # fmt: skip
            assert len({msgspec.json.encode(one.result()) for one in asked}) == 1
        assert service.status()["counts"]["decisions"] == 20 and service.status()["counts"]["repeated"] == 80
    assert len(events(home)) == 20


def test_two_workers_given_one_new_id_at_the_same_instant_say_the_same(home, tmp_path, monkeypatch):
    """Both look before either has written, so both write. The draw is a hash of the id, and the export counts one."""
    home.ledger.override("production", "even", time=2, reason="test")
    both, look = threading.Barrier(2), SqliteLog._unknown_elsewhere

    def looked(*given):
        new = look(*given)
        both.wait(10)
        return new

    desks = [Desk(home.folder, "production", worker=worker, poll=0) for worker in (0, 1)]
    monkeypatch.setattr(SqliteLog, "_unknown_elsewhere", looked)
    with ThreadPoolExecutor(2) as pool:
        for i in range(20):
            asked = [pool.submit(desk.decide, [ask(decision_id=f"d-{i}")]) for desk in desks]
            first, second = (one.result(10)[0] for one in asked)
            assert first == second
    monkeypatch.undo()
    assert desks[1].decide([ask(decision_id="d-0")]) == desks[0].decide([ask(decision_id="d-0")])
    for desk in desks:
        desk.close()
    made = export(home.log("production"), problem=PROBLEM, to=tmp_path / "log")
    assert len(events(home)) == 40 and made.counts["decisions"] == made.counts["repeated"] == 20


def test_a_batch_with_one_wrong_request_is_refused_whole(home):
    """Nothing of it is decided or written."""
    for deadline in (None, 1.0):
        with LocalService(home.folder, "production", deadline=deadline) as service:
            with pytest.raises(DataError):
                service.decide_batch([ask(), ask(context={"x": 1.0})])
            assert service.decide_batch([]) == []
            with pytest.raises(DataError):
                service.reward_batch([RewardRequest(decision_id="d", value=1), RewardRequest(decision_id="d", value=9)])
    assert events(home) == events(home, "outcome") == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [({"value": float("nan")}, "value"), ({"value": float("inf")}, "value"), ({"value": 1.5}, "value"),
     ({"value": -0.1}, "value"), ({"value": 1.0, "name": "clicks"}, "name"), ({"value": 1.0, "time": 5.0}, "time")],
)  # fmt: skip
def test_rewards_that_no_estimate_could_use_are_refused(home, request_, field):
    """Not finite, outside the range, of no outcome, with a clock of its own."""
    with LocalService(home.folder, "production") as service, pytest.raises(DataError) as caught:
        service.reward(RewardRequest(decision_id="d", **request_))
    assert caught.value.field == field


def test_rewards_come_early_late_and_again(home):
    """Before their decision; twice (once counted); the same id with another value is refused; sums may be in parts."""
    problem = msgspec.structs.replace(PROBLEM, outcomes=(OutcomeSpec(name="reward", aggregate="sum"),))
    save_policy(Fixed(3, 0), home.kept("sums"), problem=problem)
    home.ledger.install("sums", "sums", time=1, reason="first")
    with LocalService(home.folder, "sums") as service:
        for _ in range(2):
            service.reward_batch([RewardRequest(decision_id="early", value=7.0, outcome_id=f"o{i}") for i in range(3)])
            service.reward(RewardRequest(decision_id="early", value=0.0))
            service.reward(RewardRequest(decision_id="early", value=-0.0))
        with pytest.raises(Conflict):
            service.reward(RewardRequest(decision_id="early", value=8.0, outcome_id="o1"))
        assert service.status()["counts"]["rewards"] == 4
        service.reward(RewardRequest(decision_id="another", value=7.0, outcome_id="o1"))  # ids are the decision's own
        assert service.status()["counts"]["rewards"] == 5


def test_times_are_the_services_unless_it_is_a_simulation(home):
    """A caller's clock is refused; in a simulation it is written down, for rewards and activations as well."""
    with LocalService(home.folder, "production", clock=lambda: 42.0) as service:
        with pytest.raises(DataError) as caught:
            service.decide(ask(time=5.0))
        assert caught.value.field == "time"
        service.decide(ask())
    with LocalService(home.folder, "production", client_times=True) as service:
        service.decide(ask(time="2026-01-01T00:00:00Z"))
        service.reward(RewardRequest(decision_id="d", value=1, time=9.0))
        service.activate(ActivateRequest(decision_id="d", time=10.0))
        with pytest.raises(DataError):
            service.decide(ask(time="yesterday"))
    assert [msgspec.json.decode(body)["time"] for body in events(home)] == [42.0, "2026-01-01T00:00:00Z"]
    assert msgspec.json.decode(events(home, "outcome")[0])["time"] == 9.0
    assert msgspec.json.decode(events(home, "activation")[0]) == {"decision_id": "d", "time": 10.0}


def test_coroutines_are_answered_in_one_loop(home):
    """500 at once: all durable, all right, in far fewer commits."""

    async def all_at_once(desk: Desk) -> list:
        wrong = asyncio.ensure_future(desk.decide_soon([ask(context={})]))
        found = await asyncio.gather(*(desk.decide_soon([ask(decision_id=f"d-{i}")]) for i in range(500)))
        await desk.reward_soon([RewardRequest(decision_id="d-1", value=1.0)])
        await desk.activate_soon([ActivateRequest(decision_id="d-1")])
        with pytest.raises(DataError):
            await wrong
        return [replies[0].decision_id for replies in found]

    desk = Desk(home.folder, "production", deadline=1.0)
    assert asyncio.run(all_at_once(desk)) == [f"d-{i}" for i in range(500)]
    assert desk.figures()["decisions"] == 500 and desk.figures()["log_commits"] < 250
    desk.close()
    assert len(events(home)) == 500


def test_a_closed_desk_says_so_and_loses_nothing(home):
    """What was taken in before is answered; what comes after is refused."""
    desk = Desk(home.folder, "production", deadline=1.0)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(desk.decide, [ask(decision_id=f"d-{i}")]) for i in range(200)]
        time.sleep(0.01)
        started = time.monotonic()
        desk.close()
        assert time.monotonic() - started < 10
        answered = [one.result()[0].decision_id for one in asked if one.exception() is None]
        assert all(isinstance(one.exception(), LogDown) for one in asked if one.exception() is not None)
    assert not desk.ready() and {msgspec.json.decode(body)["decision_id"] for body in events(home)} == set(answered)
    desk.close()


@pytest.mark.parametrize("deadline", [None, 1.0])
def test_a_record_nobody_can_read_keeps_nobody_waiting(home, deadline):
    """Only whoever asks for it again hears of it."""
    log = open_event_log(home.log("production"))
    log.append([Record("decision", "d-1", b"{}")])
    log.close()
    with LocalService(home.folder, "production", deadline=deadline) as service, ThreadPoolExecutor(2) as pool:
        damaged, fine = (pool.submit(service.decide, ask(decision_id=id)) for id in ("d-1", "d-2"))
        assert fine.result(5).action == "b"
        assert isinstance(damaged.exception(5), StoreError)


def test_a_text_that_cannot_be_written_down_stops_nobody_else(home):
    """Half a surrogate pair passes in this process; whoever decides goes on."""
    with LocalService(home.folder, "production", deadline=1.0) as service, ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(service.decide, ask(unit_id="\ud800")).exception(5), UnicodeEncodeError)
        assert pool.submit(service.decide, ask()).result(5).action == "b"
    assert len(events(home)) == 1


def test_who_comes_while_it_closes_is_told_so(home, monkeypatch):
    """Between the question whether it is open and the queue's end there is no room to be forgotten in."""

    class Closing(SimpleQueue):
        def qsize(self):
            desk._decider.close()
            return super().qsize()

    monkeypatch.setattr("understudy.serve.decider.SimpleQueue", Closing)
    desk = Desk(home.folder, "production", deadline=1.0)
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(desk.decide, [ask()]).exception(5), LogDown)
    desk.close()


# A policy must not make anybody late


class Slow(Discrete):
    """Answers b, after a while, while ``slow`` is set; ``loops`` burns the processor instead of sleeping."""

    def __init__(self, pause: float, loops: bool = False) -> None:
        self.pause, self.loops, self.slow, self.asked, self.ended = pause, loops, True, 0, 0

    def probs(self, context, allowed=None):
        self.asked += 1
        until = time.monotonic() + self.pause
        while self.slow and time.monotonic() < until:
            if not self.loops:
                time.sleep(until - time.monotonic())
        self.ended += 1
        return np.array([[0.0, 1.0, 0.0]])


@pytest.mark.parametrize("loops", [False, True])
def test_a_policy_that_hangs_makes_nobody_late(home, loops):
    """A minute asleep, or in a loop: it is asked once, and 300 are answered by the baseline while it still hangs."""
    slow = Slow(60.0, loops)
    desk = Desk(home.folder, "production", poll=0)
    desk.deployment = acting(desk, Actor("slow", slow))
    with ThreadPoolExecutor(8) as pool:

        def one(i: int) -> None:
            (reply,) = desk.decide([ask(baseline="c", decision_id=f"d-{i}")])
            assert slow.ended == 0  # the order of events, which a busy machine cannot change
            assert (reply.action, reply.propensity, reply.policy_id) == ("c", 1.0, "baseline")
            assert reply.fallback in ("slow", "resting")

        list(pool.map(one, range(300)))
    status = desk.status()
    assert slow.asked == 1 and status["abandoned"] == 1
    assert status["fallbacks"]["slow"] >= 1 and status["fallbacks"]["resting"] > 200
    slow.slow = False
    desk.close()
    assert len(events(home)) == 300


def test_giving_a_policy_up_leaves_half_of_50_ms_to_the_commit_and_to_a_busy_machine(home):
    """The quickest of ten: what each costs on top is the machine's, whatever else it does."""
    desk, took = Desk(home.folder, "production", poll=0), []
    for _ in range(10):
        desk.engine.renew()
        slow = Slow(60.0)
        desk.deployment = acting(desk, Actor("slow", slow))
        started = time.monotonic()
        assert desk.decide([ask()])[0].fallback == "slow"
        took.append(time.monotonic() - started)
        assert slow.ended == 0
    assert min(took) < 0.03, took
    desk.close()


def acting(desk: Desk, actor: Actor):
    from dataclasses import replace

    return replace(desk.deployment, incumbent=actor)


def test_after_its_rest_a_policy_that_is_well_again_acts(home):
    """The breaker tries once the stuck thread has ended and the rest is over; a swap starts afresh at once."""
    slow = Slow(0.4)
    desk = Desk(home.folder, "production", poll=0)
    desk.engine._rest = 0.2
    desk.engine.renew()
    desk.deployment = acting(desk, Actor("slow", slow))
    assert desk.decide([ask()])[0].fallback == "slow"
    assert desk.decide([ask()])[0].fallback == "resting"
    slow.slow = False
    until = time.monotonic() + 5
    while (reply := desk.decide([ask()])[0]).fallback and time.monotonic() < until:
        time.sleep(0.02)
    assert (reply.policy_id, reply.action) == ("slow", "b")
    desk.close()


def test_who_comes_after_a_policy_that_hangs_does_not_pay_for_it(home):
    """Swapped while the other one is being waited for: the fault is the other one's, and the new one acts."""
    slow = Slow(3.0)
    desk = Desk(home.folder, "production", poll=0, deadline=0.5)
    good = desk.deployment
    desk.deployment = acting(desk, Actor("slow", slow))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(desk.decide, [ask()])
        while not slow.asked:
            time.sleep(0.001)
        desk.engine.renew()
        desk.deployment = good
        assert waiting.result()[0].fallback == "slow"
    assert desk.decide([ask()])[0].policy_id == "bee"
    desk.close()


def test_a_slow_policy_loses_only_those_who_would_be_late(home):
    """30 ms each: the first of a batch is answered by the policy, those behind it by the baseline in time."""
    desk = Desk(home.folder, "production", poll=0, deadline=0.08)
    desk.deployment = acting(desk, Actor("slow", Slow(0.03)))
    with ThreadPoolExecutor(12) as pool:
        replies = [reply for found in pool.map(lambda _: desk.decide([ask()]), range(48)) for reply in found]
    reasons = {reply.fallback for reply in replies}
    assert None in reasons and reasons & {"slow", "resting"}
    desk.close()


# Hot swaps


def test_hot_swaps_under_load_lose_nothing_and_every_row_replays(home):
    """Forty swaps while four threads ask: no request fails, each row is what its own policy says of it, bit for bit."""
    desk, stop, failed = Desk(home.folder, "production", poll=0, deadline=1.0), threading.Event(), []

    def load(worker: int) -> int:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                (reply,) = desk.decide([ask(context={"x": float(n), "y": 1}, decision_id=f"w{worker}-{n}")])
                assert reply.fallback is None
            except BaseException as error:
                failed.append(error)
        return n

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load, worker) for worker in range(4)]
        for i in range(40):
            if i % 2:
                direct(home, mode="canary", candidate="even", share=round(0.01 * (i + 1), 2))
            else:
                home.ledger.override("production", ("cee", "bee")[i // 2 % 2], time=i, reason="test")
            assert desk.swap_now()
            time.sleep(0.005)
        stop.set()
        asked = sum(one.result() for one in running)
    assert failed == [] and desk.status()["counts"]["swaps"] == 40
    desk.close()
    rows, seen, get = events(home), set(), policy_of(home.folder)
    assert len(rows) == asked
    for body in rows:
        logged = msgspec.json.decode(body, type=Logged)
        seen.add(logged.policy_id)
        assert msgspec.json.encode(replay(logged, get, PROBLEM)) == body
    assert len(seen) > 5


# In a process of its own

_WORK = """
import sys
from understudy.core.service import DecideRequest
from understudy.serve.local import LocalService
service = LocalService(sys.argv[1], "production", deadline=1.0)
while True:
    reply = service.decide(DecideRequest(context={"x": 1.0, "y": 2.0}))
    heavy = {"jax", "sklearn", "pandas", "matplotlib", "duckdb"}.intersection(sys.modules)
    print(reply.decision_id, *heavy, flush=True)
"""


def test_killed_at_work_it_loses_nothing_that_was_answered_and_had_loaded_nothing_heavy(home):
    """SIGKILL between two lines: every id that was printed stands in the log, and the next service goes on at once."""
    with subprocess.Popen(
        [sys.executable, "-c", _WORK, str(home.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(100)]
        process.kill()
        lines += [line.split() for line in process.stdout if line.endswith("\n")]
    assert all(len(line) == 1 for line in lines), lines[-1]
    with LocalService(home.folder, "production") as service:
        service.decide(ask(decision_id="after"))
    written = [msgspec.json.decode(body)["decision_id"] for body in events(home)]
    assert {line[0] for line in lines} <= set(written) and written[-1] == "after"
    assert len(set(written)) == len(written)
