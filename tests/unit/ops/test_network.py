"""The perceptron that training and serving share: by hand, against JAX forwards, and against its derivatives."""

import numpy as np
import pytest

from understudy.learners.loop import jax
from understudy.ops.network import cross_entropy, forward, gradient, sigmoid, squared, start


def test_forward_by_hand() -> None:
    """x = (1, −2): the hidden layer is max(0, (1 + 0 + ½, −2 − 1)) = (1.5, 0), the output 3·1.5 − 1."""
    w0, b0 = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, -1.0])
    w1, b1 = np.array([[3.0], [5.0]]), np.array([-1.0])
    assert forward(np, [(w0, b0), (w1, b1)], np.array([[1.0, -2.0]])).tolist() == [[3.5]]


def test_losses_by_hand() -> None:
    """At score 0: log 2 whatever y is; far out the sigmoid saturates and nothing overflows."""
    np.testing.assert_allclose(cross_entropy(np, np.zeros(3), np.array([0.0, 0.3, 1.0])), np.log(2))
    assert squared(np, np.array([3.0]), np.array([1.0])).tolist() == [2.0]
    with np.errstate(all="raise"):
        assert sigmoid(np, np.array([-1e9, 0.0, 1e9])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("members", [1, 4])
def test_numpy_serves_what_jax_learned(members: int) -> None:
    """The same lines over both namespaces: f32 JAX and f64 NumPy agree to 1e-6 of 1 + |score|."""
    rng = np.random.default_rng(0)
    layers = start(rng, (20, 64, 64, 7), members)
    layers[-1] = (10 * layers[-1][0], layers[-1][1] + 0.3)
    x = np.clip(rng.standard_normal((500, 20)), -5, 5).astype(np.float32)
    theirs = np.asarray(forward(jax().numpy, layers, x))
    ours = forward(np, [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers], x.astype(np.float64))
    assert theirs.shape == ours.shape == (members, 500, 7)
    assert (np.abs(theirs - ours) / (1 + np.abs(ours))).max() <= 1e-6


@pytest.mark.parametrize("logistic", [True, False])
@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_the_gradient_by_hand_is_that_of_jax(logistic: bool, hidden: tuple[int, ...]) -> None:
    """The oracle differentiates the loss; ours is written out."""
    rng, package = np.random.default_rng(1), jax()
    layers = [(w[0], b[0] + 0.1) for w, b in start(rng, (5, *hidden, 3), 1)]
    x, action = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 3, 40)
    y = rng.random(40).astype(np.float32)
    loss = cross_entropy if logistic else squared

    def mean_loss(layers):
        scores = forward(package.numpy, layers, x)[np.arange(40), action]
        return loss(package.numpy, scores, y).mean()

    theirs = package.grad(mean_loss)(layers)
    for (w, b), (dw, db) in zip(gradient(layers, x, action, y, logistic), theirs):
        np.testing.assert_allclose(w, dw, rtol=0, atol=2e-6)
        np.testing.assert_allclose(b, db, rtol=0, atol=2e-6)
