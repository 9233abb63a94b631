"""Importance weights: their worth, and the ways to tame them."""

import numpy as np
import pytest

from understudy.ops import weights

W = np.array([0.0, 0.5, 2.0, 8.0])


def test_effective_sample_size() -> None:
    """(0 + .5 + 2 + 8)² / (.25 + 4 + 64) = 110.25 / 68.25; equal weights count fully; no weight counts nothing."""
    assert float(weights.ess(W)) == pytest.approx(110.25 / 68.25)
    assert float(weights.ess(np.full(7, 3.0))) == pytest.approx(7)
    assert float(weights.ess(np.zeros(3))) == 0.0
    np.testing.assert_allclose(weights.ess(np.column_stack([W, np.ones(4)])), [110.25 / 68.25, 4])


def test_heaviest_share() -> None:
    """8 of 10.5; 0 where there is no weight."""
    assert float(weights.max_share(W)) == pytest.approx(8 / 10.5)
    assert float(weights.max_share(np.zeros(3))) == 0.0


@pytest.mark.parametrize(
    ("tamed", "expected"),
    [
        (weights.clip(W, 2.0), [0, 0.5, 2, 2]),
        (weights.keep(W, 2.0), [0, 0.5, 2, 0]),
        (weights.shrink(W, 4.0), [0, 2 / 4.25, 8 / 8, 32 / 68]),
        (weights.harmonic(W, 0.5), [0, 0.5 / 0.75, 2 / 1.5, 8 / 4.5]),
        (weights.shrink(W, 0.0), [0, 0, 0, 0]),
        (weights.shrink(W, np.inf), W),
        (weights.clip(W, np.inf), W),
        (weights.keep(W, np.inf), W),
        (weights.harmonic(W, 0.0), W),
    ],
)
def test_tamed_weights(tamed: np.ndarray, expected) -> None:
    """min(w, M); w·1(w ≤ τ); λw/(w² + λ); w/(1 − λ + λw); each with its neutral and its extreme setting."""
    np.testing.assert_allclose(tamed, expected, rtol=1e-15)


def test_bounds_of_shrunk_weights() -> None:
    """λw/(w² + λ) ≤ √λ/2 and w/(1 − λ + λw) ≤ 1/λ, reached at w = √λ and as w → ∞; the input is left alone."""
    w = np.linspace(0, 1e6, 100_001)
    copy = w.copy()
    assert weights.shrink(w, 1e4).max() == pytest.approx(50) and weights.harmonic(w, 0.1).max() < 10
    np.testing.assert_array_equal(w, copy)
