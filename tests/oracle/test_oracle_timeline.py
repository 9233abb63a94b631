"""Rows 34 to 43 of the reference: what a timeline makes of tables small enough to be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline
from understudy.data.timeline.transitions import transitions
from understudy.data.timeline.verdicts import threshold
from understudy.ops.transitions import transitions as pairs

MAP = pa.map_(pa.int64(), pa.float64())
DROP = Rules(terminal="drop", lost_reward="discard")
TWO = Problem(
    features=tuple(Feature(name=str(i), optional=True) for i in range(1, 5)),
    actions=ActionSpace(names=("action1", "action2")), discount=0.9, horizon=None,
)  # fmt: skip


def table(rows: list[dict], **types: pa.DataType) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    known = {"state_features": MAP, "metrics": pa.map_(pa.string(), pa.float64())} | types
    return pa.table({n: pa.array([row.get(n) for row in rows], known.get(n)) for n in names})


def row(sequence: int, state: dict, action: str, p: float | None, reward: float, **more) -> dict:
    return {
        "mdp_id": "mdp1", "sequence_number": sequence, "state_features": list(state.items()), "action": action,
        "action_probability": p, "reward": reward, "possible_actions": ["action1", "action2"],
    } | more  # fmt: skip


T1 = [row(1, {1: 1.0}, "action1", 0.8, 1.0), row(11, {2: 1.0}, "action2", 0.7, 0.2)]


def out(source: pa.Table, **options) -> list[dict]:
    path = transitions(source, **options)
    found = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    assert found == duckdb.sql(f"SELECT * FROM '{path}' ORDER BY mdp_id, sequence_number").to_arrow_table().to_pylist(
        maps_as_pydicts="strict"
    ), "rows come by (episode, sequence)"
    return found


@pytest.mark.parametrize("problem", [TWO, None], ids=["problem", "raw"])
def test_34_one_step_without_the_last_row(problem):
    """Ordinal 1, time_diff 10, time since first 0, next state {2: 1}, next action action2."""
    (one,) = out(table(T1), problem=problem, rules=DROP)
    assert (one["ordinal"], one["time_diff"], one["since_first"], one["last"]) == (1, 10, 0, False)
    assert (one["next_state_features"], one["next_action"]) == ({2: 1.0}, "action2")
    assert one["next_possible_actions"] == ["action1", "action2"]
    assert (one["reward"], one["action_probability"]) == (1.0, 0.8)


@pytest.mark.parametrize("problem", [TWO, None], ids=["problem", "raw"])
def test_34_one_step_with_the_last_row(problem):
    """Plus a row of ordinal 2, time_diff 0, time since first 10, and empty values for what follows."""
    one, two = out(table(T1), problem=problem)
    assert (one["ordinal"], one["time_diff"], one["since_first"]) == (1, 10, 0)
    assert (two["ordinal"], two["time_diff"], two["since_first"], two["last"]) == (2, 0, 10, True)
    assert (two["next_state_features"], two["next_action"], two["next_possible_actions"]) == ({}, "", [])
    assert two["reward"] == 0.2  # the row's own, never shifted


T35 = [
    row(1, {1: 1.0}, "action1", 0.8, 1.0, metrics=[("m", 1.0)]),
    row(11, {2: 1.0}, "action2", 0.7, 0.2, metrics=[("m", 0.2)]),
    row(12, {3: 1.0}, "action1", 0.6, 0.9, metrics=[("m", 0.9)]),
    row(13, {4: 1.0}, "action2", 0.5, 0.4, metrics=[("m", 0.4)]),
]


def test_35_three_steps():
    """Rewards [1, .2, .9], [.2, .9], [.9]; time_diff [10, 11, 12], [1, 2], [1]; since first 0, 10, 11."""
    made = out(table(T35), problem=TWO, rules=DROP, n=3)
    assert [r["reward"] for r in made] == [[1.0, 0.2, 0.9], [0.2, 0.9], [0.9]]
    assert [r["metrics"] for r in made] == [[{"m": x} for x in r["reward"]] for r in made]
    assert [r["time_diff"] for r in made] == [[10, 11, 12], [1, 2], [1]]
    assert [r["since_first"] for r in made] == [0, 10, 11]
    assert [r["next_state_features"] for r in made] == [
        [{2: 1.0}, {3: 1.0}, {4: 1.0}],
        [{3: 1.0}, {4: 1.0}],
        [{4: 1.0}],
    ]
    assert [r["next_action"] for r in made] == [["action2", "action1", "action2"], ["action1", "action2"], ["action2"]]


def test_35_the_last_row_of_several_steps_is_no_time_away():
    """The reference gives the row's own sequence number there, [13]; nothing follows, so it is [0]."""
    last = out(table(T35), problem=TWO, n=3)[-1]
    assert (last["time_diff"], last["reward"], last["next_state_features"]) == ([0], [0.4], [{}])
    assert (last["next_action"], last["next_possible_actions"]) == ([""], [[]])


def test_36_actions_with_features():
    """Maps as actions, two steps: rewards [1, .2], [.2]; time_diff [10, 11], [1]."""
    actions = [{1001: 0.3, 1002: 0.5}, {1001: 0.1, 1002: 0.9}, {1001: 0.8, 1002: 0.2}]
    rows = [
        {"mdp_id": "m", "sequence_number": s, "state_features": [(1, float(s))], "action": list(a.items()), "reward": r}
        for s, a, r in zip((1, 11, 12), actions, (1.0, 0.2, 0.7))
    ]
    box = Problem(features=(Feature(name="1"),), actions=ActionSpace(low=(0.0, 0.0), high=(1.0, 1.0)), discount=0.9,
                  horizon=None, reward_range=(0.0, 20.0))  # fmt: skip
    for problem in (box, None):
        made = out(table(rows, action=MAP), problem=problem, rules=DROP, n=2)
        assert [r["reward"] for r in made] == [[1.0, 0.2], [0.2]]
        assert [r["time_diff"] for r in made] == [[10, 11], [1]]
        assert [r["next_action"] for r in made] == [actions[1:], actions[2:]]
    steps = timeline(table(rows, action=MAP), problem=box).load().steps
    assert steps.action == pytest.approx(np.array([[0.3, 0.5], [0.1, 0.9], [0.8, 0.2]], np.float32))


def lengths(*counts: tuple[int, int]) -> pa.Table:
    rows, number = [], 0
    for length, episodes in counts:
        for _ in range(episodes):
            number += 1
            rows += [row(s, {1: 1.0}, "action1", 0.5, 1.0, mdp_id=f"m{number}") for s in range(length)]
    return table(rows)


def test_37_episodes_that_are_too_long():
    """95 episodes of length 2 and 5 of 100 at .95: threshold 6.9, and 95 rows without the last ones."""
    assert threshold([(2, 95), (100, 5)], 0.95) == pytest.approx(6.9, abs=1e-9)
    assert threshold([(2, 95), (100, 5)], 0.95) == pytest.approx(np.percentile([2] * 95 + [100] * 5, 95), abs=1e-9)
    source = lengths((2, 95), (100, 5))
    assert len(out(source, problem=TWO, rules=DROP, percentile=0.95)) == 95
    data = timeline(source, problem=TWO, percentile=0.95)
    assert (data.n_episodes, data.n_steps, data.counts["too_long"]) == (95, 190, 500)


def test_38_a_filter_that_cannot_be_honored_says_so():
    """Three episodes of one length: none is longer than the percentile. The reference skips the filter."""
    with pytest.raises(
        DataError, match=r"0.95 percentile of 3 episode lengths is 2, and 0 episodes \(0.00%\) are longer"
    ):
        timeline(lengths((2, 3)), problem=TWO, percentile=0.95)


def test_39_a_row_without_a_state_takes_nobody_with_it():
    """T3: the reference drops the row before it, without a word. Here: refused, or only that row is dropped."""
    rows = [dict(T35[0]), dict(T35[1], state_features=None), dict(T35[2])]
    with pytest.raises(DataError, match="1 of 3 rows: no feature at all; first: episode 'mdp1', sequence 11"):
        timeline(table(rows), problem=TWO)
    data = timeline(table(rows), problem=TWO, rules=Rules(null_states="drop", discount_per="sequence"))
    steps = data.load().steps
    assert steps.span is not None and steps.span.tolist() == [11.0, 1.0]  # the step before leads past it
    assert (data.counts["null_states"], data.counts["null_state_rewards"]) == (1, 1)
    made = out(table(rows), rules=Rules(null_states="drop"))
    assert [(r["sequence_number"], r["time_diff"]) for r in made] == [(1, 11), (12, 0)]


def test_40_two_rows_of_one_key_are_no_transition():
    """T4: the reference makes a transition with time_diff 0 between them."""
    rows = [T1[0], dict(T1[0], action="action2"), T1[1]]
    with pytest.raises(DataError, match="the next row has the same episode and sequence number; first: episode 'mdp1'"):
        timeline(table(rows), problem=TWO)
    with pytest.raises(DataError, match="1 of 3 rows repeat the episode and sequence number"):
        transitions(table(rows))
    with pytest.raises(DataError, match="1 keys have rows that differ"):
        timeline(table(rows), problem=TWO, rules=Rules(duplicates="identical"))
    data = timeline(table([T1[0], T1[0], T1[1]]), problem=TWO, rules=Rules(duplicates="identical"))
    assert (data.n_steps, data.counts["repeated"]) == (2, 1)


def test_41_further_columns_look_ahead():
    """A slate for an action and a sequence feature: the last row's next action, state and sequence are empty."""
    sequences = pa.map_(pa.int64(), pa.list_(MAP))
    rows = [
        {"mdp_id": "m", "sequence_number": s, "state_features": [(1, float(s))], "action": [s, s + 1],
         "slate_reward": [(0, float(s))], "state_sequence_features": [(7, [[(1, float(s))]])]}
        for s in (1, 2, 3)
    ]  # fmt: skip
    types = {"slate_reward": MAP, "state_sequence_features": sequences}
    made = out(table(rows, **types), lead=["state_sequence_features"])
    assert [r["next_action"] for r in made] == [[2, 3], [3, 4], []]
    assert [r["next_state_features"] for r in made] == [{1: 2.0}, {1: 3.0}, {}]
    assert [r["next_state_sequence_features"] for r in made] == [{7: [{1: 2.0}]}, {7: [{1: 3.0}]}, {}]
    assert [r["slate_reward"] for r in made] == [{0: 1.0}, {0: 2.0}, {0: 3.0}]


# L, R, U, D through states 0, 1, 4, 5, and 6 at the end; the last row only shows where D led, and nothing is possible.
CHAIN = table([
    {"mdp_id": "0", "sequence_number": s, "state_features": [(x, 1.0)], "action": a, "action_probability": p,
     "reward": r, "possible_actions": may}
    for s, x, a, p, r, may in [
        (0, 0, "L", 0.3, 0.0, ["L", "R"]), (1, 1, "R", 0.4, 1.0, ["R", "U"]), (4, 4, "U", 0.5, 4.0, ["U", "D"]),
        (5, 5, "D", 0.6, 5.0, ["D"]), (6, 6, None, None, None, []),
    ]
])  # fmt: skip
GRID = Problem(
    features=tuple(Feature(name=str(x), optional=True) for x in (0, 1, 4, 5, 6)),
    actions=ActionSpace(names=("L", "R", "U", "D")), discount=0.9, horizon=None, reward_range=(0.0, 200.0),
)  # fmt: skip


def where(context: np.ndarray) -> list[int]:
    """The state's place in its one-hot row."""
    return [int(np.flatnonzero(np.nan_to_num(one))[0]) for one in context]


def test_42_one_step():
    """Masks, span 1 3 1, rewards 0 1 4 5, and the end where nothing is possible any more."""
    data = timeline(CHAIN, problem=GRID, rules=Rules(discount_per="sequence"))
    steps = data.load().steps
    assert data.counts["closing"] == 1
    assert steps.action.tolist() == [0, 1, 2, 3] and steps.reward.tolist() == [0.0, 1.0, 4.0, 5.0]
    assert steps.propensity is not None and steps.propensity.tolist() == [0.3, 0.4, 0.5, 0.6]
    assert steps.allowed is not None
    assert steps.allowed.astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert steps.terminated.tolist() == [False, False, False, True]
    assert steps.span is not None and steps.span.tolist() == [1.0, 3.0, 1.0, 1.0]
    one = pairs(steps, np.arange(4), 0.9)
    assert where(one.context) == [0, 1, 2, 3] and where(one.next_context)[:3] == [1, 2, 3]
    assert one.discount == pytest.approx([0.9, 0.9**3, 0.9, 0.0])
    assert one.next_allowed is not None
    assert one.next_allowed.astype(int)[:3].tolist() == [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert one.next_action is not None and one.next_action[:3].tolist() == [1, 2, 3]


def test_42_two_steps():
    """γ = .9 per step: rewards .9, 4.6, 8.5, 5, two steps each but the last, over which nothing is bootstrapped."""
    steps = timeline(CHAIN, problem=GRID).load().steps
    two = pairs(steps, np.arange(4), 0.9, n=2)
    assert two.reward == pytest.approx([0.9, 4.6, 8.5, 5.0], abs=1e-6)
    assert two.discount == pytest.approx([0.81, 0.81, 0.0, 0.0], abs=1e-7)
    assert where(two.next_context)[:2] == [2, 3]
    assert two.next_action is not None and two.next_action[:2].tolist() == [2, 3]


def test_42_a_reward_that_is_an_expression():
    """r³ + 10 gives 10, 11, 74, 135."""
    cubed = Problem(features=GRID.features, actions=GRID.actions, discount=0.9, horizon=None,
                    reward="reward * reward * reward + 10", reward_range=(0.0, 200.0))  # fmt: skip
    data = timeline(CHAIN, problem=cubed, rules=DROP)
    assert data.load().steps.reward.tolist() == [10.0, 11.0, 74.0, 135.0]


def test_43_a_reward_of_three_steps():
    """1 + .9(.2 + .9 · .9) = 1.909."""
    steps = timeline(table(T35), problem=TWO).load().steps
    assert pairs(steps, np.array([0]), 0.9, n=3).reward == pytest.approx([1.909], abs=1e-6)


def test_t6_neighbors_join_across_what_lies_outside_of_ds():
    """Rows outside vanish first: 1 → 12 are neighbors, ordinals 1 and 2; how often is told."""
    days = ["2026-01-01", "2026-01-09", "2026-01-02", "2026-01-03"]
    source = table([dict(one, ds=day) for one, day in zip(T35, days)])
    rules = Rules(ds=("2026-01-01", "2026-01-02"), discount_per="sequence")
    data = timeline(source, problem=TWO, rules=rules)
    steps = data.load().steps
    assert steps.span is not None and steps.span.tolist() == [11.0, 1.0]
    told = ("outside", "joined_across", "cut_short")
    assert [data.counts[name] for name in told] == [2, 1, 1]
    made = out(source, rules=rules)
    assert [(r["sequence_number"], r["ordinal"], r["time_diff"]) for r in made] == [(1, 1, 11), (12, 2, 0)]


def test_a_window_keeps_ordinals_and_what_follows(tmp_path: Path):
    """``within`` is inclusive and applied after neighbors are known: the last row kept still leads on."""
    made = out(table(T35), rules=Rules(within=11), to=tmp_path / "pairs")
    assert [(r["ordinal"], r["time_diff"], r["next_action"]) for r in made] == [
        (1, 10, "action2"), (2, 1, "action1"), (3, 1, "action2"),
    ]  # fmt: skip
    steps = timeline(table(T35), problem=TWO, rules=Rules(within=11)).load().steps
    assert steps.truncated.tolist() == [False, False, True]
    assert steps.final_context is not None and where(steps.final_context) == [3]


def test_only_the_last_row_of_each_episode_is_dropped_when_others_follow():
    """Single-row episodes vanish with their last row, and are counted."""
    source = table([*T1, row(5, {1: 1.0}, "action1", 0.5, 0.0, mdp_id="alone")])
    data = timeline(source, problem=TWO, rules=DROP)
    assert (data.n_episodes, data.counts["closing"], data.counts["lost_rewards"]) == (1, 2, 1)
