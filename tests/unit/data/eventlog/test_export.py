"""What the service wrote down becomes segments of a log: each event once, whatever the cuts, on both databases."""

from __future__ import annotations

import msgspec
import pyarrow.parquet as parquet
import pytest

from understudy.core.events import Outcome
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.service import Logged, Shadow
from understudy.data.artifact import verify_artifact
from understudy.data.eventlog import Record, open_event_log
from understudy.data.eventlog.export import export, lag

PROBLEM = Problem(
    features=(Feature(name="f"),),
    actions=ActionSpace(names=("a", "b")),
    outcomes=(OutcomeSpec(name="reward", default=0.0),),
    reward="reward",
    reward_range=(0.0, 1.0),
)
T0 = 1_700_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "log") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def decision(key: str, at: float = 0.0, **changes) -> Record:
    made = Logged(
        decision_id=key, time=T0 + at, context={"f": at}, action="a", propensity=0.75, propensities=[0.75, 0.25],
        policy_id="p", application="shop", shadow=Shadow(policy_id="q", action="b", propensities=(0.5, 0.5)),
        **changes,
    )  # fmt: skip
    return Record("decision", key, msgspec.json.encode(made))


def outcome(key: str, at: float = 1.0, value: float = 1.0) -> Record:
    body = Outcome(decision_id=key, time=T0 + at, value=value)
    return Record("outcome", f"{key}/reward/{value}", msgspec.json.encode(body))


def activation(key: str, at: float = 2.0) -> Record:
    return Record("activation", key, msgspec.json.encode({"decision_id": key, "time": T0 + at}))


def decisions(log) -> list[str]:
    return parquet.read_table(log.folder / "decisions.parquet")["decision_id"].to_pylist()


def outcomes(log) -> list[str]:
    return parquet.read_table(log.folder / "outcomes.parquet")["decision_id"].to_pylist()


def test_a_segment_is_a_log_like_any_other(place, tmp_path):
    """Validated, in order, without the service's own fields; counts reconcile and the watermarks are in it."""
    log = open_event_log(place)
    log.append([decision("d2", 2.0), decision("d1", 1.0), outcome("d1"), activation("d1")])
    made = export(place, problem=PROBLEM, to=tmp_path / "s")
    verify_artifact(made.folder)
    assert decisions(made) == ["d1", "d2"] and outcomes(made) == ["d1"]
    counts = made.counts
    assert counts["rows"] == counts["decisions"] + counts["duplicates"] + counts["outcome_rows"] + counts["quarantined"]
    assert (counts["rows"], counts["quarantined"]) == (3, 0)
    assert [counts[f"events.{kind}"] for kind in ("decision", "outcome", "activation")] == [2, 1, 1]
    config = made.manifest.config
    assert config["from"] == {} and lag(log, config["to"]) == 0 and lag(log, {}) == 4
    row = parquet.read_table(made.folder / "decisions.parquet").to_pylist()[0]
    assert row["propensities"] == [0.75, 0.25] and row["policy_id"] == "p" and row["time"] == (T0 + 1) * 1_000_000
    log.close()


def test_what_was_exported_is_not_exported_again(place, tmp_path):
    """Each segment goes on where the last one ended; one without decisions and one without anything are fine."""
    log = open_event_log(place)
    log.append([decision("d1")])
    one = export(log, problem=PROBLEM, to=tmp_path / "1")
    log.append([outcome("d1")])
    two = export(log, problem=PROBLEM, to=tmp_path / "2", after=one.manifest.config["to"])
    three = export(log, problem=PROBLEM, to=tmp_path / "3", after=two.manifest.config["to"])
    assert [(decisions(s), outcomes(s)) for s in (one, two, three)] == [(["d1"], []), ([], ["d1"]), ([], [])]
    assert two.manifest.config["from"] == one.manifest.config["to"]
    assert three.manifest.config["from"] == three.manifest.config["to"]
    log.close()


def test_the_same_export_twice_has_one_id(place, tmp_path):
    """Same watermark, same events: the same artifact, made again or found finished."""
    log = open_event_log(place)
    log.append([decision(f"d{i}", i) for i in range(50)] + [outcome(f"d{i}", i + 1) for i in range(50)])
    ids = [export(log, problem=PROBLEM, to=tmp_path / name).manifest.id for name in ("1", "1", "2")]
    assert len(set(ids)) == 1
    log.close()


def test_a_deferred_decision_waits_for_its_activation(place, tmp_path):
    """Exported in the segment that sees the activation; never, if there is none."""
    log = open_event_log(place)
    log.append([decision("now", deferred=True), activation("now"), decision("later", deferred=True)])
    log.append([decision("never", deferred=True), decision("plain")])
    one = export(log, problem=PROBLEM, to=tmp_path / "1")
    assert decisions(one) == ["now", "plain"]
    assert (one.counts["deferred"], one.counts["activated"]) == (2, 0)
    log.append([activation("later"), activation("plain"), activation("unknown"), outcome("later")])
    two = export(log, problem=PROBLEM, to=tmp_path / "2", after=one.manifest.config["to"])
    assert decisions(two) == ["later"] and outcomes(two) == ["later"]
    assert (two.counts["deferred"], two.counts["activated"]) == (0, 1)
    log.append([activation("later", 9.0), decision("unknown", deferred=True)])  # repeated, and before its decision
    three = export(log, problem=PROBLEM, to=tmp_path / "3", after=two.manifest.config["to"])
    assert decisions(three) == ["unknown"]
    log.close()


def copy_into(folder, worker: int, records) -> None:
    """Write as a worker that could not see the others at that moment."""
    alone = open_event_log(folder / f"alone-{worker}", worker)
    alone.append(records)
    alone.close()
    folder.joinpath("log").mkdir(exist_ok=True)
    (folder / f"alone-{worker}" / f"worker-{worker}.db").rename(folder / "log" / f"worker-{worker}.db")


def test_a_decision_that_two_workers_stored_appears_once(tmp_path):
    """In one segment the lowest worker's; across segments the one that was exported first."""
    copy_into(tmp_path, 1, [decision("twice", 1.0), outcome("twice")])
    copy_into(tmp_path, 2, [decision("twice", 2.0), decision("own"), decision("third", deferred=True)])
    one = export(tmp_path / "log", problem=PROBLEM, to=tmp_path / "1")
    assert decisions(one) == ["own", "twice"]
    assert one.counts["repeated"] == 1 and one.counts["duplicates"] == one.counts["quarantined"] == 0
    times = parquet.read_table(one.folder / "decisions.parquet")["time"].to_pylist()
    assert times == [T0 * 1_000_000, (T0 + 1) * 1_000_000]
    copy_into(tmp_path, 0, [decision("twice", 5.0), outcome("twice"), activation("third"), decision("new")])
    copy_into(tmp_path, 3, [activation("third"), outcome("twice")])
    two = export(tmp_path / "log", problem=PROBLEM, to=tmp_path / "2", after=one.manifest.config["to"])
    assert decisions(two) == ["new", "third"] and outcomes(two) == []
    assert two.counts["repeated"] == 4


def test_what_the_problem_does_not_allow_is_set_aside(place, tmp_path):
    """A body that is no JSON, or no decision of this problem, is in quarantine and not lost."""
    log = open_event_log(place)
    broken = [Record("decision", "x", b'{"decision_id": "x", "tim'), Record("decision", "y", b"{\n}")]
    log.append([decision("d"), *broken, outcome("d", value=7.0)])
    made = export(log, problem=PROBLEM, to=tmp_path / "s")
    assert decisions(made) == ["d"]
    assert made.counts["quarantined"] == 2 and made.counts["rows"] == 4
    log.close()


def test_exporting_costs_what_is_new(tmp_path):
    """Behind 20,000 old events, ten new ones are read alone."""
    log = open_event_log(tmp_path / "log")
    log.append([decision(f"d{i}", i) for i in range(20_000)])
    mark = log.end()
    log.append([decision(f"n{i}", i) for i in range(10)])
    asked = []
    read = log.read
    log.read = lambda after, limit=10_000: asked.append(read(after, limit)) or asked[-1]  # type: ignore[method-assign]
    made = export(log, problem=PROBLEM, to=tmp_path / "s", after=mark)
    assert made.counts["events.decision"] == sum(len(entries) for entries, _ in asked) == 10
    log.close()
