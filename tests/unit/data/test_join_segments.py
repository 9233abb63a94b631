"""Several segments join like one log, and consecutive datasets share no decision."""

from __future__ import annotations

import msgspec
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.events import Decision, Outcome
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.eventlog import Record, open_event_log
from understudy.data.eventlog.export import export
from understudy.data.ingest import ingest
from understudy.data.join import join

PROBLEM = Problem(
    features=(Feature(name="f"),),
    actions=ActionSpace(names=("a", "b")),
    outcomes=(OutcomeSpec(name="reward", default=0.0),),
    reward="reward",
    reward_range=(0.0, 1.0),
)
WINDOW = 10


def decision(i: int) -> Record:
    made = Decision(decision_id=f"d{i}", time=i, context={"f": i}, action="a", propensity=0.5)
    return Record("decision", f"d{i}", msgspec.json.encode(made))


def outcome(i: int, after: float, value: float = 1.0, key: str | None = None) -> Record:
    made = Outcome(decision_id=f"d{i}", time=i + after, value=value, outcome_id=key)
    return Record("outcome", f"d{i}/{after}/{value}", msgspec.json.encode(made))


def segmented(folder, *parts: list[Record]) -> list:
    log, segments, mark = open_event_log(folder / "log"), [], {}
    for i, part in enumerate(parts):
        log.append(part)
        segments.append(export(log, problem=PROBLEM, to=folder / f"s{i}", after=mark))
        mark = segments[-1].manifest.config["to"]
    log.close()
    return segments


def test_an_outcome_in_a_later_segment_finds_its_decision(tmp_path):
    """Also where a segment holds outcomes only; every event has one fate, and the lineage names every segment."""
    segments = segmented(
        tmp_path,
        [decision(i) for i in range(4)],
        [outcome(0, 3), outcome(1, 12), outcome(7, 1)],
        [decision(20), outcome(2, 1)],
    )
    data = join(segments, window=WINDOW, as_of=15, to=tmp_path / "data")
    assert data.load().steps.reward.tolist() == [1.0, 0.0, 1.0, 0.0]
    counts = data.counts
    assert (counts["joined"], counts["late"], counts["orphans"], counts["waiting"]) == (2, 1, 1, 0)
    assert (counts["decisions"], counts["steps"], counts["pending"], counts["outcomes"]) == (5, 4, 1, 4)
    assert counts["repeated"] == counts["disputed"] == counts["duplicates"] == 0
    assert [parent.id for parent in data.manifest.parents] == [segment.manifest.id for segment in segments]
    assert sorted(path.name for path in data.folder.iterdir()) == sorted([*data.manifest.files, "manifest.json"])


def test_what_two_segments_both_hold_counts_once(tmp_path):
    """A decision in both is one step; an outcome with two values keeps the earlier; both are counted as left out."""
    one = segmented(tmp_path / "1", [decision(0), decision(1), outcome(0, 4, 0.5, key="k")])
    two = segmented(tmp_path / "2", [decision(1), outcome(0, 2, 1.0, key="k"), outcome(1, 1)])
    data = join(one + two, window=WINDOW, as_of=20, to=tmp_path / "data")
    assert data.load().steps.reward.tolist() == [1.0, 1.0]
    assert (data.counts["repeated"], data.counts["disputed"], data.counts["joined"]) == (1, 1, 2)


def test_consecutive_datasets_share_no_decision(tmp_path):
    """``after`` = the last ``as_of``: each decision is in exactly one dataset, with the rewards it always has."""
    segments = segmented(
        tmp_path, [decision(i) for i in range(30)], [outcome(i, 2 + i % 7) for i in range(0, 30, 2)] + [outcome(1, 40)]
    )
    whole = join(segments, window=WINDOW, as_of=100, to=tmp_path / "whole")
    ids, rewards, before = [], [], None
    for i, until in enumerate((15, 16, 33, 100)):
        data = join(segments, window=WINDOW, as_of=until, after=before, to=tmp_path / f"data-{i}")
        counts = data.counts | ({"past": 0, "outcomes_past": 0} if before is None else {})
        assert counts["decisions"] == counts["steps"] + counts["pending"] + counts["past"] == 30
        assert counts["outcomes"] == sum(
            counts[name] for name in ("joined", "late", "orphans", "waiting", "duplicates", "outcomes_past")
        )
        ids += data.load().steps.time.tolist()
        rewards += data.load().steps.reward.tolist()
        before = until
    assert ids == whole.load().steps.time.tolist() and len(ids) == 30
    assert rewards == whole.load().steps.reward.tolist()
    with pytest.raises(DataError, match="closed after"):
        join(segments, window=WINDOW, as_of=100, after=100)


def test_one_segment_is_the_log_itself(tmp_path):
    """A list of one log gives the same dataset, by id, as the log."""
    (segment,) = segmented(tmp_path, [decision(i) for i in range(5)])
    ids = [join(logs, window=WINDOW, as_of=50).manifest.id for logs in (segment, [segment], segment.folder)]
    assert len(set(ids)) == 1


def test_segments_that_do_not_fit_are_refused(tmp_path):
    """Another problem, no segment at all, and segments without any decision."""
    segments = segmented(tmp_path, [outcome(0, 1)], [decision(0)])
    events = tmp_path / "events.jsonl"
    events.write_bytes(decision(0).body)
    other = ingest(events, problem=msgspec.structs.replace(PROBLEM, reward_range=(0.0, 2.0)), to=tmp_path / "other")
    with pytest.raises(ConfigError, match="another problem"):
        join([*segments, other], window=WINDOW)
    with pytest.raises(ConfigError, match="no log"):
        join([], window=WINDOW)
    with pytest.raises(DataError, match="none of 1 segments"):
        join(segments[:1], window=WINDOW)
