"""Tile coding by hand: cells, shifts, edges, and a hash where there would be too many."""

import numpy as np

from understudy.models.tiles import MOST, Tiles


def test_cells_by_hand() -> None:
    """±3 in 6 tiles of width 1; the second grid is half a cell to the left, and begins at weight 7."""
    tiles = Tiles(1, tilings=2, tiles=6)
    places, by = tiles(np.array([[-3.0], [-2.6], [-2.4], [0.0], [2.9], [99.0], [-99.0]], np.float32))
    assert tiles.size == 14 and tiles.active == 2 and (by == 1).all()
    assert places[:, 0].tolist() == [0, 0, 0, 3, 5, 6, 0]
    assert (places[:, 1] - 7).tolist() == [0, 0, 1, 3, 6, 6, 0]


def test_two_dimensions_by_hand() -> None:
    """Row by row, 3 cells each with the spare one; the shift of the second dimension is three times the first's."""
    tiles = Tiles(2, tilings=4, tiles=2)
    places, _ = tiles(np.array([[-3.0, 2.9]], np.float32))
    assert tiles.size == 36
    second = [1, 2, 2, 2]  # 1.97 and shifts of 0, ¾, 6/4 mod 1 = ½, 9/4 mod 1 = ¼
    assert places[0].tolist() == [9 * j + second[j] for j in range(4)]


def test_neighbours_share_most_cells() -> None:
    """That is what it is for: near points share weights, far ones none."""
    tiles = Tiles(3)
    near, _ = tiles(np.array([[0.1, 0.2, 0.3], [0.15, 0.2, 0.3], [2.0, -2.0, 1.0]], np.float32))
    assert (near[0] == near[1]).sum() >= 5 and not (near[0] == near[2]).any()


def test_without_tilings_a_point_is_its_own_features() -> None:
    """And a 1."""
    tiles = Tiles(2, tilings=0)
    places, by = tiles(np.array([[0.5, -7.0]], np.float32))
    assert (tiles.size, tiles.active) == (3, 3)
    assert places.tolist() == [[0, 1, 2]] and by.tolist() == [[0.5, -7.0, 1.0]]


def test_too_many_cells_share_weights_by_a_hash() -> None:
    """All inside the memory, spread over it, and the same for the same point."""
    tiles = Tiles(11)
    x = np.random.default_rng(0).standard_normal((500, 11)).astype(np.float32)
    places, _ = tiles(x)
    assert tiles.size == MOST and places.min() >= 0 and places.max() < MOST
    assert len(np.unique(places)) > 3500 and (tiles(x)[0] == places).all()
