"""A multilayer perceptron over an array namespace: training and serving share these lines. ``xp``: NumPy or jax.numpy.

``layers`` are (w [..., in, out], b [..., out]); a leading axis holds several networks of one shape, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Layers = Sequence[tuple[Any, Any]]


def start(rng: np.random.Generator, sizes: Sequence[int], members: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights to begin with: N(0, 2/in), the last layer a tenth of it; f32[members, in, out], biases 0.

    A small last layer makes all actions look alike at first. Source: He, Zhang, Ren & Sun 2015, equation 10.
    """
    layers = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        scale = np.sqrt(2.0 / max(before, 1)) * (0.1 if i == len(sizes) - 2 else 1.0)
        w = (scale * rng.standard_normal((members, before, after))).astype(np.float32)
        layers.append((w, np.zeros((members, after), np.float32)))
    return layers


def forward(xp: Any, layers: Layers, x: Any) -> Any:
    """h_{i+1} = max(0, h_i W_i + b_i), the last layer without the maximum: f[n, d] → f[..., n, k]."""
    last = len(layers) - 1
    for i, (w, b) in enumerate(layers):
        x = x @ w + b[..., None, :]
        if i < last:
            x = xp.maximum(x, 0)
    return x


def sigmoid(xp: Any, s: Any) -> Any:
    """σ(s) = ½(1 + tanh(s/2)), which cannot overflow."""
    return 0.5 * (1 + xp.tanh(0.5 * s))


def cross_entropy(xp: Any, s: Any, y: Any) -> Any:
    """−y·log σ(s) − (1 − y)·log σ(−s) = log(1 + eˢ) − y·s, for y in [0, 1]; its slope in s is σ(s) − y."""
    return xp.logaddexp(0.0, s) - y * s


def squared(xp: Any, s: Any, y: Any) -> Any:
    """½(s − y)²; its slope in s is s − y."""
    return 0.5 * (s - y) ** 2


def gradient(
    layers: Layers, x: np.ndarray, action: np.ndarray, y: np.ndarray, logistic: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The slope of the mean loss of one network's score of the action taken, by hand, in NumPy.

    For minibatches of a few dozen rows this takes less than a compiled call takes to start.
    Args: x f32[n, d], action i[n], y f32[n]; w [in, out], b [out]. Returns: as ``layers``.
    """
    inputs = [x]
    for w, b in layers[:-1]:
        hidden = inputs[-1] @ w
        hidden += b
        inputs.append(np.maximum(hidden, 0, out=hidden))
    w, b = layers[-1]
    rows = np.arange(len(y))
    score = (inputs[-1] @ w + b)[rows, action]
    back = np.zeros((len(y), len(b)), x.dtype)
    back[rows, action] = ((sigmoid(np, score) if logistic else score) - y) / len(y)
    slopes = []
    for i in range(len(layers) - 1, -1, -1):
        slopes.append((inputs[i].T @ back, back.sum(0)))
        if i:
            back = back @ layers[i][0].T
            back *= inputs[i] > 0
    return slopes[::-1]
