"""Any order, duplication or delay of events gives the same dataset, and every event is accounted for."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.ingest import ingest
from understudy.data.join import join

WINDOW, BACKWARD, T0 = 10, 2, 1_700_000_000
AGGREGATES = ("first", "last", "sum", "mean", "min", "max")

outcome = st.tuples(
    st.integers(0, 6),  # decision; 6 was never logged
    st.integers(-3, 14),  # seconds after its decision
    st.sampled_from([0.1, 0.2, 0.3, 1.0, -1.0, 1e-3, 1e9]),
    st.sampled_from(["x", "y"]),
    st.sampled_from([None, "k1", "k2"]),
    st.integers(1, 3),  # copies
)


def problem(aggregate: str) -> Problem:
    return Problem(
        features=(Feature(name="f"),),
        actions=ActionSpace(names=("a", "b")),
        outcomes=(OutcomeSpec(name="x", aggregate=aggregate), OutcomeSpec(name="y", aggregate="sum", default=0.5)),
        reward="x - y",
        reward_range=(-1e12, 1e12),
    )


def lines(n: int, outcomes: list) -> list[dict]:
    rows = [
        {"decision_id": f"d{i}", "time": T0 + i, "context": {"f": i}, "action": "ab"[i % 2], "propensity": 0.5}
        for i in range(n)
    ]
    for d, after, value, name, key, copies in outcomes:
        row = {"decision_id": f"d{d}", "time": T0 + d + after, "name": name, "value": value, "outcome_id": key}
        rows += [row] * copies
    return rows


def model(n: int, outcomes: list, aggregate: str, as_of: int) -> tuple[dict[str, float], dict[str, int]]:
    """The join in forty plain lines: rewards by decision, and the fate of every event."""
    fates = dict.fromkeys(("joined", "late", "early", "orphans", "waiting"), 0)
    by_id: dict = {}
    for d, after, value, name, key, _ in outcomes:
        identity = (d, name, key) if key else (d, name, after, value)
        by_id.setdefault(identity, []).append((after, value))
    events: dict = {}
    for (d, name, *_), copies in by_id.items():
        after, value = min(copies)  # a contradiction keeps the earliest value
        after = min(a for a, v in copies if v == value)
        if d >= n:
            fates["orphans"] += 1
        elif after >= WINDOW:
            fates["late"] += 1
        elif after <= -BACKWARD:
            fates["early"] += 1
        elif T0 + d + WINDOW > as_of:
            fates["waiting"] += 1
        else:
            fates["joined"] += 1
            events.setdefault((d, name), []).append((after, value))
    rewards = {}
    for d in range(n):
        if T0 + d + WINDOW <= as_of:
            x = fold([v for _, v in sorted(events.get((d, "x"), []))], aggregate, 0.0)
            y = fold([v for _, v in sorted(events.get((d, "y"), []))], "sum", 0.5)
            rewards[f"d{d}"] = x - y
    return rewards, fates


def fold(values: list[float], aggregate: str, default: float) -> float:
    if not values:
        return default
    pick = {"first": values[0], "last": values[-1], "sum": sum(values), "mean": sum(values) / len(values)}
    return (pick | {"min": min(values), "max": max(values)})[aggregate]


def run(rows: list[dict], aggregate: str, as_of: int) -> tuple:
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "events.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        log = ingest(path, problem=problem(aggregate), to=Path(root) / "log")
        data = join(log, window=WINDOW, backward=BACKWARD, as_of=as_of, to=Path(root) / "data")
        steps = data.load().steps
        digest = hashlib.sha256((data.folder / "steps.parquet").read_bytes()).hexdigest()
        return digest, steps, log.counts, data.counts


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 6), st.lists(outcome, max_size=12), st.sampled_from(AGGREGATES), st.randoms(), st.integers(0, 8))
def test_any_order_and_duplication_gives_the_same_dataset(n, outcomes, aggregate, random, slack):
    """Byte-identical steps for every permutation and repetition; rewards and counts equal those of a plain model."""
    as_of = T0 + WINDOW + slack
    rows = lines(n, outcomes)
    shuffled = rows + random.choices(rows, k=random.randint(0, 5))
    random.shuffle(shuffled)
    digest, steps, logged, counts = run(rows, aggregate, as_of)
    again, *_, shuffled_counts = run(shuffled, aggregate, as_of)
    assert digest == again
    rewards, fates = model(n, outcomes, aggregate, as_of)
    np.testing.assert_allclose(steps.reward, list(rewards.values()), rtol=1e-12, atol=1e-12)
    assert {name: counts[name] for name in fates} == fates == {name: shuffled_counts[name] for name in fates}
    for c in (counts, shuffled_counts):
        assert c["decisions"] == c["steps"] + c["pending"] + c["quarantined"] == n
        assert c["outcomes"] == sum(c[name] for name in fates) + c["duplicates"]
    assert logged["rows"] == len(rows)
    assert logged["rows"] == sum(logged[name] for name in ("decisions", "duplicates", "outcome_rows", "quarantined"))
