"""However a stream of events is cut and in whatever order it came, the dataset is the same to the byte."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import seed as reproducible
from hypothesis import strategies as st

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.eventlog import Record, open_event_log
from understudy.data.eventlog.export import export
from understudy.data.ingest import ingest
from understudy.data.join import join

WINDOW, BACKWARD, AS_OF = 10, 2, 1_700_000_000
AGGREGATES = ("first", "last", "sum", "mean", "min", "max")
FATES = ("joined", "late", "early", "orphans", "waiting")

decisions = st.lists(
    st.tuples(
        st.integers(0, 3),  # decision; repeated ones contradict each other unless all else is the same
        st.integers(0, 6),  # seconds
        st.sampled_from("ab"),
        st.integers(1, 2),  # copies
    ),
    min_size=1,
    max_size=7,
)
outcomes = st.lists(
    st.tuples(
        st.integers(0, 4),  # decision; some were never logged
        st.integers(-3, 16),  # seconds
        st.sampled_from([0.1, 0.2, 0.3, 1.0, -1.0, 1e9]),
        st.sampled_from(["x", "y"]),
        st.sampled_from([None, "k1"]),
        st.integers(1, 3),  # copies
    ),
    min_size=3,
    max_size=12,
)
STREAMS = {
    "made": decisions,
    "measured": outcomes,
    "aggregate": st.sampled_from(AGGREGATES),
    "order": st.integers(0, 2**32),
    "cuts": st.lists(st.integers(0, 40), min_size=1, max_size=3),
    "as_of": st.integers(8, 30),
}


def problem(aggregate: str) -> Problem:
    return Problem(
        features=(Feature(name="f"),),
        actions=ActionSpace(names=("a", "b")),
        outcomes=(OutcomeSpec(name="x", aggregate=aggregate), OutcomeSpec(name="y", aggregate="sum", default=0.5)),
        reward="x - y",
        reward_range=(-1e12, 1e12),
    )


def arrivals(number: int, stream: dict) -> list[dict]:
    """The events of one stream as they came; streams are told apart by their ids and share one ``as_of``."""
    rows, start = [], AS_OF - stream["as_of"]
    for d, at, action, copies in stream["made"]:
        row = {"decision_id": f"{number}-{d}", "time": start + at, "context": {"f": d}, "action": action}
        rows += [row | {"propensity": 0.5}] * copies
    for d, at, value, name, key, copies in stream["measured"]:
        row = {"decision_id": f"{number}-{d}", "time": start + at, "name": name, "value": value}
        rows += [row | {"outcome_id": key}] * copies
    random.Random(stream["order"]).shuffle(rows)
    return rows


def pieces(rows: list, cuts: list[int]) -> list[list]:
    ends = [*sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [rows[first:last] for first, last in zip([0, *ends], ends)]


def same(streams: list[dict], aggregate: str) -> bool:
    """Cut into segments by export as the events arrive, and ingested in one piece: the same steps, the same fates."""
    rules, how = problem(aggregate), {"window": WINDOW, "backward": BACKWARD, "as_of": AS_OF}
    rows = [arrivals(number, stream) for number, stream in enumerate(streams)]
    cut = [pieces(mine, stream["cuts"]) for mine, stream in zip(rows, streams)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "events.jsonl").write_text("\n".join(json.dumps(row) for mine in rows for row in mine))
        whole = ingest(root / "events.jsonl", problem=rules, to=root / "whole")
        log, segments, mark = open_event_log(root / "log"), [], {}
        for i in range(max(map(len, cut))):
            batch = [row for mine in cut if i < len(mine) for row in mine[i]]
            # Each arrival has a key of its own, so that copies get through to the join.
            kinds: list = ["decision" if "action" in row else "outcome" for row in batch]
            bodies = [json.dumps(row).encode() for row in batch]
            log.append([Record(kind, f"{i}/{j}", body) for j, (kind, body) in enumerate(zip(kinds, bodies))])
            segments.append(export(log, problem=rules, to=root / f"segment-{i}", after=mark))
            mark = segments[-1].manifest.config["to"]
        log.close()
        assert sum(segment.counts["rows"] for segment in segments) == sum(map(len, rows)) == whole.counts["rows"]
        found = [outcome_of(whole, how, root / "a"), outcome_of(segments, how, root / "b")]
        if not any(map(tied, streams)):
            found.append(outcome_of(segments[::-1], how, root / "c"))
        return all(one == found[0] for one in found)


def check(streams: list[dict]) -> None:
    """All streams of one kind in one log, for speed; if that differs, the first stream that does so alone."""
    for aggregate in AGGREGATES:
        for tie in (False, True):
            mine = [stream for stream in streams if stream["aggregate"] == aggregate and tied(stream) == tie]
            if mine and not same(mine, aggregate):
                alone = (stream for stream in mine if not same([stream], aggregate))
                raise AssertionError(f"differs: {next(alone, 'only together')}")


def collected(n: int, *, seed: int) -> list[dict]:
    """n examples as Hypothesis draws them."""
    found: list[dict] = []

    @reproducible(seed)
    @settings(max_examples=n, database=None, deadline=None, phases=[Phase.generate])
    @given(**STREAMS)
    def collect(**stream):
        found.append(stream)

    collect()
    return found


def outcome_of(logs, how: dict, to: Path) -> tuple:
    """The dataset's bytes and the fate of every event; or that there is none."""
    try:
        data = join(logs, to=to, **how)
    except DataError as error:
        return ("none", error.what)
    counts = data.counts
    assert counts["decisions"] == counts["steps"] + counts["pending"] + counts["quarantined"]
    assert counts["outcomes"] == sum(counts[fate] for fate in FATES) + counts["duplicates"]
    digest = hashlib.sha256((data.folder / "steps.parquet").read_bytes()).hexdigest()
    kept = ("decisions", "steps", "pending", "quarantined", "episodes", "defaulted", *FATES)
    return digest, {name: counts[name] for name in kept}


def tied(stream: dict) -> bool:
    """Of contradicting decisions at one instant the first to arrive stays: only then the order of segments matters."""
    said: dict = {}
    return any(said.setdefault((d, at), action) != action for d, at, action, _ in stream["made"])


def test_any_cut_in_any_order_gives_the_same_dataset():
    """The join over segments equals the join over the whole, late, repeated, orphaned and contradicting events and all.

    300 examples here; 20,000 by benchmarks/joins.py.
    """
    check(collected(300, seed=1))
