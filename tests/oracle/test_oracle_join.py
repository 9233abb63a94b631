"""F9 and F10 of the reference: how several outcomes become one, and what a window lets in."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, OutcomeSpec, Problem
from understudy.data.ingest import ingest
from understudy.data.join import join
from understudy.data.times import instant

START = "2026-01-05T12:00:00Z"
T0 = instant(START)


def problem(aggregate: str = "first", default: float | None = 0.0, **changes) -> Problem:
    fields = {
        "features": (), "actions": ActionSpace(names=("a", "b")), "reward_range": (-10.0, 10.0),
        "outcomes": (OutcomeSpec(name="reward", aggregate=aggregate, default=default),),
    }  # fmt: skip
    return Problem(**(fields | changes))


def joined(tmp_path, outcomes, *, decisions=(0,), p=None, window="10m", backward="2m", as_of="2026-01-06T00:00:00Z"):
    """Decisions at START + seconds; outcomes as (decision, seconds after START, value)."""
    lines = [
        {"decision_id": f"d{i}", "time": T0 / 1e6 + at, "context": {}, "action": "a", "propensity": 0.5}
        for i, at in enumerate(decisions)
    ]
    for d, at, value, *rest in outcomes:
        lines.append({"decision_id": f"d{d}", "time": T0 / 1e6 + at, "value": value, "name": (rest or ["reward"])[0]})
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, lines)))
    log = ingest(tmp_path / "e.jsonl", problem=p or problem(), to=tmp_path / "log")
    return join(log, window=window, backward=backward, as_of=as_of, to=tmp_path / "data")


THREE = [(0, 3.0, 0.2), (0, 1.0, 0.5), (0, 2.0, 0.5)]


@pytest.mark.parametrize("aggregate, outcomes, value", [
    ("first", THREE, 0.5),
    ("last", THREE, 0.2),
    ("sum", THREE, 0.5 + 0.5 + 0.2),
    ("mean", THREE, 1.2 / 3),
    ("min", THREE, 0.2),
    ("max", THREE, 0.5),
    ("max", [(0, 1.0, -1.0), (0, 2.0, -2.0)], -1.0),  # the reference code wrongly returns the default
    ("min", [(0, 1.0, 1.0), (0, 2.0, 2.0)], 1.0),
    ("sum", [(0, 1.0, 0.2), (0, 2.0, 0.5)], 0.7),
    ("mean", [(0, 1.0, 0.2), (0, 2.0, 0.5)], 0.35),
])  # fmt: skip
def test_f9_aggregation(tmp_path, aggregate, outcomes, value):
    """Outcomes .2 at 3 s, .5 at 1 s, .5 at 2 s: earliest .5, sum 1.2, average .4, min .2, max .5; {-1, -2}: max -1."""
    data = joined(tmp_path, outcomes, p=problem(aggregate))
    assert data.load().steps.reward == pytest.approx([value], abs=1e-12)


@pytest.mark.parametrize("aggregate", ["first", "last", "sum", "mean", "min", "max"])
def test_f9_none_gives_the_default(tmp_path, aggregate):
    """No outcome → the default; the outcome itself stays missing, so that nobody mistakes it for a measurement."""
    steps = joined(tmp_path, [], p=problem(aggregate, default=0.25)).load().steps
    assert steps.reward.tolist() == [0.25] and np.isnan(steps.outcomes).all()
    assert steps.origin.arrived.tolist() == [0] and np.isnan(steps.origin.delay).all()


@pytest.mark.parametrize("at, counts", [
    (0.0, True), (9 * 60 + 59.999, True), (10 * 60.0, False), (10 * 60 + 0.001, False), (-119.0, True), (-120.0, False),
    (-119.999999, True), (-121.0, False),
])  # fmt: skip
def test_f10_edges_of_the_window(tmp_path, at, counts):
    """Unit 10 min, backward 2 min: +9:59.999 joins, +10:00 does not; 1:59 before joins, 2:00 before does not."""
    data = joined(tmp_path, [(0, at, 1.0)])
    assert data.load().steps.reward.tolist() == [float(counts)]
    fate = "joined" if counts else "early" if at < 0 else "late"
    assert data.counts[fate] == 1
    if not counts:
        kept = pq.read_table(data.folder / "late.parquet").to_pylist()
        assert [(row["fate"], row["delay"], row["value"]) for row in kept] == [(fate, at, 1.0)]


@pytest.mark.parametrize("at, counts", [(0.0, True), (-0.000001, False), (599.999999, True)])
def test_f10_without_backward_window(tmp_path, at, counts):
    """backward 0: an outcome at the very instant of its decision counts, one before it does not."""
    data = joined(tmp_path, [(0, at, 1.0)], backward=0)
    assert data.load().steps.reward.tolist() == [float(counts)]


def test_f10_an_event_waits_for_its_window_even_if_rewarded_at_once(tmp_path):
    """Emitted once time + window ≤ as_of, not before; what waits is counted."""
    for as_of, steps in (("2026-01-05T12:09:59.999999Z", 1), ("2026-01-05T12:10:00Z", 2)):
        (tmp_path / str(steps)).mkdir()
        data = joined(tmp_path / str(steps), [(1, 0.5, 1.0)], decisions=(-60, 0), as_of=as_of)
        assert data.n_steps == steps and data.counts["pending"] == 2 - steps
        assert data.counts["waiting"] == 2 - steps == 1 - data.counts["joined"]


def test_f10_the_default_as_of_is_the_newest_time_seen(tmp_path):
    """Without as_of a log vouches only for what it has seen: outcomes move it on as decisions do."""
    data = joined(tmp_path, [(1, 660.0, 1.0)], decisions=(0, 100), as_of=None)
    assert data.rules.as_of == T0 + 660 * 10**6 and data.n_steps == 1 and data.counts["pending"] == 1


def test_f10_two_rewards_in_the_window_both_attach(tmp_path):
    """Both count, once each, and the delay is that of the first."""
    steps = joined(tmp_path, [(0, 2.0, 1.0), (0, 500.0, 1.0)], p=problem("sum")).load().steps
    assert steps.reward.tolist() == [2.0] and steps.origin.arrived.tolist() == [2]
    assert steps.origin.delay.tolist() == [2.0]


def test_f10_unmatched_rewards_are_dangling(tmp_path):
    """An outcome of a decision nobody logged is counted and kept."""
    data = joined(tmp_path, [(7, 1.0, 1.0), (0, 1.0, 1.0)])
    assert data.counts["orphans"] == 1 and data.load().steps.reward.tolist() == [1.0]
    assert pq.read_table(data.folder / "orphans.parquet").to_pylist()[0]["decision_id"] == "d7"


def test_rewarded_once_twice_and_never_is_three_rows(tmp_path):
    """The inner join of the reference emits 1 + 2 + 0 rows; here it is one row per decision."""
    data = joined(tmp_path, [(0, 1.0, 1.0), (1, 1.0, 1.0), (1, 2.0, 1.0)], decisions=(0, 1, 2), p=problem("sum"))
    assert data.load().steps.reward.tolist() == [1.0, 2.0, 0.0]


def test_a_bad_join_moves_the_mean_and_this_one_does_not(tmp_path):
    """3 of 10 rewarded, half of the zeros silent, one reward sent twice: the mean stays .3."""
    rewards = [(i, 1.0, 1.0) for i in range(3)] + [(0, 1.0, 1.0)] + [(i, 1.0, 0.0) for i in range(3, 6)]
    assert joined(tmp_path, rewards, decisions=range(10)).load().steps.reward.mean() == pytest.approx(0.3)


def test_no_default_refuses_the_row_and_keeps_it(tmp_path):
    """default null: a decision without the outcome is set aside, never given a silent 0."""
    data = joined(tmp_path, [(0, 1.0, 1.0)], decisions=(0, 1), p=problem(default=None))
    assert data.n_steps == 1 and data.counts["quarantined.outcome_missing"] == 1
    aside = pq.read_table(data.folder / "quarantined.parquet").to_pylist()
    assert [(row["decision_id"], row["fault"]) for row in aside] == [("d1", "outcome_missing")]


TWO = {
    "outcomes": (OutcomeSpec(name="revenue", aggregate="sum"), OutcomeSpec(name='odd "name', default=2.0)),
    "reward_range": (-100.0, 100.0),
}


def test_reward_expression_over_outcomes(tmp_path):
    """revenue - 0.5 * 4, defaults included; names with quotes are safe."""
    outcomes = [(0, 1.0, 10.0, "revenue"), (0, 2.0, 5.0, "revenue"), (1, 1.0, 7.0, 'odd "name')]
    data = joined(tmp_path, outcomes, decisions=(0, 1), p=problem(**TWO, reward="-(revenue - 1) / 2 + 3e0 * 2"))
    assert data.load().steps.reward.tolist() == [-1.0, 6.5]  # -(15-1)/2+6 and -(0-1)/2+6
    assert np.array_equal(data.load().steps.outcomes, [[15.0, np.nan], [np.nan, 7.0]], equal_nan=True)


def test_reward_named_by_an_outcome_with_quotes(tmp_path):
    """A reward that is the name of an outcome needs no identifier; its default stands in."""
    data = joined(tmp_path, [(0, 1.0, 7.0, 'odd "name')], decisions=(0, 1), p=problem(**TWO, reward='odd "name'))
    assert data.load().steps.reward.tolist() == [7.0, 2.0]


def test_reward_out_of_range_is_set_aside_with_its_value(tmp_path):
    """A reward outside the declared range would break the proof: quarantined, counted, kept."""
    data = joined(tmp_path, [(0, 1.0, 1.0), (1, 1.0, 11.0)], decisions=(0, 1))
    assert data.n_steps == 1 and data.counts["quarantined.reward_out_of_range"] == 1
    assert pq.read_table(data.folder / "quarantined.parquet").to_pylist()[0]["reward"] == 11.0


def test_reward_that_is_not_finite_is_set_aside(tmp_path):
    """Division by an outcome of 0 gives no reward."""
    p = problem(**TWO | {"outcomes": (OutcomeSpec(name="a", default=1.0), OutcomeSpec(name="b"))}, reward="a / b")
    data = joined(tmp_path, [(0, 1.0, 4.0, "b")], decisions=(0, 1), p=p)
    assert data.load().steps.reward.tolist() == [0.25] and data.counts["quarantined.reward_not_finite"] == 1


def test_all_rewards_out_of_range_is_an_error(tmp_path):
    """If no decision is left the error says why, and no dataset is written."""
    with pytest.raises(DataError, match="reward_out_of_range 1"):
        joined(tmp_path, [(0, 1.0, 11.0)])
    assert not (tmp_path / "data").exists()


def test_no_window_has_closed_is_an_error(tmp_path):
    """Nothing mature yet: the error names the moment and what to do."""
    with pytest.raises(DataError, match=r"none of 1 decisions has closed by 2026-01-05T12:05:00Z"):
        joined(tmp_path, [], as_of="2026-01-05T12:05:00Z")


def test_ties_at_one_instant_are_resolved_by_value(tmp_path):
    """Two different outcomes at the same microsecond: first takes the smaller, last the larger, in any order."""
    for order in (1, -1):
        for aggregate, value in (("first", 1.0), ("last", 3.0)):
            folder = tmp_path / f"{aggregate}{order}"
            folder.mkdir()
            outcomes = [(0, 1.0, 3.0), (0, 1.0, 1.0)][::order]
            assert joined(folder, outcomes, p=problem(aggregate)).load().steps.reward.tolist() == [value]
