"""The timeline does not depend on the order of rows or on how they are cut into files, and adds up."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline
from understudy.data.timeline.transitions import transitions

PROBLEM = Problem(features=(Feature(name="x"), Feature(name="y", optional=True)), actions=ActionSpace(names=("a", "b")),
                  discount=0.9, horizon=None, reward_range=(-10.0, 10.0))  # fmt: skip

episodes = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=7), min_size=1, max_size=6)  # gaps of sequence
rules = st.builds(
    Rules,
    terminal=st.sampled_from(["keep", "drop"]),
    lost_reward=st.just("discard"),
    within=st.sampled_from([None, 3, 8]),
    discount_per=st.sampled_from(["step", "sequence"]),
    ds=st.sampled_from([(None, None), (None, "00"), (None, "02")]),
)


def rows(gaps: list[list[int]], seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {"episode": f"e{i}", "sequence": int(s), "x": float(rng.normal()),
         "y": None if rng.random() < 0.2 else float(rng.normal()), "action": "ab"[rng.integers(2)],
         "propensity": 0.5, "reward": float(rng.integers(-3, 4)), "ds": f"{s // 3:02d}"}
        for i, steps in enumerate(gaps) for s in np.cumsum(steps)
    ]  # fmt: skip


def as_table(found: list[dict]) -> pa.Table:
    kinds = [("episode", pa.string()), ("sequence", pa.int64()), ("x", pa.float64()), ("y", pa.float64()),
             ("action", pa.string()), ("propensity", pa.float64()), ("reward", pa.float64()),
             ("ds", pa.string())]  # fmt: skip
    return pa.Table.from_pylist(found, schema=pa.schema(kinds))


def model(found: list[dict], chosen: Rules) -> list[tuple]:
    """The same in plain Python: (episode, sequence, reward, terminated, truncated, x that followed)."""
    made = []
    for name in sorted({one["episode"] for one in found}):
        mine = sorted((one for one in found if one["episode"] == name), key=lambda one: one["sequence"])
        n_steps = len(mine) - (chosen.terminal == "drop")

        def outside(row: dict, start: int = mine[0]["sequence"]) -> bool:
            far = chosen.within is not None and row["sequence"] - start > chosen.within
            return far or (chosen.ds[1] is not None and row["ds"] > chosen.ds[1])

        for i, one in enumerate(mine[:n_steps]):
            if outside(one):
                continue
            follows = mine[i + 1] if i + 1 < len(mine) else None
            cut = follows is not None and outside(follows)
            ends = i == n_steps - 1 or cut
            well = ends and follows is None
            after = np.float32(follows["x"]) if ends and not well and follows is not None else None
            made.append((name, one["sequence"], one["reward"], well, ends and not well, after))
    return made


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(episodes, rules, st.integers(0, 999), st.integers(1, 3))
def test_rows_in_any_order_and_any_number_of_files_give_the_same_bytes(gaps, chosen, seed, files):
    """Shuffled and cut into files: the same steps.parquet, byte for byte, and the one a plain loop would make."""
    found = rows(gaps, seed)
    expected = model(found, chosen)
    with tempfile.TemporaryDirectory() as root:
        try:
            whole = timeline(as_table(found), problem=PROBLEM, rules=chosen, to=Path(root) / "whole")
        except Exception as error:
            assert not expected and "none of" in str(error), error
            return
        np.random.default_rng(seed).shuffle(found)  # type: ignore[arg-type]
        parts = Path(root) / "parts"
        parts.mkdir()
        for i in range(files):
            pq.write_table(as_table(found[i::files]), parts / f"{i}.parquet")
        again = timeline(parts, problem=PROBLEM, rules=chosen, to=Path(root) / "again")
        digests = {hashlib.sha256((d.folder / "steps.parquet").read_bytes()).hexdigest() for d in (whole, again)}
        assert len(digests) == 1
        told = pq.read_table(whole.folder / "steps.parquet").to_pylist()
        names = ("episode_id", "sequence", "reward", "terminated", "truncated")
        got = [(*(one[n] for n in names), one.get("final.x")) for one in told]
        assert got == expected
        counts = whole.counts
        assert counts["rows"] == sum(counts.get(name, 0) for name in ("steps", "closing", "beyond", "outside"))
        steps = whole.load().steps
        assert (steps.terminated | steps.truncated).sum() == steps.m == counts["episodes"]
        batches = list(whole.scan(3))
        assert sum(b.n for b in batches) == steps.n and all(
            (b.terminated | b.truncated)[b.starts[1:] - 1].all() for b in batches
        )
        if steps.final_context is not None:
            finals = np.concatenate([b.final_context for b in batches if b.final_context is not None])
            assert np.array_equal(finals, steps.final_context, equal_nan=True)


@settings(max_examples=6, deadline=None)
@given(episodes, st.integers(0, 999), st.integers(1, 4))
def test_transitions_are_the_rows_that_follow(gaps, seed, n):
    """Every next_x is the x of the row so many places further, as many as follow, at most n."""
    found = rows(gaps, seed)
    with tempfile.TemporaryDirectory() as root:
        made = pq.read_table(transitions(as_table(found), problem=PROBLEM, n=n, to=Path(root) / "t")).to_pylist()
    by_key = {(one["episode"], one["ordinal"]): one for one in made}
    for one in made:
        later = [by_key[one["episode"], one["ordinal"] + i] for i in range(1, n + 1)
                 if (one["episode"], one["ordinal"] + i) in by_key]  # fmt: skip
        seen = one["next_x"] if n > 1 else [one["next_x"]]
        assert seen == ([other["x"] for other in later] or [None])
        gaps_seen = one["time_diff"] if n > 1 else [one["time_diff"]]
        assert gaps_seen == ([other["sequence"] - one["sequence"] for other in later] or [0])


LOOSE = Problem(features=(Feature(name="x", optional=True),), actions=ActionSpace(names=("a", "b")), discount=0.9,
                horizon=None, reward_range=(-10.0, 10.0))  # fmt: skip


def gappy(seed: int, n: int = 80) -> list[list[dict]]:
    """Episodes with rows that have no state, and last rows that may have no action."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        sequence = np.cumsum(rng.integers(1, 4, rng.integers(1, 8))).tolist()
        found.append([
            {"episode": f"e{i:03d}", "sequence": s,
             "x": None if rng.random() < 0.25 else float(np.float32(rng.normal())),
             "action": None if s == sequence[-1] and rng.random() < 0.3 else "ab"[rng.integers(2)],
             "reward": float(rng.integers(-3, 4)), "ds": f"{s // 3:02d}"}
            for s in sequence
        ])  # fmt: skip
    return found


def left(rows: list[dict], chosen: Rules) -> list[tuple] | None:
    """The steps of one episode, as in ``model``; None where what followed a cut is not known."""
    last = rows[-1]
    there = [r for r in rows if r["x"] is not None or (r is last and r["action"] is None)]
    unseen = not there or there[-1] is not last
    inside = [r for r in there if chosen.ds[1] is None or r["ds"] <= chosen.ds[1]]
    frame = [r for r in there if r in inside or (inside and r["sequence"] > inside[-1]["sequence"])] if inside else []
    out = {id(r) for r in frame if r not in inside}
    if chosen.within is not None:
        out |= {id(r) for r in frame if r["sequence"] - frame[0]["sequence"] > chosen.within}
    closes = frame and (chosen.terminal == "drop" or frame[-1]["action"] is None)
    steps, known = [], True
    for i, row in enumerate(frame):
        follows = frame[i + 1] if i + 1 < len(frame) else None
        if id(row) in out or (closes and follows is None):
            continue
        next_closes = closes and i == len(frame) - 2
        cut = follows is not None and id(follows) in out
        ends = follows is None or next_closes or cut
        well = ends and not (next_closes or cut or unseen)
        after = follows["x"] if follows is not None and ends and not well else None
        known &= not (ends and not well and after is None)
        steps.append((row["episode"], row["sequence"], row["reward"], well, ends and not well, after))
    return steps if known else None


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 999), st.sampled_from(["keep", "drop"]), st.sampled_from([None, 4]),
       st.sampled_from([(None, None), (None, "01")]))  # fmt: skip
def test_rows_without_a_state_are_left_out_of_every_kind_of_episode(seed, terminal, within, ds):
    """Against a plain loop: which steps stay, how episodes end, with what after them; every row is accounted for."""
    chosen = Rules(terminal=terminal, within=within, ds=ds, null_states="drop", lost_reward="discard", faulty="aside")
    found = gappy(seed)
    table = pa.Table.from_pylist([row for rows in found for row in rows])
    whole = timeline(table, problem=LOOSE, rules=chosen)
    told = pq.read_table(whole.folder / "steps.parquet").to_pylist()
    names = ("episode_id", "sequence", "reward", "terminated", "truncated")
    got = [(*(one[n] for n in names), one.get("final.x")) for one in told]
    assert got == [step for rows in found for step in left(rows, chosen) or ()]
    counts, parts = whole.counts, ("steps", "closing", "beyond", "outside", "null_states", "quarantined")
    assert counts["rows"] == sum(counts.get(name, 0) for name in parts) and counts["beyond"] >= 0
    assert within is not None or counts["beyond"] == 0
    ends = sum(rows[-1]["x"] is None and rows[-1]["action"] is not None for rows in found)
    assert counts["cut_stateless"] <= ends and (ds[1] is not None or counts["cut_stateless"] > 0)
