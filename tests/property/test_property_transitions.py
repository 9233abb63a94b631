"""Transitions of n steps against the sum written out: spans, ends of both kinds, masks, and the file of rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.steps import Steps
from understudy.data.rows import RowFile
from understudy.ops.transitions import transitions

K, D = 3, 2


def steps_of(lengths: list[int], seed: int, spans: bool, masks: bool, known: bool) -> Steps:
    """Episodes of these lengths; every other one is cut."""
    rng, m, n = np.random.default_rng(seed), len(lengths), sum(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    cut, last = rng.random(m) < 0.5, starts[1:] - 1
    terminated, truncated = np.zeros(n, bool), np.zeros(n, bool)
    terminated[last], truncated[last] = ~cut, cut
    final = np.where(cut[:, None], rng.normal(size=(m, D)), np.nan).astype(np.float32)
    return Steps(
        starts=starts, unit=np.arange(m, dtype=np.uint64), time=np.arange(n),
        context=rng.normal(size=(n, D)).astype(np.float32), action=rng.integers(0, K, n).astype(np.int32),
        reward=rng.normal(size=n), terminated=terminated, truncated=truncated, final_context=final,
        span=rng.uniform(0.1, 3.0, n) if spans else None,
        allowed=rng.random((n, K)) < 0.7 if masks else None,
        final_allowed=(rng.random((m, K)) < 0.7) | ~cut[:, None] if masks and known else None,
    )  # fmt: skip


def written_out(steps: Steps, row: int, gamma: float, n: int) -> tuple:
    """(R, discount, next context, next mask) of one row by walking from it; the mask is None where nothing is asked."""
    episode = int(np.searchsorted(steps.starts, row, side="right")) - 1
    end = int(steps.starts[episode + 1])
    reward, hops, at = 0.0, 0.0, row
    while at < end and at < row + n:
        reward += gamma**hops * steps.reward[at]
        hops += 1.0 if steps.span is None else steps.span[at]
        at += 1
    if at < end:
        return reward, gamma**hops, steps.context[at], None if steps.allowed is None else steps.allowed[at]
    if steps.terminated[end - 1]:
        return reward, 0.0, None, None
    assert steps.final_context is not None
    mask = np.ones(K, bool) if steps.final_allowed is None else steps.final_allowed[episode]
    return reward, gamma**hops, steps.final_context[episode], mask


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 999), st.integers(1, 8),
    st.sampled_from([0.0, 0.5, 0.97, 1.0]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_every_transition_is_the_sum_written_out(lengths, seed, n, gamma, spans, masks, known):
    """R = Σ γ^H r, discount = γ^H over as many steps as there are; a cut goes on from its final context."""
    steps = steps_of(lengths, seed, spans, masks, known)
    rows = np.random.default_rng(seed).permutation(steps.n)
    made = transitions(steps, rows, gamma, n)
    for i, row in enumerate(rows):
        reward, discount, context, mask = written_out(steps, int(row), gamma, n)
        np.testing.assert_allclose(made.reward[i], reward, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(made.discount[i], discount, rtol=1e-6)
        if context is not None:
            assert (made.next_context[i] == context).all()
        if masks and mask is not None:
            assert made.next_allowed is not None and (made.next_allowed[i] == mask).all()
    read = RowFile.spill(iter([steps])).transitions(rows, gamma, n)
    for name, column in vars(made).items():
        np.testing.assert_array_equal(getattr(read, name), column)
    if masks:  # the last mask of a cut episode is its own, and no longer that of what followed
        assert made.next_allowed is not None and steps.allowed is not None
        before = steps.allowed.copy()
        transitions(steps, rows, gamma, n)
        assert (steps.allowed == before).all()
