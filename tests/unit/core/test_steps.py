"""Steps, batches of whole episodes, slices by unit, transitions."""

import numpy as np
import pytest

from understudy.core.errors import DataError
from understudy.core.steps import Steps, bandit_steps, concat
from understudy.data.dataset import MemoryDataset
from understudy.ops.transitions import transitions
from understudy.testing.cast import TINY, Table, tiny_bandit

UNIFORM = Table(((1 / 3,) * 3, (1 / 3,) * 3))


def chain() -> Steps:
    """Two episodes, of 3 and 2 steps; the first terminates, the second is cut off at context 9."""
    return Steps(
        starts=np.array([0, 3, 5]),
        unit=np.array([7, 8], np.uint64),
        time=np.arange(5),
        context=np.arange(5, dtype=np.float32)[:, None],
        action=np.zeros(5, np.int32),
        reward=np.arange(5.0),
        terminated=np.array([0, 0, 1, 0, 0], bool),
        truncated=np.array([0, 0, 0, 0, 1], bool),
        final_context=np.array([[np.nan], [9.0]], np.float32),
    )


def test_a_scan_never_cuts_an_episode_and_loses_nothing() -> None:
    """Batches hold whole episodes, in order, and together are the whole."""
    data = MemoryDataset(TINY, chain())
    batches = list(data.scan(max_steps=3))
    assert [batch.n for batch in batches] == [3, 2]
    whole = concat(batches)
    assert np.array_equal(whole.starts, [0, 3, 5]) and np.array_equal(whole.reward, np.arange(5.0))


def test_an_episode_longer_than_a_batch_comes_alone() -> None:
    """One episode must fit in memory; it is never split."""
    assert [batch.n for batch in MemoryDataset(TINY, chain()).scan(max_steps=1)] == [3, 2]


def test_transitions_end_where_the_world_ends_and_bootstrap_where_we_looked_away() -> None:
    """Terminated: discount 0. Truncated: discount γ and the final context. Otherwise the next row."""
    t = transitions(chain(), np.arange(5), 0.9)
    assert t.discount.tolist() == pytest.approx([0.9, 0.9, 0.0, 0.9, 0.9])
    assert t.next_context[[0, 1, 3, 4], 0].tolist() == [1, 2, 4, 9]


def test_after_a_cut_what_could_be_done_is_what_was_logged_or_all() -> None:
    """Never the last mask of the log, which says nothing about another context; slices and batches keep it."""
    allowed = np.array([[True, True], [True, False], [True, False], [True, False], [False, True]])
    masked = chain().with_(allowed=allowed)
    known = masked.with_(final_allowed=np.array([[True, True], [True, False]]))
    for steps, after in ((masked, [True, True]), (known, [True, False])):
        made = transitions(steps, np.arange(5), 0.9)
        assert made.next_allowed is not None and made.next_allowed[[0, 3]].tolist() == [[True, False], [False, True]]
        assert made.next_allowed[4].tolist() == after
    parts = list(MemoryDataset(TINY, known).scan(max_steps=3))
    assert concat(parts).final_allowed is not None and parts[1].final_allowed is not None
    assert parts[1].final_allowed.tolist() == [[True, False]]


def test_a_bandit_transition_has_no_future() -> None:
    """At horizon 1 every discount is 0, so the Bellman target is the reward."""
    t = MemoryDataset(TINY, tiny_bandit(UNIFORM, 50, 0)).sample(20, np.random.default_rng(0))
    assert not t.discount.any()


def test_slices_are_disjoint_and_keep_a_unit_together() -> None:
    """Every unit falls into exactly one slice, all of its rows with it."""
    unit = np.repeat(np.arange(200, dtype=np.uint64), 3)
    steps = tiny_bandit(UNIFORM, 600, 1).with_(unit=unit)
    parts = MemoryDataset(TINY, steps).split({"a": 0.5, "b": 0.3, "c": 0.2})
    units = [set(part.steps.unit.tolist()) for part in parts.values()]
    assert sum(part.n_steps for part in parts.values()) == 600
    assert sum(len(u) for u in units) == len(set().union(*units)) == 200


def test_the_fingerprint_sees_one_changed_reward() -> None:
    """Equal data have one fingerprint; any changed number has another."""
    steps = tiny_bandit(UNIFORM, 50, 2)
    changed = steps.reward.copy()
    changed[7] = 1 - changed[7]
    prints = {MemoryDataset(TINY, s).fingerprint for s in (steps, tiny_bandit(UNIFORM, 50, 2))}
    assert len(prints) == 1 and MemoryDataset(TINY, steps.with_(reward=changed)).fingerprint not in prints


def test_batches_that_disagree_about_a_column_are_refused() -> None:
    """A column is in every batch or in none."""
    a = bandit_steps(np.zeros((2, 1)), np.zeros(2), np.zeros(2), np.ones(2))
    with pytest.raises(DataError, match="propensity"):
        concat([a, a.with_(propensity=None)])
    with pytest.raises(DataError, match="no steps"):
        concat([])
