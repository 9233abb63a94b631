"""Datasets: the same protocol, slices and lineage over memory and over a folder; raw events survive the whole chain."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, EvidenceError, StoreError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.protocols import LoggedDataset
from understudy.core.steps import Steps, bandit_steps, concat
from understudy.data.dataset import MemoryDataset, decision_hashes, open_dataset, overlap
from understudy.data.events import write_events
from understudy.data.ingest import ingest
from understudy.data.join import join
from understudy.data.log import open_log
from understudy.testing.cast import TINY, Table, tiny_bandit

BEHAVIOR = Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)))
START = 1_700_000_000_000_000


def timed(steps: Steps) -> Steps:
    return steps.with_(time=START + np.arange(steps.n) * 1_000_000)


def chain(steps: Steps, problem: Problem, tmp_path, **how):
    """Steps → raw events → log → dataset."""
    files = write_events(steps, problem, tmp_path / "events", **how)
    log = ingest(list(files), problem=problem, to=tmp_path / "log")
    return join(log, window="1m", as_of="2030-01-01", to=tmp_path / "data")


def same(a: Steps, b: Steps, *names: str) -> None:
    for name in names:
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name


RICH = Problem(
    features=(
        Feature(name="time"),  # the name of a field, on purpose
        Feature(name="flag", kind="boolean", optional=True),
        Feature(name="city", kind="category", values=("oslo", "rome"), open=True),
    ),
    actions=ActionSpace(names=("1", "0", "quoted \" name ' é")),
    outcomes=(OutcomeSpec(name="revenue", aggregate="sum"), OutcomeSpec(name="clicks", aggregate="max", default=0.0)),
    reward="revenue - 0.25 * clicks",
    reward_range=(-5.0, 5.0),
    unit="unit",
)


def rich(n: int, seed: int) -> Steps:
    rng = np.random.default_rng(seed)
    context = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 3, n)]).astype(np.float32)
    context[rng.random(n) < 0.3, 1] = np.nan
    allowed = rng.random((n, 3)) < 0.7
    allowed[np.arange(n), rng.integers(0, 3, n)] = True
    p = allowed * rng.random((n, 3)) + 1e-3 * allowed
    p /= p.sum(1, keepdims=True)
    action = (p.cumsum(1) < rng.random(n)[:, None]).sum(1).clip(max=2)
    outcomes = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n)])
    outcomes[rng.random((n, 2)) < 0.4] = np.nan
    reward = np.nan_to_num(outcomes[:, 0]) - 0.25 * np.nan_to_num(outcomes[:, 1])
    return timed(bandit_steps(
        context, action, reward, p[np.arange(n), action], allowed=allowed, propensities=p, outcomes=outcomes,
        unit=rng.integers(0, 20, n),
    ))  # fmt: skip


@pytest.mark.parametrize("iso_time", [False, True])
def test_events_survive_ingest_and_join(tmp_path, iso_time):
    """Steps → JSON lines → log → dataset → Steps: every column comes back bit for bit; defaults for silence."""
    steps = rich(500, 1)
    data = chain(steps, RICH, tmp_path, iso_time=iso_time, policy_id="p1", delays=np.linspace(0, 59, 500))
    back = data.load().steps
    same(steps, back, "time", "context", "action", "allowed", "propensity", "propensities", "outcomes", "terminated")
    np.testing.assert_allclose(back.reward, steps.reward, atol=1e-12)
    assert len(np.unique(back.unit)) == len(np.unique(steps.unit))
    arrived = (~np.isnan(steps.outcomes)).sum(1)
    assert np.array_equal(back.origin.arrived, arrived) and len(np.unique(back.origin.policy)) == 1
    expected = np.where(arrived > 0, np.linspace(0, 59, 500), np.nan)
    np.testing.assert_allclose(back.origin.delay, expected, atol=1e-5)


def test_bandit_of_the_cast_survives_too(tmp_path):
    """The simplest log, through the same chain."""
    steps = timed(tiny_bandit(BEHAVIOR, 300, 0))
    same(steps, chain(steps, TINY, tmp_path).load().steps, "context", "action", "reward", "propensity", "propensities")


def test_unsent_outcomes_get_the_default_and_late_ones_are_late(tmp_path):
    """``sent`` and ``delays`` shape what the join sees."""
    steps = timed(tiny_bandit(BEHAVIOR, 100, 0)).with_(reward=np.ones(100))
    sent, delays = np.arange(100) % 2 == 0, np.where(np.arange(100) < 10, 60.0, 1.0)
    data = chain(steps, TINY, tmp_path, sent=sent, delays=delays)
    assert data.load().steps.reward.tolist() == [float(s and d < 60) for s, d in zip(sent, delays)]
    assert data.counts["late"] == 5 and data.counts["defaulted"] == 55


def test_continuous_actions(tmp_path):
    """A list of numbers with a density: comes back as f32[n, q]; out of bounds is quarantined."""
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(low=(0.0, -1.0), high=(1.0, 1.0)))
    action = np.array([[0.5, 0.25], [1.0, -1.0], [1.5, 0.0]], np.float32)
    steps = timed(bandit_steps(np.zeros((3, 1)), action, np.ones(3), np.array([2.5, 0.1, 1.0])))
    files = write_events(steps, problem, tmp_path)
    log = ingest(list(files), problem=problem)
    assert log.counts["quarantined.action"] == 1
    back = join(log, window="1m", as_of="2030-01-01").load().steps
    assert back.action.tolist() == action[:2].tolist() and back.propensity.tolist() == [2.5, 0.1]


def test_episodes_stay_whole_and_in_order(tmp_path):
    """Sequences: sorted by episode and t, never cut by a batch, the last step ends the episode."""
    lengths = np.array([3, 1, 4, 2, 5])
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")), horizon=10, unit="episode")
    n = lengths.sum()
    ends = np.zeros(n, bool)
    ends[lengths.cumsum() - 1] = True
    steps = Steps(
        starts=np.concatenate([[0], lengths.cumsum()]), unit=np.arange(5, dtype=np.uint64),
        time=START + np.arange(n) * 1_000_000, context=np.arange(n, dtype=np.float32)[:, None],
        action=np.zeros(n, np.int32), reward=np.arange(n) / n, terminated=ends, truncated=~ends & False,
        propensity=np.full(n, 0.5),
    )  # fmt: skip
    data = chain(steps, problem, tmp_path)
    assert data.n_episodes == 5 and data.n_steps == n
    batches = list(data.scan(4))
    assert max(batch.n for batch in batches) == 5 and all(batch.n <= 4 or batch.m == 1 for batch in batches)
    assert all(batch.terminated[-1] for batch in batches)
    same(concat(batches), steps, "starts", "context", "reward", "terminated")


def test_an_episode_waits_until_its_last_window_has_closed(tmp_path):
    """Half an episode is never learned from."""
    problem = Problem(features=(), actions=ActionSpace(names=("a", "b")), horizon=5, unit="episode")
    steps = Steps(
        starts=np.array([0, 2, 3]), unit=np.arange(2, dtype=np.uint64), time=START + np.array([0, 100, 1]) * 1_000_000,
        context=np.zeros((3, 0), np.float32), action=np.zeros(3, np.int32), reward=np.zeros(3),
        terminated=np.array([False, True, True]), truncated=np.zeros(3, bool), propensity=np.full(3, 0.5),
    )  # fmt: skip
    log = ingest(list(write_events(steps, problem, tmp_path)), problem=problem)
    data = join(log, window=50, as_of=START / 1e6 + 60)
    assert data.n_steps == 1 and data.counts["pending"] == 2


# ------------------------------------------------------------------------------------------------- protocol and slices


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return chain(rich(2_000, 2), RICH, tmp_path_factory.mktemp("data"))


def test_both_datasets_speak_the_protocol(data):
    """Same problem, sizes, rules, order and samples in memory and on disk."""
    memory = data.load()
    assert isinstance(data, LoggedDataset) and isinstance(memory, LoggedDataset)
    assert (data.n_steps, data.n_episodes, data.rules) == (memory.n_steps, memory.n_episodes, memory.rules)
    for size in (1, 300, 10_000):
        same(concat(list(data.scan(size))), memory.steps, "time", "context", "action", "reward", "unit", "starts")
    assert max(batch.n for batch in data.scan(300)) <= 300
    a, b = (d.sample(64, np.random.default_rng(0)) for d in (data, memory))
    assert np.array_equal(a.context, b.context, equal_nan=True) and (a.discount == 0).all()


def test_slices_agree_between_memory_and_disk(data):
    """The same unit falls on the same side in both; slices are disjoint and cover everything."""
    shares = {"train": 0.5, "select": 0.25, "gate": 0.25}
    disk, memory = data.split(shares, salt=7), data.load().split(shares, salt=7)
    for name in shares:
        assert (disk[name].n_steps, disk[name].n_episodes) == (memory[name].n_steps, memory[name].n_episodes)
        same(disk[name].load().steps, memory[name].steps, "time", "unit", "context", "reward")
        assert disk[name].root == memory[name].root == data.manifest.id and disk[name].slices == memory[name].slices
    assert sum(part.n_steps for part in disk.values()) == data.n_steps
    assert len({part.fingerprint for part in [data, *disk.values()]}) == 4
    units = [set(part.steps.unit) for part in memory.values()]
    assert not (units[0] & units[1]) and not (units[1] & units[2]) and not (units[0] & units[2])


def test_overlap_is_proven_by_decision(data):
    """Disjoint slices share nothing; a slice shares all of itself with its parent, however it was cut."""
    parts = data.split({"train": 0.6, "gate": 0.4})
    assert overlap(parts["train"], parts["gate"]) == 0
    assert overlap(parts["train"].load(), data) == parts["train"].n_steps
    again = data.split({"train": 0.6, "gate": 0.4}, salt=1)
    crossed = overlap(parts["train"], again["gate"])
    assert 0 < crossed < again["gate"].n_steps
    assert len(decision_hashes(data)) == data.n_steps == len(np.unique(decision_hashes(data)))


def test_overlap_cannot_be_proven_without_origin():
    """Steps that do not know their decisions are not taken for disjoint."""
    plain = MemoryDataset(TINY, tiny_bandit(BEHAVIOR, 10, 0))
    with pytest.raises(EvidenceError, match="do not know which decisions"):
        overlap(plain, plain)


@pytest.mark.parametrize("shares", [{"a": 0.7, "b": 0.7}, {"a": 0.0}, {"a": -0.1, "b": 0.5}])
def test_split_shares_are_checked(data, shares):
    """Shares must be positive and sum to at most 1."""
    for dataset in (data, data.load()):
        with pytest.raises(DataError, match="split shares"):
            dataset.split(shares)


# ---------------------------------------------------------------------------------------------------------- artifacts


def test_join_is_idempotent_and_lineage_is_kept(tmp_path):
    """The same rules are already done; other rules in the same folder are refused; parents name the log."""
    data = chain(timed(tiny_bandit(BEHAVIOR, 50, 0)), TINY, tmp_path)
    log = open_log(tmp_path / "log")
    again = join(tmp_path / "log", window=60, as_of="2030-01-01T00:00:00Z", to=tmp_path / "data")
    assert again.manifest == data.manifest and data.manifest.parents[0].id == log.manifest.id
    assert open_dataset(tmp_path / "data").fingerprint == data.fingerprint
    with pytest.raises(StoreError, match="already holds another dataset"):
        join(log, window="2m", as_of="2030-01-01", to=tmp_path / "data")
    assert join(log, window="2m", as_of="2030-01-01", to=tmp_path / "data", replace=True).rules.window == 120


def test_wrong_kind_of_artifact(tmp_path):
    """A log is no dataset and a dataset is no log; the error says how to make the right one."""
    chain(timed(tiny_bandit(BEHAVIOR, 50, 0)), TINY, tmp_path)
    with pytest.raises(StoreError, match="holds a log, not a dataset"):
        open_dataset(tmp_path / "log")
    with pytest.raises(StoreError, match="holds a dataset, not a log"):
        join(tmp_path / "data", window="1h")


def test_join_under_another_reward(tmp_path):
    """A log may be rewarded anew, but not reread: other features need a new ingest."""
    files = write_events(rich(200, 3), RICH, tmp_path)
    log = ingest(list(files), problem=RICH)
    other = Problem(**{f: getattr(RICH, f) for f in RICH.__struct_fields__} | {"reward": "clicks"})
    assert set(join(log, window=60, as_of="2030-01-01", problem=other).load().steps.reward) == {0.0, 1.0}
    wrong = Problem(**{f: getattr(RICH, f) for f in RICH.__struct_fields__} | {"features": ()})
    with pytest.raises(ConfigError, match="other features"):
        join(log, window=60, problem=wrong)


@pytest.mark.parametrize("window", ["soon", 0, -1, "0s", float("inf"), "1x"])
def test_windows_that_are_none(tmp_path, window):
    """A window must be a positive duration."""
    log = ingest(list(write_events(timed(tiny_bandit(BEHAVIOR, 5, 0)), TINY, tmp_path)), problem=TINY)
    with pytest.raises(ConfigError):
        join(log, window=window)


def test_a_complete_log_waits_for_nothing(tmp_path):
    """complete=True: no later outcome can come, so the newest decisions are not pending."""
    files = list(write_events(timed(tiny_bandit(BEHAVIOR, 20, 0)), TINY, tmp_path))
    assert join(ingest(files, problem=TINY), window="10s").counts["pending"] > 0
    assert join(ingest(files, problem=TINY, complete=True), window="10s").counts["pending"] == 0
