"""Tile coding: which cells of several grids a point lies in, each grid shifted against the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 3.0  # standard deviations that a grid spans to either side; what lies beyond counts as its edge
MOST = 1 << 16  # cells in all; more share their places by a hash
STIR, SHIFT = np.uint64(6364136223846793005), np.uint64(33)


@dataclass(frozen=True)
class Tiles:
    """``tilings`` grids of ``tiles`` cells per dimension over ``width`` standardised numbers; 0 tilings: none of it.

    Grid j is shifted by ((2i + 1)·j mod tilings)/tilings of a cell in dimension i. Without tilings a point is its own
    features, and a 1. Source: Sutton & Barto 2018, section 9.5.4.
    """

    width: int
    tilings: int = 8
    tiles: int = 8

    @property
    def size(self) -> int:
        """Weights that a linear function of it has."""
        return min(MOST, self._cells) if self.tilings else self.width + 1

    @property
    def active(self) -> int:
        """Weights that a point touches."""
        return self.tilings or self.width + 1

    @property
    def _cells(self) -> int:
        return self.tilings * (self.tiles + 1) ** self.width

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f32[n, width] → (which weights i32[n, active], what they are multiplied by f32[n, active])."""
        n = len(x)
        if not self.tilings:
            places = np.broadcast_to(np.arange(self.size, dtype=np.int32), (n, self.size))
            return places, np.column_stack([x, np.ones(n)]).astype(np.float32)
        grid, axis = np.arange(self.tilings), np.arange(self.width)
        shift = ((2 * axis + 1) * grid[:, None] % self.tilings) / self.tilings  # [tilings, width]
        at = (np.clip(x.astype(np.float64), -REACH, REACH) + REACH) * (self.tiles / (2 * REACH))
        cell = np.minimum(np.floor(at[:, None] + shift), self.tiles).astype(np.uint64)  # [n, tilings, width]
        place = np.broadcast_to(grid.astype(np.uint64), (n, self.tilings)).copy()
        hashed = self._cells > MOST
        for j in range(self.width):
            place = place * (STIR if hashed else np.uint64(self.tiles + 1)) + cell[:, :, j]
        if hashed:
            place = (place * STIR >> SHIFT) % np.uint64(MOST)
        return place.astype(np.int32), np.ones((n, self.tilings), np.float32)
