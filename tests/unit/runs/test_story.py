"""The story of a loop is that of its ledger, its datasets and its world; its curves are arithmetic."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.data.home import Home
from understudy.ops.intervals import clopper_pearson
from understudy.runs.client import joined
from understudy.runs.course import open_course
from understudy.runs.experiment import clean
from understudy.runs.loop import LoopResult, run_loop
from understudy.runs.loop_settings import problem_of, settings
from understudy.runs.story import arm, curve, earned, marks, story, stretches, world_marks, write_story
from understudy.serve.local import LocalService


class Ran(NamedTuple):
    home: Path
    result: LoopResult


def loop(home: Path, **given: Any) -> LoopResult:
    made = settings({"experiment": "e", "client": {"env": "digits", "batch": 25}, "loops": 2, "size": 150,
                     "guardrail": {"every": 100}} | given)  # fmt: skip
    with LocalService(home, made.alias, problem=problem_of(made), client_times=True, poll=0.02) as service:
        return run_loop(made, home=home, service=service)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = tmp_path_factory.mktemp("story") / "home"
    return Ran(home, loop(home))


def test_a_rolling_curve_is_the_mean_of_what_came_before() -> None:
    """At every point by hand; the band of one seed of 0/1 rewards is the exact binomial interval."""
    reward = (np.random.default_rng(0).random(500) < 0.3).astype(float)
    made = curve("c", "arm", [reward], window=100)
    assert (made.at[0], made.at[-1], made.overall) == (100, 500, reward.mean())
    assert list(made.mean) == pytest.approx([reward[end - 100 : end].mean() for end in made.at])
    low, high = clopper_pearson(reward[400:].sum(), 100, 0.95)
    assert (made.low[-1], made.high[-1]) == (low, high)


def test_the_band_of_other_rewards_is_a_jackknife_interval() -> None:
    """Of a mean it is the t interval, up to the correction for skewness."""
    reward = np.random.default_rng(1).normal(0, 2, 300)
    made = curve("c", "arm", [reward], window=100)
    half = 1.984 * reward[200:].std(ddof=1) / 10
    assert made.high[-1] - made.mean[-1] == pytest.approx(half, rel=0.1)
    assert made.mean[-1] - made.low[-1] == pytest.approx(half, rel=0.1)


def test_several_seeds_are_averaged_with_their_spread() -> None:
    """The mean over seeds, between their 10th and 90th percentile; cut to the shortest."""
    rewards = [np.full(300 + seed, seed / 10) for seed in range(11)]
    made = arm("many", rewards)
    assert (made.seeds, made.decisions, made.mean) == (11, 300, pytest.approx(0.5))
    assert (made.curve.mean[-1], made.curve.low[-1], made.curve.high[-1]) == pytest.approx((0.5, 0.1, 0.9))
    assert (made.last, made.last_n) == (pytest.approx(0.5), 300)
    with pytest.raises(ConfigError, match="made no decision"):
        arm("none", [])


def test_what_was_earned_is_what_the_world_paid(ran: Ran) -> None:
    """Every decision of every turn, once and in order, as the client saw it."""
    course = open_course(ran.home, "e")
    assert earned(course).tolist() == joined(ran.result.driven).reward.tolist()


def test_the_marks_are_those_of_the_contexts_that_came(ran: Ran) -> None:
    """Asked again without the loop, the world shows the same contexts: the same best constant, to the bit."""
    course = open_course(ran.home, "e")
    assert world_marks(course, 300) == marks([joined(ran.result.driven)])
    assert stretches(300, 150, 100) == [(0, 100), (100, 50), (150, 100), (250, 50)]


def test_the_story_of_an_experiment(ran: Ran) -> None:
    """Turns, changes, names and marks, from the ledger alone."""
    told = story(ran.home, ["e"])
    (only,) = told.arms
    assert only.rows == ran.result.rows
    assert only.mean == pytest.approx(ran.result.mean_reward)
    history = Home(ran.home).ledger.history("production")
    assert [(c.kind, c.policy) for c in only.changes] == [(p.kind, p.policy) for p in history]
    assert set(told.names.values()) >= {"the first policy", "direct 1, from 80\u202f%", "direct 1"}
    assert [mark.role for mark in told.marks] == ["oracle", "constant"]
    assert told.marks[0].overall == 1.0


def test_two_loops_are_two_curves_and_two_problems_are_refused(ran: Ran) -> None:
    """Gate on beside gate off; but never two rewards on one axis."""
    loop(ran.home, experiment="off", alias="other", gate="off", loops=1)
    loop(ran.home, experiment="noisy", alias="third", loops=1, client={"env": "bandit", "batch": 25})
    told = story(ran.home, ["e", "off"])
    assert [a.name for a in told.arms] == ["e", "off"]
    assert "gate off" in told.arms[1].description and "gate on" in told.arms[0].description
    with pytest.raises(ConfigError, match="different problems"):
        story(ran.home, ["e", "noisy"])


def test_the_report_is_written_beside_no_artifact(ran: Ran, tmp_path: Path) -> None:
    """A page for people; and an error where it would mix with an artifact's files, or where nobody started."""
    page = write_story(ran.home, ["e"], to=tmp_path / "story")
    assert "<h1>e earned" in page.read_text()
    with pytest.raises(StoreError, match="holds a dataset"):
        write_story(ran.home, ["e"], to=ran.home / "experiments/e/data/1")
    with pytest.raises(StoreError, match="no experiment 'f'"):
        story(ran.home, ["f"])


def test_a_cleaned_experiment_says_why_it_has_no_story(tmp_path: Path) -> None:
    """Its datasets are gone; that is said, and what to do in time."""
    loop(tmp_path, loops=1)
    clean(tmp_path, "e")
    with pytest.raises(StoreError, match="are gone"):
        story(tmp_path, ["e"])
