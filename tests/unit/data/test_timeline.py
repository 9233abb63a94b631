"""Choices and refusals of the timeline, on tables of a few rows."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.data.dataset import open_dataset
from understudy.data.timeline.dialect import translate
from understudy.data.timeline.draft import draft_table, is_table
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline
from understudy.data.timeline.sql import Query
from understudy.data.timeline.table import assign

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), discount=0.9, horizon=None)
PLAIN = {
    "episode_id": ["e", "e", "e", "f"], "sequence": [0, 1, 2, 0], "x": [0.1, 0.2, 0.3, 0.4],
    "action": ["a", "b", "a", "b"], "propensity": [0.5, 0.5, 0.5, 0.5], "reward": [0.0, 1.0, 0.5, 1.0],
    "possible_actions": [["a", "b"]] * 4,
}  # fmt: skip


def made(changes: dict | None = None, problem: Problem = PROBLEM, **options):
    columns = PLAIN | (changes or {})
    rules = Rules(**{k: options.pop(k) for k in list(options) if k in Rules.__dataclass_fields__})
    return timeline(
        pa.table({k: v for k, v in columns.items() if v is not None}), problem=problem, rules=rules, **options
    )


@pytest.mark.parametrize("changes, said", [
    ({"action": ["a", "z", "z", "b"]}, "2 of 4 rows: the action is not one of the problem's 2.*sequence 1: action=z"),
    ({"possible_actions": [["a"], ["a"], ["a"], ["b"]]}, "1 of 4 rows: the action is not among the possible.*action=b"),
    ({"possible_actions": [["a", "q"], ["b"], ["a"], ["b"]]}, "1 of 4 rows: the possible actions are not among"),
    ({"possible_actions": [["a"], [], ["a"], ["b"]]}, "1 of 4 rows: flagged as the end of an episode that goes on"),
    ({"propensity": [0.5, 0.0, 1.5, 0.5]}, r"2 of 4 rows: the propensity is not in \(0, 1\].*propensity=0"),
    ({"propensity": [0.5, float("nan"), 0.5, 0.5]}, "1 of 4 rows: the propensity is not in"),
    ({"reward": [0.0, float("nan"), 0.5, 1.0]}, "1 of 4 rows: the reward is not finite"),
    ({"reward": [0.0, float("-inf"), 0.5, 1.0]}, "1 of 4 rows: the reward is not finite"),
    ({"reward": [0.0, 1.5, 0.5, 1.0]}, r"1 of 4 rows: the reward is not in \[0.0, 1.0\].*reward=1.5"),
    ({"x": [0.1, float("inf"), 0.3, 0.4]}, "1 of 4 rows: a feature has a value that the problem does not know.*: x"),
    ({"x": [0.1, 1e300, 0.3, 0.4]}, "1 of 4 rows: a feature has a value"),
    ({"x": [0.1, None, 0.3, 0.4]}, "1 of 4 rows: no feature at all"),
    ({"sequence": [0, 1, 1, 0]}, "1 of 4 rows: the next row has the same episode and sequence number"),
    ({"sequence": [0.0, 1.5, 2.0, 0.0]}, "1 of 4 rows: the sequence number is not whole"),
    ({"episode_id": ["e", None, "e", "f"]}, "no episode or no sequence number"),
    ({"action": ["a", None, "a", "b"]}, "1 of 4 rows: no action in the middle of an episode"),
    ({"terminated": [False, True, True, True]}, "1 of 4 rows: flagged as the end of an episode that goes on"),
    ({"terminated": [False, False, False, True]}, "1 of 4 rows: the episode was cut off and the state after"),
])  # fmt: skip
def test_rows_that_break_a_rule_are_refused_with_the_first_of_them(changes, said):
    """How many, which first, and what it says; nothing is written."""
    with pytest.raises(DataError, match=said):
        made(changes)


def test_several_faults_are_all_counted():
    """The first row's fault is told, the others are listed."""
    with pytest.raises(DataError, match="sequence 0: action=z; and of other faults: reward_not_finite 1"):
        made({"action": ["z", "b", "a", "b"], "reward": [0.0, 0.1, float("nan"), 0.0]})


def test_faulty_episodes_can_be_set_aside_whole():
    """Half an episode has another value, so its other rows go with it; every row is kept, with a reason."""
    data = made({"action": ["a", "z", "a", "b"]}, faulty="aside")
    assert (data.n_steps, data.n_episodes, data.counts["quarantined"]) == (1, 1, 3)
    aside = pq.read_table(data.folder / "quarantined.parquet")
    assert aside["fault"].to_pylist() == ["episode_incomplete", "action", "episode_incomplete"]
    assert aside["said_action"].to_pylist() == ["a", "z", "a"]


def test_longer_than_the_horizon_is_refused():
    """The value is defined over so many steps."""
    short = Problem(features=PROBLEM.features, actions=PROBLEM.actions, horizon=2)
    with pytest.raises(DataError, match="1 of 4 rows: the episode is longer than the problem's horizon of 2"):
        made(problem=short)


def test_rewards_on_rows_that_are_no_steps():
    """Refused with number and sum; added to the step before; or discarded, and counted."""
    with pytest.raises(DataError, match=r"2 last rows carry rewards of 1\.5 in sum"):
        made(terminal="drop")
    kept = made({"reward": [0.0, 0.25, 0.5, 0.0]}, terminal="drop", lost_reward="add")
    steps = kept.load().steps
    assert steps.reward.tolist() == [0.0, 0.75] and steps.truncated.tolist() == [False, True]
    assert steps.final_context is not None and steps.final_context[0, 0] == np.float32(0.3)
    assert json.loads((kept.folder / "timeline.json").read_text())["lost_rewards"] == 0.5
    with pytest.raises(DataError, match="1 of 2 such rewards stand in episodes of one row"):
        made(terminal="drop", lost_reward="add")
    with pytest.raises(DataError, match=r"1 of 1 rows: the reward is not in \[0.0, 1.0\].*reward=1.5|reward=1.5"):
        made({"reward": [0.0, 1.0, 0.5, 0.0]}, terminal="drop", lost_reward="add")


def test_flags_decide_how_an_episode_ends():
    """Terminated where flagged; cut where flagged as truncated, with the last row as the state that followed."""
    flags = {"terminated": [False, False, False, True], "truncated": [False, False, True, False]}
    data = made(flags, terminal="drop_truncated", lost_reward="discard")
    steps = data.load().steps
    assert steps.terminated.tolist() == [False, False, True] and steps.truncated.tolist() == [False, True, False]
    assert steps.final_context is not None
    assert np.isnan(steps.final_context[1]).all() and steps.final_context[0, 0] == np.float32(0.3)


@pytest.mark.parametrize("changes, ends", [
    ({}, "truncated"),
    ({"possible_actions": [["a", "b"], ["a", "b"], [], ["a", "b"]]}, "terminated"),
    ({"terminated": [False, True, False, True]}, "terminated"),
    ({"terminated": [False, False, True, True]}, "terminated"),
    ({"truncated": [False, True, False, False]}, "truncated"),
])  # fmt: skip
def test_a_last_row_without_an_action_is_the_state_that_followed(changes, ends):
    """It is no step; the flags, or [] as possible actions, say how the step before it ended."""
    data = made({"action": ["a", "b", None, "b"], "reward": [0.0, 1.0, None, 1.0]} | changes)
    steps = data.load().steps
    assert (steps.n, data.counts["closing"]) == (3, 1)
    assert getattr(steps, ends).tolist()[1]
    final = np.full((2, 1), np.nan) if steps.final_context is None else steps.final_context
    assert np.isnan(final[0, 0]) == (ends == "terminated")


def test_order_gaps_and_short_episodes_are_reported_and_no_fault():
    """Rows are sorted; what was out of order, what is far apart and what is short is counted."""
    order = [2, 0, 1, 3]
    data = made({name: [values[i] for i in order] for name, values in (PLAIN | {"sequence": [0, 5, 6, 0]}).items()})
    assert [data.counts[n] for n in ("shuffled", "gaps", "one_step_episodes")] == [1, 1, 1]
    assert data.load().steps.context[:, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_copies_by_time():
    """first and last go by the time of the copies; without times they are refused."""
    twice = {"sequence": [0, 1, 1, 0], "time": [10, 30, 20, 0]}
    assert made(twice, duplicates="first").load().steps.context[1, 0] == np.float32(0.3)
    assert made(twice, duplicates="last").load().steps.context[1, 0] == np.float32(0.2)
    with pytest.raises(ConfigError, match="needs a column of times"):
        made({"sequence": [0, 1, 1, 0]}, duplicates="first")


def test_gamma_counts_time():
    """Two days at a unit of one day is two exponents; the last step counts as one."""
    data = made({"time": [0, 86_400, 3 * 86_400, 0]}, discount_per="time", per=86_400.0)
    span = data.load().steps.span
    assert span is not None and span.tolist() == [1.0, 2.0, 1.0, 1.0]


def test_times_are_there_and_run_forward():
    """A row without a time would have none in slices; γ^−1 would make later rewards grow."""
    with pytest.raises(DataError, match="1 of 4 rows: no time; first: episode 'e', sequence 1"):
        made({"time": [0.0, None, 2.0, 0.0]})
    with pytest.raises(DataError, match="1 of 4 rows: the next row of the episode has an earlier time"):
        made({"time": [5, 2, 3, 0]}, discount_per="time")
    assert made({"time": [5, 2, 3, 0]}).load().steps.span is None


def test_an_offset_counts():
    """The same moment, as text with and without a zone."""
    said = ["2024-01-01T00:00:00+02:00", "2023-12-31T22:00:01Z", "2023-12-31 22:00:02", "2023-12-31"]
    assert (np.diff(made({"time": said}).load().steps.time)[:2] == 1_000_000).all()


def test_the_state_after_a_cut_is_checked_too():
    """Nobody bootstraps from a gap: a feature that must be there, must be there on a closing row."""
    cut = {"action": ["a", "b", None, "b"], "reward": [0.0, 1.0, None, 1.0], "x": [0.1, 0.2, None, 0.4],
           "y": [1.0, 1.0, 1.0, 1.0]}  # fmt: skip
    problem = PROBLEM.__class__(
        features=(Feature(name="x"), Feature(name="y")), actions=PROBLEM.actions, discount=0.9, horizon=None
    )
    with pytest.raises(DataError, match="1 of 3 rows: the state after the last step of a truncated episode has"):
        made(cut, problem)
    made(cut | {"x": [0.1, 0.2, 0.3, 0.4]}, problem)


def test_a_missing_sequence_number_is_told_within_a_window_too():
    """It is not counted as beyond it."""
    with pytest.raises(DataError, match="no episode or no sequence number"):
        made({"sequence": [0, 1, None, 0]}, within=10)


def test_validation_queries():
    """Exactly one row, all of it true."""
    made(validate=["SELECT count(*) = 4, max(t) = 2 FROM {output}", "SELECT count(*) > 0 FROM {input}"])
    for query, said in [("SELECT count(*) = 5 AS five FROM {output}", "{'five': False}"),
                        ("SELECT t >= 0 FROM {output}", "2 rows or"),
                        ("SELECT true FROM {output} WHERE t > 9", "gave no row"), ("SELECT NULL", "None")]:  # fmt: skip
        with pytest.raises(DataError, match=said):
            made(validate=[query])
    with pytest.raises(ConfigError, match="failed"):
        made(validate=["SELECT nonsense FROM {output}"])


def test_masks_indices_vectors_and_metrics():
    """A 0/1 mask, actions by index, continuous vectors, and a reward from a map of metrics."""
    paid = Problem(features=PROBLEM.features, actions=PROBLEM.actions, discount=0.9, horizon=None,
                   outcomes=(OutcomeSpec(name="sales"), OutcomeSpec(name="cost")), reward="sales - cost",
                   reward_range=(-9.0, 9.0))  # fmt: skip
    metrics = pa.array([[("sales", 3.0), ("cost", 1.0)]] * 3 + [[("sales", 2.0)]], pa.map_(pa.string(), pa.float64()))
    changes = {"reward": None, "metrics": metrics, "action": [0, 1, 0, 1], "possible_actions": None,
               "possible_actions_mask": [[1, 0], [0, 1], [1, 1], [1, 1]]}  # fmt: skip
    steps = made(changes, paid).load().steps
    assert steps.reward.tolist() == [2.0, 2.0, 2.0, 2.0] and steps.action.tolist() == [0, 1, 0, 1]
    assert steps.allowed is not None and steps.allowed[:2].tolist() == [[True, False], [False, True]]
    box = Problem(
        features=PROBLEM.features, actions=ActionSpace(low=(0.0, 0.0), high=(1.0, 1.0)), discount=0.9, horizon=None
    )
    vectors = {"action": [[0.0, 0.5]] * 4, "possible_actions": None, "propensity": [2.5] * 4}
    assert made(vectors, box).load().steps.action.shape == (4, 2)
    with pytest.raises(DataError, match="out of its bounds"):
        made(vectors | {"action": [[0.0, 1.5]] * 4}, box)
    with pytest.raises(DataError, match="1 of 4 rows: the propensities are not 2 probabilities"):
        made({"propensities": [[0.5, 0.5]] * 3 + [[0.5, 0.6]]})


def test_the_same_table_in_any_format(tmp_path):
    """Parquet, CSV, JSON lines and pandas give the same steps."""
    frame = pd.DataFrame(PLAIN)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.assign(possible_actions=[json.dumps(p) for p in PLAIN["possible_actions"]]).to_csv(
        tmp_path / "t.csv", index=False
    )
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(dict(zip(PLAIN, row))) for row in zip(*PLAIN.values())))
    bytes_of = [
        (timeline(source, problem=PROBLEM).folder / "steps.parquet").read_bytes()
        for source in (frame, *(tmp_path / f"t.{kind}" for kind in ("parquet", "csv", "jsonl")))
    ]
    assert len(set(bytes_of)) == 1
    assert all(is_table(tmp_path / f"t.{kind}") for kind in ("parquet", "csv", "jsonl"))
    problem, _ = draft_table(tmp_path / "t.csv")
    assert (problem.features, problem.actions, problem.unit) == (PROBLEM.features, PROBLEM.actions, "episode")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_path_is_no_pattern(tmp_path, suffix):
    """``run[1]`` must not be read from ``run1``, which a pattern of that text matches."""
    for folder, x in (("run1", 1.0), ("run[1]", 2.0), ("a*?'b", 3.0)):
        (tmp_path / folder).mkdir()
        row = pd.DataFrame({"episode_id": ["e"], "sequence": [0], "x": [x], "action": ["a"], "reward": [0.0]})
        file = tmp_path / folder / f"d.{suffix}"
        if suffix == "jsonl":
            row.to_json(file, orient="records", lines=True)
        else:
            row.to_parquet(file) if suffix == "parquet" else row.to_csv(file, index=False)
        data = timeline([file], problem=PROBLEM, to=tmp_path / folder / "data")
        assert data.load().steps.context.item() == x
        assert data.manifest.counts["one_step_episodes"] == 1


def test_a_dataset_like_any_other(tmp_path):
    """It opens, splits by episode, and is done only once."""
    data = made(to=tmp_path / "data")
    again = open_dataset(tmp_path / "data")
    assert again.rules is None and again.fingerprint == data.fingerprint == made(to=tmp_path / "data").fingerprint
    halves = again.split({"a": 0.5, "b": 0.5})
    assert sum(half.n_steps for half in halves.values()) == 4
    assert sum(half.n_episodes for half in halves.values()) == 2


@pytest.mark.parametrize("dialect", ["duckdb", "spark", "trino"])
def test_the_text_in_other_words(dialect):
    """No function that only DuckDB knows is left, and a lead is in parentheses before anything is taken off it."""
    types = {
        "episode_id": "VARCHAR",
        "sequence": "BIGINT",
        "time": "TIMESTAMP",
        "state_features": "MAP(VARCHAR, DOUBLE)",
    }
    types |= {"action": "VARCHAR", "reward": "DOUBLE", "possible_actions": "VARCHAR[]"}
    query = Query(PROBLEM, assign(types, PROBLEM), Rules(within=3, discount_per="time", duplicates="last"))
    made_ = translate(query.steps(), dialect)
    assert ("MAP_EXTRACT_VALUE" in made_) == ("EPOCH_US" in made_) == (dialect == "duckdb")
    assert "ELEMENT_AT" in made_ or dialect == "duckdb"


def test_settings_that_contradict_the_table():
    """A column that is not there, a role nobody knows, a choice nobody has."""
    with pytest.raises(ConfigError, match="unknown column for sequence 'nr'"):
        made(columns={"sequence": "nr"})
    with pytest.raises(ConfigError, match="unknown role"):
        made(columns={"sequel": "x"})
    with pytest.raises(ConfigError, match="unknown terminal 'hold'"):
        Rules(terminal="hold")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no column for episode"):
        made({"episode_id": None})
    with pytest.raises(ConfigError, match="a range of ds needs a column"):
        made(ds=("a", "b"))
