"""Generalised advantages against the sum written out, by hand, and at the ends of λ."""

import numpy as np
import pytest

from understudy.core.steps import Steps
from understudy.ops.returns import advantages, to_go


def _steps(lengths: list[int], truncated: list[bool], seed: int, span: bool) -> Steps:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    n, m = int(starts[-1]), len(lengths)
    over, cut = np.zeros(n, bool), np.zeros(n, bool)
    over[starts[1:] - 1], cut[starts[1:] - 1] = ~np.array(truncated), truncated
    return Steps(
        starts=starts, unit=np.arange(m, dtype=np.uint64), time=np.arange(n), context=np.zeros((n, 1), np.float32),
        action=np.zeros(n, np.int32), reward=rng.normal(size=n), terminated=over, truncated=cut,
        span=rng.uniform(0.2, 3, n) if span else None,
    )  # fmt: skip


def _written_out(
    steps: Steps, value: np.ndarray, beyond: np.ndarray, discount: float, trace: float, scale: float
) -> np.ndarray:
    """A_t = Σ_{l ≥ t} (Π_{t ≤ j < l} γ^{h_j} λ)·δ_l, each step by itself."""
    out = np.zeros(steps.n)
    hop = np.full(steps.n, discount) if steps.span is None else discount**steps.span
    for e in range(steps.m):
        first, end = int(steps.starts[e]), int(steps.starts[e + 1])
        for t in range(first, end):
            factor = 1.0
            for at in range(t, end):
                ahead = value[at + 1] if at + 1 < end else 0.0 if steps.terminated[at] else beyond[e]
                out[t] += factor * (scale * steps.reward[at] + hop[at] * ahead - value[at])
                factor *= hop[at] * trace
    return out


@pytest.mark.parametrize("span", [False, True])
@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_are_the_sum_written_out(trace: float, span: bool) -> None:
    """Episodes of 1, 4, 7 and 2 steps, two of them truncated, with spans and without."""
    steps = _steps([1, 4, 7, 2], [True, False, True, False], 3, span)
    rng = np.random.default_rng(4)
    value, beyond = rng.normal(size=steps.n), rng.normal(size=steps.m)
    found = advantages(steps, value, beyond, 0.9, trace, 0.5)
    np.testing.assert_allclose(found, _written_out(steps, value, beyond, 0.9, trace, 0.5), atol=1e-12)


def test_two_steps_by_hand() -> None:
    """Rewards 1, 2, values .5, 1, γ = .9, λ = .8. Truncated before a state worth 3: δ = 1.4, 3.7; A = 4.064, 3.7.

    Terminated: δ_2 = 1, A_1 = 1.4 + .72·1 = 2.12.
    """
    value, beyond = np.array([0.5, 1.0]), np.array([3.0])
    for cut, expected in ((True, [1.4 + 0.72 * 3.7, 3.7]), (False, [2.12, 1.0])):
        steps = _steps([2], [cut], 0, False).with_(reward=np.array([1.0, 2.0]))
        np.testing.assert_allclose(advantages(steps, value, beyond, 0.9, 0.8), expected, atol=1e-12)


def test_at_one_the_baseline_is_taken_from_the_return() -> None:
    """λ = 1, all terminated: A = G − V, whatever V is."""
    steps = _steps([3, 5], [False, False], 1, True)
    value = np.random.default_rng(2).normal(size=8)
    found = advantages(steps, value, np.full(2, 99.0), 0.95, 1.0)
    np.testing.assert_allclose(found, to_go(steps, 0.95) - value, atol=1e-12)
