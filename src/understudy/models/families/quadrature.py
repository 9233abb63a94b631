"""A distribution function that has no closed form, and its inverse: by Gauss-Legendre quadrature, over ``xp``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CELLS = 24
HALVINGS, STEPS = 6, 2  # of a cell, until Newton's steps begin; the last of those stands apart
_X, _W = np.polynomial.legendre.leggauss(4)
_X, _W = (_X + 1) / 2, _W / 2  # on [0, 1]
PLACES = ((np.arange(CELLS)[:, None] + _X) / CELLS).ravel()  # f64[4·CELLS]
SHARES = np.tile(_W / CELLS, CELLS)
GRAIN = 2.0**20

Height = Callable[[Any], Any]  # w f[..., m] → f[..., m], smooth


def nodes(low: Any, high: Any) -> Any:
    """Where an integrand is read between low and high, f[...] → f[..., 4·CELLS]."""
    return low[..., None] + (high - low)[..., None] * PLACES.astype(low.dtype)


def integral(values: Any, low: Any, high: Any) -> Any:
    """∫ from low to high of what has these values at ``nodes``: f[..., 4·CELLS] → f[...]."""
    return (high - low) * (values * SHARES.astype(low.dtype)).sum(-1)


def quantile(xp: Any, height: Height, low: Any, high: Any, u: Any) -> Any:
    """w with ∫_low^w height = u·∫_low^high height, f[...]; its slopes are those of the exact inverse.

    The cell by cumulated masses, then halving, then Newton's steps. Only the last step is differentiated: at a root,
    w − (H(w; θ) − target(θ))/h(w) has the slope that the implicit function theorem gives.
    """
    h = (high - low) / CELLS
    heights = height(nodes(low, high))
    mass = (heights.reshape(*heights.shape[:-1], CELLS, 4) * _W.astype(low.dtype)).sum(-1) * h[..., None]
    total = xp.cumsum(mass, -1)
    before = xp.concatenate([xp.zeros_like(total[..., :1]), total], -1)
    target = u * total[..., -1]
    cell = (before[..., 1:-1] <= target[..., None]).sum(-1)
    start, before = low + cell * h, xp.broadcast_to(before, (*cell.shape, CELLS + 1))
    done = xp.take_along_axis(before, cell[..., None], -1)[..., 0]

    def beyond(w: Any) -> Any:
        inner = start[..., None] + (w - start)[..., None] * _X.astype(low.dtype)
        return done + (w - start) * (height(inner) * _W.astype(low.dtype)).sum(-1) - target

    left, width = start, h
    for _ in range(HALVINGS):
        width = width / 2
        left = xp.where(beyond(left + width) < 0, left + width, left)
    w = left + width / 2
    for _ in range(STEPS):
        w = xp.clip(w - beyond(w) / height(w[..., None])[..., 0], start, start + h)
    # Nothing passes through floor, so nothing is spent on the slopes of a place to start from.
    w = xp.floor(w * GRAIN) / GRAIN
    return xp.clip(w - beyond(w) / height(w[..., None])[..., 0], low, high)
