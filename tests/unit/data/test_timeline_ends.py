"""How an episode ends where rows of it are left out: never as if the world had ended it, and no reward goes unsaid."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline
from understudy.data.timeline.transitions import transitions

PROBLEM = Problem(
    features=(Feature(name="x", optional=True), Feature(name="y", optional=True)),
    actions=ActionSpace(names=("a", "b")), discount=0.9, horizon=None, reward_range=(-10.0, 10.0),
)  # fmt: skip
ONE = {
    "episode": ["e"] * 4, "sequence": [0, 1, 2, 3], "x": [0.0, 1.0, 2.0, 3.0], "y": [1.0] * 4,
    "action": ["a", "b", "a", "b"], "reward": [1.0, 2.0, 4.0, 8.0], "ds": ["1", "2", "3", "4"],
}  # fmt: skip


def made(changes: dict | None = None, problem: Problem = PROBLEM, **rules):
    columns = {name: values for name, values in (ONE | (changes or {})).items() if values is not None}
    return timeline(pa.table(columns), problem=problem, rules=Rules(**rules))


def ends(data) -> tuple[list[bool], list[bool], list[float]]:
    steps = data.load().steps
    final = np.full(steps.m, np.nan) if steps.final_context is None else steps.final_context[:, 0]
    return steps.terminated.tolist(), steps.truncated.tolist(), final.tolist()


@pytest.mark.parametrize("terminal", ["keep", "drop"])
def test_an_episode_that_goes_on_after_ds_is_truncated(terminal):
    """The row after the range is known, so it is the final context; it is no step, and its reward is nobody's."""
    data = made(ds=("1", "2"), terminal=terminal)
    assert ends(data) == ([False, False], [False, True], [2.0])
    assert data.load().steps.reward.tolist() == [1.0, 2.0]
    assert (data.counts["outside"], data.counts["cut_short"]) == (2, 1)
    whole = made(ds=("1", "4"), terminal=terminal, lost_reward="discard")
    assert ends(whole)[0][-1] == (terminal == "keep")


def test_what_closes_after_ds_tells_how_the_episode_ended():
    """Nothing possible any more in the row after it: the world ended it, whatever the day."""
    over = {"action": ["a", "b", "a", None], "possible_actions": [["a", "b"]] * 3 + [[]]}
    assert ends(made(over | {"reward": [1.0, 2.0, 4.0, None]}, ds=("1", "3")))[0] == [False, False, True]
    assert ends(made(over | {"reward": [1.0, 2.0, 4.0, None]}, ds=("1", "2")))[1] == [False, True]
    flagged = {"truncated": [False] * 4}
    assert ends(made(flagged, ds=("1", "3"))) == ([False] * 3, [False, False, True], [3.0])
    flagged = {"terminated": [False, False, False, True]}
    assert ends(made(flagged, ds=("1", "3"))) == ([False] * 3, [False, False, True], [3.0])


def test_the_row_after_ds_must_be_one_row():
    """Two of one key would both be the state that followed."""
    with pytest.raises(DataError, match="1 of 2 rows: the next row has the same episode and sequence number"):
        made({"sequence": [0, 1, 2, 2]}, ds=("1", "2"))


def test_the_window_cuts_as_ds_does():
    """With no flags, with flags, and with a final row that closes."""
    assert ends(made(within=1)) == ([False, False], [False, True], [2.0])
    assert ends(made({"truncated": [False] * 4}, within=1))[1] == [False, True]
    closed = {"action": ["a", "b", "a", None], "truncated": [False] * 4, "reward": [1.0, 2.0, 4.0, 0.0]}
    assert ends(made(closed, within=2))[0] == [False, False, True]  # not flagged as cut, and nothing more to decide


def test_a_reward_beyond_the_window_is_not_added():
    """lost_reward=add adds what stands on a closing row inside of it."""
    closed = {"action": ["a", "b", "a", None]}
    paid = closed | {"reward": [1.0, 2.0, 4.0, 3.0]}
    assert made(paid, lost_reward="add").load().steps.reward.tolist() == [1.0, 2.0, 7.0]
    data = made(paid, lost_reward="add", within=2)
    assert data.load().steps.reward.tolist() == [1.0, 2.0, 4.0]
    assert (data.counts["beyond"], data.counts["closing"]) == (1, 0)
    source = pa.table(ONE | {"reward": [1.0, 2.0, 4.0, 3.0]})
    for within, rewards in ((2, [1.0, 2.0, 4.0]), (3, [1.0, 2.0, 7.0])):
        rules = Rules(terminal="drop", lost_reward="add", within=within)
        for problem in (None, PROBLEM):
            path = transitions(source, problem=problem, rules=rules)
            assert pq.read_table(path)["reward"].to_pylist() == rewards


GONE = {"x": [0.0, 1.0, 2.0, None], "y": [1.0, 1.0, 1.0, None]}


def test_a_last_decision_without_a_state_is_not_the_end():
    """What followed the step before it is not known: told, or set aside; its reward is refused first."""
    with pytest.raises(DataError, match=r"1 rewards of 8 in sum .* without a state .* last.*first: episode 'e'"):
        made(GONE, null_states="drop")
    with pytest.raises(DataError, match="earned by a decision that is left out"):
        made(GONE, null_states="drop", lost_reward="add")
    with pytest.raises(DataError, match=r"1 of 3 rows: .* without a state, which are left out"):
        made(GONE, null_states="drop", lost_reward="discard")
    two = {name: [*values, *values] for name, values in (ONE | GONE).items()} | {"episode": ["e"] * 4 + ["f"] * 4}
    two |= {"x": [*GONE["x"], 5.0, 6.0, 7.0, 8.0], "y": [*GONE["y"], *[1.0] * 4]}
    data = made(two, null_states="drop", lost_reward="discard", faulty="aside")
    assert (data.n_steps, data.counts["quarantined"], data.counts["cut_stateless"]) == (4, 3, 1)
    assert data.counts["null_state_rewards"] == 1
    notes = json.loads((data.folder / "timeline.json").read_text())
    assert notes["null_state_rewards"] == 8.0


def test_the_last_state_closes_where_a_last_row_may():
    """--terminal drop: the last row that has a state is the state that followed, and the episode was cut there."""
    data = made(GONE | {"reward": [1.0, 2.0, 0.0, 0.0]}, null_states="drop", terminal="drop")
    assert ends(data) == ([False, False], [False, True], [2.0])


def test_an_end_flagged_before_it_is_one():
    """The step itself is flagged: what follows it does not matter."""
    flags = {"terminated": [False, False, True, False], "reward": [1.0, 2.0, 4.0, 0.0]}
    assert ends(made(GONE | flags, null_states="drop"))[0] == [False, False, True]


def test_a_closing_row_without_a_state_is_no_decision_and_stays():
    """It says how its episode ended, and what that paid."""
    closing = GONE | {"action": ["a", "b", "a", None], "terminated": [False, False, False, True]}
    with pytest.raises(DataError, match=r"1 last rows carry rewards of 8 in sum"):
        made(closing, null_states="drop")
    data = made(closing | {"reward": [1.0, 2.0, 4.0, 5.0]}, null_states="drop", lost_reward="add")
    assert ends(data)[0] == [False, False, True] and data.load().steps.reward.tolist() == [1.0, 2.0, 9.0]
    assert (data.counts["closing"], data.counts["null_states"]) == (1, 0)
    with pytest.raises(DataError, match="the state after its last step is not logged"):
        made(closing | {"terminated": None, "truncated": [False, False, False, True]}, null_states="drop",
             lost_reward="discard")  # fmt: skip


def test_blank_rows_in_the_middle_go():
    """Neither a state nor an action, and not the last."""
    blank = {"x": [0.0, None, 2.0, 3.0], "y": [1.0, None, 1.0, 1.0], "action": ["a", None, "a", "b"]}
    data = made(blank | {"reward": [1.0, 0.0, 4.0, 8.0]}, null_states="drop")
    assert (data.n_steps, data.counts["null_states"]) == (3, 1)


def test_an_episode_has_one_unit():
    """Its rows would count as independent of themselves."""
    with pytest.raises(
        DataError, match="1 of 4 rows: the next row of the episode has another unit; first: episode 'e'"
    ):
        made({"unit_id": ["u", "u", "v", "v"]})
    assert made({"unit_id": ["u"] * 4}).n_steps == 4


def test_a_state_that_followed_has_a_time_where_time_counts():
    """A span that nobody logged is not 1."""
    times = {"action": ["a", "b", "a", None], "time": [0.0, 10.0, 20.0, None], "reward": [1.0, 2.0, 4.0, 0.0]}
    with pytest.raises(DataError, match=r"1 of 3 rows: the next row of the episode has no time; first: .* sequence 2"):
        made(times, discount_per="time")
    over = times | {"terminated": [False, False, False, True]}
    assert made(over, discount_per="time").n_steps == 3  # nothing is discounted after the end


def test_copies_of_one_moment_are_not_told_apart():
    """first and last by time, and the times are equal: a choice between them would be arbitrary."""
    twice = {"sequence": [0, 1, 1, 2], "time": [10, 20, 20, 30]}
    for which in ("first", "last"):
        with pytest.raises(DataError, match="1 keys have rows that differ and the same time"):
            made(twice, duplicates=which)
    same = {"sequence": [0, 1, 1, 2], "time": [10, 20, 20, 30], "x": [0.0, 1.0, 1.0, 2.0],
            "reward": [1.0, 2.0, 2.0, 4.0], "action": ["a", "b", "b", "a"], "ds": ["1"] * 4}  # fmt: skip
    assert made(same, duplicates="last").n_steps == 3


def test_the_mask_of_the_state_that_followed():
    """From the row after the cut; what a truncated episode could do next is not what it could do last."""
    may = {"possible_actions": [["a", "b"], ["b"], ["a"], ["a", "b"]]}
    steps = made(may, within=1).load().steps
    assert steps.final_allowed is not None and steps.final_allowed.tolist() == [[True, False]]
    steps = made(may, ds=("1", "2")).load().steps
    assert steps.final_allowed is not None and steps.final_allowed.tolist() == [[True, False]]
    assert made(may).load().steps.final_allowed is None


def test_a_mask_that_bars_everything_is_an_end():
    """As an empty list of possible actions is: nothing could be done any more."""
    closing = {"action": ["a", "b", "a", None], "reward": [1.0, 2.0, 4.0, 0.0]}
    data = made(closing | {"mask": [[1, 1], [0, 1], [1, 0], [0, 0]]})
    assert ends(data)[0] == [False, False, True]
    steps = made(closing | {"mask": [[1, 1], [0, 1], [1, 0], [0, 1]]}).load().steps
    assert steps.truncated[-1] and steps.final_allowed is not None and steps.final_allowed.tolist() == [[False, True]]
