"""What DuckDB and Spark make of the same table, and of the same log: equal to the last bit of every number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.ingest import ingest
from understudy.data.join import join
from understudy.data.timeline.dialect import translate
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import TEXT, print_sql, timeline
from understudy.data.timeline.transitions import transitions

pytestmark = pytest.mark.usefixtures("spark")

PROBLEM = Problem(
    features=(Feature(name="7"), Feature(name="8", optional=True), Feature(name="b c", kind="boolean", optional=True),
              Feature(name="kind", kind="category", values=("x", "it's", "ü"), open=True, optional=True)),
    actions=ActionSpace(names=("left", "right", "stay")),
    outcomes=(OutcomeSpec(name="gain"), OutcomeSpec(name="cost", default=1.0)),
    reward="gain / cost - 0.1", reward_range=(-20.0, 20.0), discount=0.9, horizon=None,
)  # fmt: skip
MAP = pa.map_(pa.int64(), pa.float64())


def decisions(episodes: int, seed: int = 0) -> pa.Table:
    """Episodes of 2 to 8 rows, shuffled: gaps, NaN, nulls in lists, costs of 0 and of −0, ends of every kind."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(episodes):
        n, cut = int(rng.integers(2, 9)), bool(rng.random() < 0.3)
        for j, s in enumerate(np.cumsum(rng.integers(1, 4, n)).tolist()):
            p = rng.dirichlet([1.0, 1.0, 1.0])
            a, last = int(rng.integers(3)), j == n - 1
            state = [(7, float(rng.normal())), (8, [0.1 * a, float("nan"), -0.0, None][rng.integers(4)])]
            rows.append({
                "episode": f"é{i}" if i % 5 else f"e{i}", "sequence": s, "state": state[: 1 + (s % 3 > 0)],
                "b c": [True, False, None][rng.integers(3)], "kind": ["x", "it's", "ü", "new", None][rng.integers(5)],
                "action": ["left", "right", "stay"][a], "propensity": float(p[a]), "propensities": p.tolist(),
                "possible_actions": [["left", "right", "stay"], ["left", None, "stay", "right", "left"]][s % 2],
                "metrics": [("gain", float(rng.normal())), ("cost", [1.0, 3.0, 0.7, 0.3, -0.0, 0.0][rng.integers(6)])],
                "truncated": last and cut, "ds": f"2026-01-0{1 + s % 5}", "time": 1.7e9 + i + s / 7,
            })  # fmt: skip
    rng.shuffle(rows)  # type: ignore[arg-type]
    kinds = {"state": MAP, "metrics": pa.map_(pa.string(), pa.float64()), "possible_actions": pa.list_(pa.string())}
    return pa.table({n: pa.array([row[n] for row in rows], kinds.get(n)) for n in rows[0]})


TABLE = decisions(60)


def compare(ours: Path, theirs: Path) -> int:
    """Equal names, types, order and bits; and, as a warehouse would ask, nothing in one that is not in the other."""
    for one, other in ((ours, theirs), (theirs, ours)):
        assert not duckdb.sql(f"SELECT * FROM '{one}' EXCEPT ALL SELECT * FROM '{other}'").fetchall()
    written = []
    for path in (ours, theirs):  # once more by one hand, which may take no column for one that is never null
        again = path.with_suffix(".again")
        rows = pq.read_table(path)
        rows = rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))
        pq.write_table(rows, again)
        written.append(again.read_bytes())
        again.unlink()
    assert written[0] == written[1]
    return pq.read_metadata(ours).num_rows


def both(make: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
    return make(*args, **options), make(*args, engine="spark", **options)


DROPPED = Rules(terminal="drop_truncated", lost_reward="add", faulty="aside", discount_per="time", per=60.0)
WINDOWED = Rules(within=9, longest=7.0, faulty="aside", discount_per="sequence", ds=("2026-01-01", "2026-01-04"),
                 terminal="drop", lost_reward="discard")  # fmt: skip
DATED = Rules(ds=("2026-01-02", "2026-01-04"), duplicates="last", lost_reward="discard", faulty="aside")
STATELESS = Rules(null_states="drop", lost_reward="discard", faulty="aside", ds=(None, "2026-01-04"))


def blanked(table: pa.Table) -> pa.Table:
    """Some rows without any feature, some of them last, some without an action either; every row twice."""
    rows = table.to_pylist()
    for i, row in enumerate(rows):
        row |= {"unit_id": row["episode"]}
        if i % 6 == 0:
            row |= {"state": None, "b c": None, "kind": None}
        if i % 12 == 0:
            row |= {"action": None, "propensity": None, "propensities": None}
    return pa.Table.from_pylist([*rows, *rows], schema=table.schema.append(pa.field("unit_id", pa.string())))


@pytest.mark.parametrize("rules", [DROPPED, WINDOWED, DATED, STATELESS], ids=["dropped", "windowed", "dated", "blank"])
def test_steps(rules):
    """Quotients by 0 and −0, NaN, nulls in lists, text beyond ASCII, quarantine: every column of every row."""
    source = TABLE if rules not in (DATED, STATELESS) else blanked(TABLE)
    rules = replace(rules, duplicates="identical") if rules == STATELESS else rules
    ours, theirs = both(timeline, source, problem=PROBLEM, rules=rules)
    n = compare(ours.folder / "steps.parquet", theirs.folder / "steps.parquet")
    aside = compare(ours.folder / "quarantined.parquet", theirs.folder / "quarantined.parquet")
    assert n > 20 and aside > 5
    assert "final_allowed" in pq.read_schema(ours.folder / "steps.parquet").names
    told = dict(ours.counts)
    assert told.pop("shuffled") > 0 and told == theirs.counts  # a distributed table has no order to be out of
    assert (theirs.folder / TEXT).read_text() == translate((ours.folder / TEXT).read_text(), "spark") + "\n"


@pytest.mark.parametrize(("n", "rules"), [(1, Rules(within=9)), (3, Rules(duplicates="identical", terminal="drop"))])
def test_transitions(n, rules):
    """One and three steps ahead, maps and lists among them, without a problem: arrays as long, empty values alike."""
    source = pa.concat_tables([TABLE, TABLE.slice(0, 40)]) if n > 1 else TABLE
    ours, theirs = both(transitions, source, n=n, rules=rules, lead=["kind", "metrics"])
    assert compare(ours, theirs) > 100


def test_actions_of_several_numbers_and_validation():
    """Vectors in a box, a clock of moments, the user's own checks."""
    rng = np.random.default_rng(1)
    n = 40
    source = pa.table({
        "episode": pa.array(np.arange(n) // 4), "sequence": pa.array(np.arange(n) % 4), "x": rng.normal(size=n),
        "action": pa.array(rng.uniform(-1, 1, (n, 2)).tolist()), "reward": rng.random(n),
        "time": pa.array(1_700_000_000_123_456 + rng.integers(0, 10**12, n).cumsum(), pa.timestamp("us")),
    })  # fmt: skip
    box = Problem(features=(Feature(name="x"),), actions=ActionSpace(low=(-1.0, -1.0), high=(1.0, 1.0)), discount=0.9,
                  horizon=None)  # fmt: skip
    checks = ["SELECT count(*) = 40 AND max(array_length(action)) = 2 FROM {input}", "SELECT min(t) = 0 FROM {output}"]
    ours, theirs = both(timeline, source, problem=box, validate=checks, rules=Rules(discount_per="time", per=3600.0))
    assert compare(ours.folder / "steps.parquet", theirs.folder / "steps.parquet") == n
    with pytest.raises(DataError, match=r"validation query .* gave \{'ok': False\}"):
        timeline(source, problem=box, validate=["SELECT count(*) = 1 AS ok FROM {output}"], engine="spark")


def test_numbers_as_categories_masks_and_units():
    """Categories and flags in columns of numbers, NaN among them; masks that bar everything; one unit per episode."""
    n, nan = 24, float("nan")
    source = pa.table({
        "episode": np.arange(n) // 4, "sequence": np.arange(n) % 4, "unit_id": [f"u{i // 8}" for i in range(n)],
        "level": [1.0, 2.0, 0.5, nan] * 6, "rank": [7, 8, 9, 7] * 6, "on": [1.0, 0.0, nan, 1.0] * 6,
        "action": ["a", "b", "a", None] * 6, "reward": [0.0, 1.0, 0.5, 0.0] * 6,
        "mask": [[1, 1], [0, 1], [1, 0], [0, 0], [1, 0], [1, 1], [1, 1], [0, 1]] * 3,
    })  # fmt: skip
    levels = Problem(
        features=(Feature(name="level", kind="category", values=("1", "2.0", "0.5"), optional=True),
                  Feature(name="rank", kind="category", values=("7", "08"), open=True),
                  Feature(name="on", kind="boolean", optional=True)),
        actions=ActionSpace(names=("a", "b")), discount=0.9, horizon=None, unit="unit",
    )  # fmt: skip
    ours, theirs = both(timeline, source, problem=levels)
    assert compare(ours.folder / "steps.parquet", theirs.folder / "steps.parquet") == 18
    assert (ours.counts["terminated"], ours.counts["truncated"]) == (3, 3)
    torn = source.set_column(2, "unit_id", pa.array([f"u{i // 6}" for i in range(n)]))
    for engine in ("duckdb", "spark"):
        with pytest.raises(DataError, match="another unit; first: episode '1', sequence 1"):
            timeline(torn, problem=levels, engine=engine)


def test_what_is_printed_is_what_runs():
    """--print-sql spark against timeline.sql of a run."""
    plain = Problem(features=(Feature(name="7"),), actions=PROBLEM.actions, outcomes=(OutcomeSpec(name="gain"),),
                    reward="gain", reward_range=(-9.0, 9.0), discount=0.9, horizon=None)  # fmt: skip
    rules = Rules(terminal="drop", lost_reward="discard")
    made = timeline(TABLE, problem=plain, rules=rules, engine="spark")
    assert (made.folder / TEXT).read_text() == print_sql(TABLE, plain, rules, None, "spark") + "\n"


def test_faults_are_told_alike():
    """The same number, the same first row, the same words."""
    said = []
    for engine in ("duckdb", "spark"):
        with pytest.raises(DataError) as told:
            timeline(TABLE, problem=PROBLEM, engine=engine)
        said.append(str(told.value))
    assert said[0] == said[1] and "reward" in said[0]


def events(n: int, seed: int, episodes: bool) -> list[dict]:
    """Decisions and 0 to 5 outcomes of each: repeated, early, late, of nobody; sums that depend on the order."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        row = {"decision_id": f"d{i}", "time": 1_700_000_000 + i, "context": {"f": i / 3}, "action": "ab"[i % 2]}
        where = {"episode_id": f"e{i // 4}", "t": i % 4} if episodes else {}
        rows.append(row | where | {"propensity": 0.5})
        for _ in range(rng.integers(0, 6)):
            told = {"decision_id": f"d{i}" if rng.random() < 0.95 else "nobody", "name": "uvwxyz"[rng.integers(6)],
                    "time": 1_700_000_000 + i + float(rng.integers(-3, 14)), "outcome_id": f"o{len(rows)}",
                    "value": [0.1, 0.2, 0.3, 1e9, -1e9, 1e-3, 0.0][rng.integers(7)]}  # fmt: skip
            rows += [told] * rng.integers(1, 3)
    return rows


@pytest.mark.parametrize("episodes", [False, True], ids=["bandit", "episodes"])
def test_join(tmp_path: Path, episodes: bool):
    """Every aggregate, a quotient, faults, late and orphan outcomes, open windows."""
    names = dict(zip("uvwxyz", ("first", "last", "sum", "mean", "min", "max")))
    outcomes = tuple(OutcomeSpec(name=n, aggregate=a, default=None if n == "z" and not episodes else 0.25)  # type: ignore[arg-type]
                     for n, a in names.items())  # fmt: skip
    problem = Problem(features=(Feature(name="f"),), actions=ActionSpace(names=("a", "b")), outcomes=outcomes,
                      reward="u + v * w / (x - y + 0.7) + z", reward_range=(-1e12, 1e12),
                      **({"horizon": None, "discount": 0.9} if episodes else {}))  # fmt: skip
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(map(json.dumps, events(160, 3, episodes))))
    log = ingest(path, problem=problem, to=tmp_path / "log")
    ours, theirs = both(join, log, window=10, backward=2, as_of=1_700_000_160)
    for name in ("steps.parquet", "late.parquet", "orphans.parquet", "quarantined.parquet"):
        assert compare(ours.folder / name, theirs.folder / name) > 5, name
    assert ours.counts == theirs.counts and ours.counts["pending"] > 0
