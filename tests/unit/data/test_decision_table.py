"""Steps as a table of decisions: every format says the same, to the last bit."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import Steps
from understudy.data.decision_table import FORMATS, decision_table, write_table
from understudy.data.timeline.run import timeline
from understudy.envs.cartpole import cartpole
from understudy.envs.pendulum import pendulum
from understudy.envs.rollout import episodes
from understudy.models.box import UniformBox
from understudy.models.policies import Uniform

START, GAP = 1_767_225_600_000_000, 10_000_000


def _log() -> Steps:
    return episodes(cartpole(steps=15), Uniform(2), 40, seed=3, start_time=START, interval=GAP)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_reads_back_as_it_was(tmp_path: Path, ending: str) -> None:
    """Contexts to the last bit of their float32; names, ends and times; one row more per truncated episode."""
    log, problem = _log(), cartpole().problem
    file = write_table(decision_table(log, problem, prefix="x", policy_id="p"), tmp_path / f"log{ending}")
    query = f"SELECT *, CAST(time AS TIMESTAMP) AS moment FROM '{file}' ORDER BY episode_id, sequence_number"
    rows = duckdb.sql(query).fetchnumpy()
    acted = ~np.ma.getmaskarray(rows["action"]) & np.array([bool(a) for a in np.ma.filled(rows["action"], "")])
    assert int((~acted).sum()) == int(log.truncated.sum()) > 0 and acted.sum() == log.n
    for j, name in enumerate(problem.feature_names):
        told = np.asarray(rows[name], np.float32)
        assert (told[acted] == log.context[:, j]).all()
        assert log.final_context is not None
        assert (told[~acted] == log.final_context[np.isfinite(log.final_context[:, j]), j]).all()
    assert (rows["action"][acted] == np.array(["left", "right"])[log.action]).all()
    assert (rows["propensity"][acted] == log.propensity).all() and (rows["reward"][acted] == log.reward).all()
    for name in ("terminated", "truncated"):
        assert (rows[name][acted] == getattr(log, name)).all() and not rows[name][~acted].any()
    lengths = np.diff(log.starts)
    assert (rows["episode_id"][acted] == np.repeat([f"x-{i:06d}" for i in range(40)], lengths)).all()
    assert (rows["sequence_number"][acted] == np.concatenate([np.arange(n) for n in lengths])).all()
    assert (rows["sequence_number"][~acted] == 15).all() and set(rows["policy_id"]) == {"p"}
    assert (rows["moment"].astype("datetime64[us]").astype(np.int64)[acted] == log.time).all()
    assert {str(day)[:10] for day in rows["ds"]} == {"2026-01-01"}


def test_equal_logs_give_equal_bytes(tmp_path: Path) -> None:
    """In every format."""
    for ending in FORMATS:
        made = [write_table(decision_table(_log(), cartpole().problem), tmp_path / f"{i}{ending}") for i in (0, 1)]
        assert made[0].read_bytes() == made[1].read_bytes()


def test_a_day_never_cuts_an_episode() -> None:
    """``ds`` is the day on which it began, also past midnight."""
    clock = {"start_time": START, "interval": 8 * 3600 * 10**6}
    log = episodes(pendulum(steps=4), UniformBox((-2.0,), (2.0,)), 3, seed=0, width=1, **clock)
    table = decision_table(log, pendulum().problem).to_pydict()
    days = {}
    for episode, day in zip(table["episode_id"], table["ds"]):
        days.setdefault(episode, set()).add(day)
    assert [len(day) for day in days.values()] == [1, 1, 1] and len(set().union(*days.values())) > 1
    assert max(moment.day for moment in table["time"]) > 1


def _steps(**columns: object) -> Steps:
    return Steps(
        starts=np.array([0, 2]),
        unit=np.array([1], np.uint64),
        time=np.array([0, 5]),
        reward=np.zeros(2),
        terminated=np.array([False, True]),
        truncated=np.zeros(2, bool),
        **columns,  # type: ignore[arg-type]
    )


def test_categories_gaps_masks_and_clashes() -> None:
    """Names of categories, true and false, null where missing; what was possible; a feature called like a column."""
    features = (
        Feature(name="reward", optional=True),
        Feature(name="kind", kind="category", values=("u", "v"), open=True),
        Feature(name="on", kind="boolean", optional=True),
    )
    problem = Problem(features=features, actions=ActionSpace(names=("a", "b")), horizon=5, unit="episode")
    context = np.array([[np.nan, 1, 1], [2.5, 2, np.nan]], np.float32)
    allowed = np.array([[True, True], [False, True]])
    table = decision_table(_steps(context=context, action=np.array([0, 1], np.int32), allowed=allowed), problem)
    told = table.to_pydict()
    assert told["context.reward"] == [None, 2.5] and told["kind"] == ["v", "(other)"] and told["on"] == [True, None]
    assert told["possible_actions"] == [["a", "b"], ["b"]] and told["reward"] == [0.0, 0.0]


def test_vectors_need_a_format_that_holds_lists(tmp_path: Path) -> None:
    """One dimension is a number in any format."""
    problem = Problem(
        features=(Feature(name="x"),), actions=ActionSpace(low=(0.0, 0.0), high=(1.0, 1.0)), horizon=5, unit="episode"
    )
    action = np.array([[0.25, 0.5], [0.75, 1.0]], np.float32)
    table = decision_table(_steps(context=np.zeros((2, 1), np.float32), action=action), problem)
    with pytest.raises(ConfigError, match="no lists"):
        write_table(table, tmp_path / "x.csv")
    file = write_table(table, tmp_path / "x.jsonl")
    assert duckdb.sql(f"SELECT action FROM '{file}'").fetchall() == [([0.25, 0.5],), ([0.75, 1.0],)]
    with pytest.raises(ConfigError, match="ends in none"):
        write_table(table, tmp_path / "x.xls")


def test_what_could_be_done_after_a_cut_goes_there_and_comes_back(tmp_path):
    """The mask of the state that followed; where it is not known the table says nothing: everything could be done."""
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), discount=0.9, horizon=None)
    steps = Steps(
        starts=np.array([0, 2, 3]), unit=np.arange(2, dtype=np.uint64), time=np.arange(3) * 10**6,
        context=np.array([[0.0], [1.0], [2.0]], np.float32), action=np.array([0, 1, 0], np.int32),
        reward=np.array([0.0, 1.0, 0.5]), terminated=np.array([False, False, True]),
        truncated=np.array([False, True, False]), allowed=np.array([[True, True], [False, True], [True, False]]),
        propensity=np.full(3, 0.5), final_context=np.array([[7.0], [np.nan]], np.float32),
    )  # fmt: skip
    for known in (None, np.array([[True, False], [True, True]])):
        told = decision_table(steps.with_(final_allowed=known), problem)
        back = timeline(told, problem=problem).load().steps
        expected = np.ones((2, 2), bool) if known is None else known
        assert back.final_allowed is not None and (back.final_allowed == expected).all()
        assert back.allowed is not None and (back.allowed == steps.allowed).all()
        in_parts = [part.final_allowed for part in timeline(told, problem=problem, to=tmp_path / str(known)).scan(1)]
        assert (np.concatenate(in_parts) == expected).all()  # type: ignore[arg-type]
