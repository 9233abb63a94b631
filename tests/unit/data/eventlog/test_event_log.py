"""What every event log promises, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import multiprocessing as mp
import time

import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.data.eventlog import EventLog, Record, open_event_log


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "log") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def decision(key: str, body: bytes = b"{}") -> Record:
    return Record("decision", key, body)


def everything(log: EventLog, limit: int = 7) -> list:
    entries, mark = [], {}
    while True:
        some, mark = log.read(mark, limit)
        if not some:
            return entries
        entries += some


def test_what_was_stored_first_stays(place):
    """A repeated event comes back as it was first written, also within one batch; kinds have keys of their own."""
    log = open_event_log(place)
    assert isinstance(log, EventLog)
    assert log.append([]) == []
    assert log.append([decision("a", b"1"), decision("b", b"2"), decision("a", b"3")]) == [None, None, b"1"]
    assert log.append([decision("b", b"4"), Record("outcome", "b", b"5")]) == [b"2", None]
    assert log.append([decision("c", b"\x00\xff"), decision("a"), decision("c")]) == [None, b"1", b"\x00\xff"]
    assert [log.find("decision", key) for key in "abcd"] == [b"1", b"2", b"\x00\xff", None]
    assert log.find("outcome", "b") == b"5"
    assert log.find("activation", "b") is None
    assert [(e.kind, e.key, e.body) for e in everything(log, 2)] == [
        ("decision", "a", b"1"), ("decision", "b", b"2"), ("outcome", "b", b"5"), ("decision", "c", b"\x00\xff"),
    ]  # fmt: skip
    log.close()


def test_a_log_is_there_when_it_is_opened_again(place):
    """Events outlive their writer; numbers go on; a reader writes nothing."""
    first = open_event_log(place)
    first.append([decision("a", b"1")])
    first.close()
    again = open_event_log(place)
    assert again.append([decision("a", b"2"), decision("b")]) == [b"1", None]
    seqs = [entry.seq for entry in everything(again)]
    assert seqs == sorted(set(seqs)) and len(seqs) == 2
    assert again.counts()["torn_bytes"] == 0
    reader = open_event_log(place, worker=None)
    assert reader.find("decision", "b") == b"{}"
    with pytest.raises(StoreError, match="reading only"):
        reader.append([decision("c")])
    again.close()
    reader.close()


def test_workers_see_what_the_others_stored(place):
    """A repeated id that reaches another worker gets the first answer, also from one that came later."""
    one = open_event_log(place, worker=0)
    one.append([decision("a", b"1")])
    assert one.find("decision", "z") is None
    two = open_event_log(place, worker=3)
    assert two.find("decision", "a") == b"1"
    assert two.append([decision("a", b"2"), decision("z", b"3"), decision("z", b"4")]) == [b"1", None, b"3"]
    assert one.find("decision", "z") == b"3"
    assert one.append([decision("y"), decision("z"), decision("x")]) == [None, b"3", None]
    entries = everything(two)
    assert sorted((e.key, e.worker) for e in entries) == [("a", 0), ("x", 0), ("y", 0), ("z", 3)]
    one.close()
    two.close()


def test_a_watermark_is_json_and_reads_on_from_there(place):
    """Whatever the limit, nothing is read twice and nothing is left out; an idle read gives the same mark."""
    log = open_event_log(place)
    log.append([decision(f"d{i}") for i in range(25)])
    some, mark = log.read({}, 10)
    mark = json.loads(json.dumps(mark))
    rest, end = log.read(mark)
    assert [entry.key for entry in some + rest] == [f"d{i}" for i in range(25)]
    assert log.read(end) == ([], end)
    log.append([Record("activation", "d3", b"{}")])
    assert [(entry.kind, entry.key) for entry in log.read(end)[0]] == [("activation", "d3")]
    log.close()


def test_reading_nothing_new_costs_less_than_a_millisecond(place):
    """A loop may watch the log as often as it likes."""
    log = open_event_log(place)
    log.append([decision(f"d{i}", b"x" * 500) for i in range(5_000)])
    mark = {}
    while log.read(mark)[0]:
        mark = log.read(mark)[1]
    took = []
    for _ in range(100):
        start = time.perf_counter()
        log.read(mark)
        took.append(time.perf_counter() - start)
    assert min(took) < 1e-3  # the least of a hundred: what it costs on a machine that does other things too
    log.close()


def test_keys_are_looked_up_by_the_index(place):
    """A thousand keys among twenty thousand take milliseconds; walking the table for each takes over a second."""
    log = open_event_log(place)
    log.append([decision(f"d{i}", b"x" * 300) for i in range(20_000)])
    took, found = [], []
    for _ in range(5):
        start = time.perf_counter()
        found = log.copies("decision", [f"d{i}" for i in range(19_500, 20_500)])
        took.append(time.perf_counter() - start)
    assert min(took) < 0.3
    assert sorted(entry.key for entry in found) == sorted(f"d{i}" for i in range(19_500, 20_000))
    log.close()


def _write(place: str, worker: int, batches: int) -> None:
    log = open_event_log(place, worker)
    for i in range(batches):
        log.append([decision(f"w{worker}-{i}-{j}") for j in range(5)] + [decision(f"shared-{i}", b"%d" % worker)])
    log.close()


def test_a_reader_skips_nothing_while_four_write(place):
    """Followed by watermark while four processes commit, the log gives every event once, each writer's in order."""
    reader = open_event_log(place, worker=9)
    context = mp.get_context("spawn")
    writers = [context.Process(target=_write, args=(place, worker, 40)) for worker in range(4)]
    for writer in writers:
        writer.start()
    entries, mark, going = [], {}, True
    while going:
        going = any(writer.is_alive() for writer in writers)  # asked before the last read
        some, mark = reader.read(mark, 50)
        while some:
            entries += some
            some, mark = reader.read(mark, 50)
    assert [writer.exitcode for writer in writers] == [0] * 4
    own = [entry.key for entry in entries if not entry.key.startswith("shared")]
    assert sorted(own) == sorted(f"w{w}-{i}-{j}" for w in range(4) for i in range(40) for j in range(5))
    for worker in range(4):
        mine = [key for key in own if key.startswith(f"w{worker}-")]
        assert mine == [f"w{worker}-{i}-{j}" for i in range(40) for j in range(5)]
    assert {e.key for e in entries if e.key.startswith("shared")} == {f"shared-{i}" for i in range(40)}
    reader.close()


def test_one_file_has_one_writer(tmp_path):
    """A second process (here: a second log) that would write as the same worker is refused until the first closes."""
    first = open_event_log(tmp_path)
    with pytest.raises(StoreError, match="another process writes"):
        open_event_log(tmp_path)
    first.close()
    open_event_log(tmp_path).close()


def test_a_place_that_is_no_log_is_refused(tmp_path):
    """No folder to read, a file that is no database, a URL nobody understands."""
    with pytest.raises(StoreError, match="no event log"):
        open_event_log(tmp_path / "nowhere", worker=None)
    (tmp_path / "worker-0.db").write_text("certainly no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_event_log(tmp_path)
    for url in ("nonsense://x", "sqlite:///x.db"):
        with pytest.raises(ConfigError):
            open_event_log(url)
