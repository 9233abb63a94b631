"""The simulated application against a real service in this process."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.service import Logged
from understudy.data.eventlog import open_event_log
from understudy.data.home import Home
from understudy.envs.bandit import bandit
from understudy.envs.drift import drift
from understudy.runs.client import Delivery, Driven, drive, joined
from understudy.serve.local import LocalService


def run(home: Path, env, n: int, **options) -> tuple[Driven, list]:
    """What was driven, and the log it left."""
    with LocalService(home, "app", problem=env.problem, client_times=True, poll=0) as service:
        driven = drive(env, service, n, **({"seed": 1} | options))
    log = open_event_log(Home(home).log("app"), None)
    entries, _ = log.read({}, 100_000)
    log.close()
    return driven, entries


def test_decisions_and_rewards_are_in_the_log_as_they_were_made(tmp_path: Path) -> None:
    """Contexts, ids, simulated times, actions and rewards: what was driven is what was written down."""
    env = bandit(k=3, d=2, missing=0.2, blocked=0.3)
    driven, entries = run(tmp_path, env, 60)
    decisions = [msgspec.json.decode(e.body, type=Logged) for e in entries if e.kind == "decision"]
    outcomes = {o["decision_id"]: o for o in (msgspec.json.decode(e.body) for e in entries if e.kind == "outcome")}
    assert [d.decision_id for d in decisions] == [f"d-{i}" for i in range(60)]
    assert np.diff([float(d.time) for d in decisions]) == pytest.approx(10.0)
    assert [env.problem.actions.names.index(str(d.action)) for d in decisions] == driven.action.tolist()
    assert [d.propensity for d in decisions] == driven.propensity.tolist()
    assert [outcomes[d.decision_id]["value"] for d in decisions] == driven.reward.tolist()
    assert any(d.allowed for d in decisions) and all(str(d.action) in d.allowed for d in decisions if d.allowed)
    assert any(len(d.context) < 3 for d in decisions)  # what nobody recorded is not sent


def test_what_could_have_been_earned(tmp_path: Path) -> None:
    """The oracle is the mean of the best expected rewards; the best constant the largest mean of any one action."""
    env = drift(rewards="exact", period=50)
    driven, _ = run(tmp_path, env, 100)
    assert driven.oracle.mean() == pytest.approx(0.69, abs=0.06)
    assert (driven.reward <= driven.oracle + 1e-12).all()
    name, value = driven.best_constant
    assert value == driven.constant.mean(0).max()
    took = driven.action == env.problem.actions.names.index(name)
    np.testing.assert_allclose(driven.reward[took], driven.constant[took, env.problem.actions.names.index(name)])


def test_the_rolling_mean() -> None:
    """Of the last two: 1, (1+0)/2, (0+1)/2, (1+1)/2."""
    reward = np.array([1.0, 0.0, 1.0, 1.0])
    driven = Driven(("a",), np.zeros(4, np.int32), np.ones(4), reward, reward, reward[:, None], ("p",) * 4)
    assert driven.rolling(2).tolist() == [1.0, 0.5, 0.5, 1.0]


def test_rewards_come_late_twice_out_of_order_and_for_nobody(tmp_path: Path) -> None:
    """Shares are as asked, the log holds no duplicate, and some reward overtakes that of an earlier decision."""
    how = Delivery(delay=300, duplicates=0.3, orphans=0.2, lost=0.1)
    driven, entries = run(tmp_path, drift(), 1_000, delivery=how, batch=50)
    # Binomial with n = 1,000: five standard deviations; chance of a false alarm 2e-6.
    for what, share in (("lost", 0.1), ("duplicates", 0.27), ("orphans", 0.2)):
        assert abs(driven.sent[what] - 1_000 * share) < 5 * np.sqrt(1_000 * share * (1 - share)), what
    assert driven.sent["outcomes"] + driven.sent["lost"] == 1_000
    told = [msgspec.json.decode(e.body) for e in entries if e.kind == "outcome"]
    assert len(told) == driven.sent["outcomes"] + driven.sent["orphans"]
    times = [o["time"] for o in told]
    assert times == sorted(times)
    order = [int(o["decision_id"].rsplit("-", 1)[1]) for o in told]
    assert order != sorted(order)
    assert sum("nobody" in o["decision_id"] for o in told) == driven.sent["orphans"]
    at = {e.key: e.seq for e in entries}
    first = next(e.seq for e in entries if e.kind == "outcome")
    assert first < at["d-999"]  # rewards come between decisions, not only at the end


@pytest.mark.parametrize("spread", ["fixed", "exponential", "lognormal"])
def test_delays_have_the_mean_that_was_asked_for(spread: str) -> None:
    """Mean of 200,000: the lognormal's standard deviation is 1.31 means, so five standard errors are 0.015."""
    drawn = Delivery(delay=60, spread=spread).delays(200_000, np.random.default_rng(0)) / 1e6
    assert drawn.mean() == pytest.approx(60, rel=0.015)
    assert (drawn >= 0).all()


def test_a_run_in_two_parts_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Ids, times and the drifting world continue; what was not due is sent by the second part; nothing twice."""
    env, how = drift(period=30, rewards="exact"), Delivery(delay=100, spread="fixed")
    with LocalService(tmp_path, "app", problem=env.problem, client_times=True, poll=0) as service:
        first = drive(env, service, 40, seed=1, delivery=how, flush=False)
        assert len(first.waiting) == 10  # 100 s at one decision in 10 s
        second = drive(env, service, 40, seed=1, first=40, delivery=how, waiting=first.waiting)
        counts = service.status()["counts"]
    assert (counts["decisions"], counts["rewards"], counts["rewards_repeated"]) == (80, 80, 0)
    whole = joined([first, second])
    assert whole.n == 80 and whole.sent["outcomes"] == 80
    later = env.means_at(60)
    for reward, action in zip(second.reward[20:], second.action[20:]):  # decisions 60 to 79 live in the third world
        assert np.isclose(later[:, action], reward).any()


def test_whoever_was_interrupted_may_begin_again(tmp_path: Path) -> None:
    """The same arguments ask for the same decisions, and get the same answers."""
    env = bandit()
    with LocalService(tmp_path, "app", problem=env.problem, client_times=True, poll=0) as service:
        drive(env, service, 20, seed=1)
        again = drive(env, service, 30, seed=1)
        assert service.status()["counts"]["decisions"] == 30
        assert service.status()["counts"]["rewards"] == 30
    once, _ = run(tmp_path / "other", env, 30)
    assert again.action.tolist() == once.action.tolist()
    assert again.reward.tolist() == once.reward.tolist()


def test_asked_one_by_one_or_in_batches_nothing_changes_but_the_requests(tmp_path: Path) -> None:
    """In a world without noise the same contexts meet the same randomness of the service."""
    env = drift(rewards="exact")
    single, _ = run(tmp_path / "a", env, 50)
    batched, _ = run(tmp_path / "b", env, 50, batch=20)
    assert single.action.tolist() == batched.action.tolist()
    assert single.reward.tolist() == batched.reward.tolist()


@pytest.mark.parametrize("wrong", [{"spread": "sudden"}, {"delay": -1}, {"lost": 1.5}, {"duplicates": float("nan")}])
def test_deliveries_that_cannot_be_are_refused(wrong: dict) -> None:
    """Each with the field that is wrong."""
    with pytest.raises(ConfigError) as caught:
        Delivery(**wrong)
    assert caught.value.field == next(iter(wrong))
