"""Many requests, one commit: shared, bounded, and honest about which of them failed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import pytest

from understudy.core.errors import DataError, StoreError
from understudy.data.eventlog import Busy, GroupCommit, LogDown, Record, open_event_log


@pytest.fixture
def log(tmp_path):
    made = open_event_log(tmp_path)
    yield made
    made.close()


class held:
    """Another process's transaction, as far as SQLite can tell: while it lasts nothing can be committed."""

    def __init__(self, folder) -> None:
        self._db = sqlite3.connect(folder / "worker-0.db", isolation_level=None, check_same_thread=False)

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_) -> None:
        self._db.execute("ROLLBACK")
        self._db.close()


def decision(key: str, body: bytes = b"{}") -> Record:
    return Record("decision", key, body)


def test_a_future_is_done_when_its_records_are_durable(log):
    """Answers go back to who asked, in its order; what is answered can be found."""
    group = GroupCommit(log)
    assert group.submit([decision("a", b"1"), decision("b", b"2")]).result(10) == [None, None]
    assert log.find("decision", "b") == b"2"
    assert group.submit([decision("c"), decision("a")]).result(10) == [None, b"1"]
    assert group.submit([]).result(10) == []
    group.close()


def test_a_request_that_denies_what_stands_writes_nothing_and_says_nothing_to_others(log, tmp_path):
    """In one commit: what was refused stands for nobody; what was accepted before it does."""

    def agree(record: Record, stands: bytes) -> None:
        if record.body != stands:
            raise DataError(record.key)

    group = GroupCommit(log)
    group.submit([decision("old", b"1")]).result(10)
    with held(tmp_path):
        asked = [[("x", b"1"), ("old", b"2")], [("x", b"2"), ("y", b"2")], [("old", b"1"), ("z", b"3")],
                 [("y", b"4"), ("w", b"4")], [("v", b"5"), ("v", b"6")], [("y", b"7")]]  # fmt: skip
        futures = [group.submit([decision(*one) for one in records], agree) for records in asked]
    found = [str(future.exception(10) or future.result()) for future in futures]
    assert found == ["old", "[None, None]", "[b'1', None]", "y", "v", "[b'2']"]
    assert [log.find("decision", name) for name in "xyzwv"] == [b"2", b"2", b"3", None, None]
    group.close()


def test_requests_that_wait_share_commits(log, tmp_path):
    """While one commit is held up, a hundred requests gather; copies among them get the first one's answer."""
    group = GroupCommit(log)
    with held(tmp_path):
        futures = [group.submit([decision(f"d{i}", b"%d" % i), decision("same", b"%d" % i)]) for i in range(100)]
        time.sleep(0.05)
        assert not any(future.done() for future in futures)
        assert group.counts()["waiting"] == 200
    answers = [future.result(10) for future in futures]
    assert answers == [[None, None]] + [[None, b"0"]] * 99
    counts = group.counts()
    assert counts["batches"] <= 3 and counts["largest"] >= 100 and counts["waiting"] == counts["failed"] == 0
    group.close()


def test_a_full_queue_refuses_and_recovers(log, tmp_path):
    """Beyond the bound a request is refused at once and written nowhere; what was taken is written."""
    group = GroupCommit(log, max_waiting=10)
    with held(tmp_path):
        taken = [group.submit([decision(f"d{i}")]) for i in range(10)]
        with pytest.raises(Busy) as caught:
            group.submit([decision("too many")])
        assert isinstance(caught.value, StoreError) and caught.value.kind == "busy"
    assert [future.result(10) for future in taken] == [[None]] * 10
    assert log.find("decision", "too many") is None
    assert group.submit([decision("later")]).result(10) == [None]
    group.close()


def test_a_request_larger_than_the_queue_is_taken_alone(log):
    """The bound limits waiting, not the size of one request."""
    group = GroupCommit(log, max_waiting=10)
    assert group.submit([decision(f"d{i}") for i in range(50)]).result(10) == [None] * 50
    group.close()


def test_a_failing_commit_fails_exactly_its_batch(tmp_path):
    """The requests of that batch hear of it, the next batch is written, and the thread lives on."""
    log = open_event_log(tmp_path)
    group = GroupCommit(log)
    assert group.submit([decision("before")]).result(10) == [None]
    doomed = [group.submit([decision("a"), Record("decision", "b", {})]), group.submit([decision("c")])]  # no bytes
    for future in doomed[:1]:
        with pytest.raises(StoreError):
            future.result(10)
    assert group.submit([decision("after")]).result(10) == [None]
    assert log.find("decision", "a") is None
    assert group.counts()["failed"] == 1
    group.close()
    log.close()


def test_closing_writes_what_waits(log, tmp_path):
    """Nothing that was taken is forgotten; nothing is taken afterwards."""
    group = GroupCommit(log)
    with held(tmp_path):
        futures = [group.submit([decision(f"d{i}")]) for i in range(20)]
        closer = threading.Thread(target=group.close)
        closer.start()
    closer.join(10)
    assert [future.result(0) for future in futures] == [[None]] * 20
    with pytest.raises(LogDown, match="closing"):
        group.submit([decision("late")])
    group.close()


def test_a_loop_is_woken_once_per_commit(log, tmp_path):
    """Two hundred coroutines that share a commit cost their loop one call from the writer's thread."""
    group = GroupCommit(log)

    async def run() -> tuple[list, int]:
        loop, calls = asyncio.get_running_loop(), 0
        plain = loop.call_soon_threadsafe

        def counted(*arguments):
            nonlocal calls
            calls += 1
            return plain(*arguments)

        loop.call_soon_threadsafe = counted
        with held(tmp_path):
            futures = [group.write([decision(f"d{i}")]) for i in range(200)]
            futures[7].cancel()
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        return answers, calls

    answers, calls = asyncio.run(run())
    assert answers.count([None]) == 199 and isinstance(answers[7], asyncio.CancelledError)
    assert calls == group.counts()["batches"] <= 3
    group.close()


def test_what_one_pass_of_a_loop_brings_is_one_commit(log):
    group = GroupCommit(log)

    async def ask() -> list:
        return await asyncio.gather(*(group.write([decision(f"k-{i}")]) for i in range(50)))

    assert asyncio.run(ask()) == [[None]] * 50
    assert group.counts() == {"waiting": 0, "batches": 1, "largest": 50, "failed": 0}
    group.close()


def test_what_a_pass_has_gathered_is_written_although_the_group_closes(log):
    group = GroupCommit(log)

    async def ask() -> list:
        waiting = [group.write([decision(f"k-{i}")]) for i in range(3)]
        await asyncio.to_thread(group.close)
        with pytest.raises(LogDown):
            group.write([decision("late")])
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == [[None]] * 3
    assert log.counts()["events"] == 3
