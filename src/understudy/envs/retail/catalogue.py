"""What the shop sells: categories, base prices, and one feature that makes a product worth its price."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.core.errors import DataError, StoreError
from understudy.envs.retail.law import SIZES
from understudy.envs.retail.normal import truncated
from understudy.envs.retail.streams import Purpose, stream

SEED = 5  # of the package's own catalogue; docs/retail.md says how it was chosen
INTERCEPT, SLOPE, LOWEST = (1.3, 0.5), (0.8, 1.2), 1.0  # of base prices


@dataclass(frozen=True)
class Catalogue:
    """I products in J categories; the products of a category stand together."""

    sizes: np.ndarray  # i64[J]
    price: np.ndarray  # f64[I] base price P0
    feature: np.ndarray  # f64[I] Z ≥ 0

    @property
    def n(self) -> int:
        """I, the number of products."""
        return len(self.price)

    @property
    def starts(self) -> np.ndarray:
        """i64[J] the first product of each category."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def category(self) -> np.ndarray:
        """i64[I] the category of each product."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


def draw_catalogue(seed: int = SEED, products: int | None = None, *, tied: bool = False) -> Catalogue:
    """A catalogue by the published law.

    m_j, s_j ~ |N(0, 1)|; Z_i ~ N(m_j, s_j²) cut to ≥ 0; P0_i = max(a_i + b Z_i, 1), a_i ~ N(1.3, ½²) cut to ≥ 0,
    log b ~ N(0.8, 1.2²), one number for the whole shop.

    Args:
        seed: of the catalogue; the same in every environment.
        products: how many, about: the published sizes of categories scaled, none empty; None = 2,514 as published.
        tied: s_j = m_j, as the published program draws.
    """
    scale = 1.0 if products is None else products / sum(SIZES)
    sizes = np.maximum(np.rint(np.array(SIZES) * scale).astype(np.int64), 1)
    rng = stream((seed, 0), Purpose.CATALOGUE)
    slope = float(np.exp(SLOPE[0] + SLOPE[1] * rng.standard_normal()))
    mean, spread = (np.repeat(np.abs(rng.standard_normal(len(sizes))), sizes) for _ in range(2))
    spread = mean if tied else spread
    feature = truncated(rng.random(sizes.sum()), mean, spread, 0.0)
    intercept = truncated(rng.random(sizes.sum()), *INTERCEPT, 0.0)
    return Catalogue(sizes, np.maximum(intercept + slope * feature, LOWEST), feature)


def read_catalogue(path: str | Path) -> Catalogue:
    """A catalogue of the published simulator: an .npz with ``category_sizes``, ``P0`` and ``Z``.

    Raises: StoreError if it is not there, DataError if its arrays do not fit together.
    """
    found = read_arrays(path, ("category_sizes", "P0", "Z"))
    sizes, price, feature = found["category_sizes"].astype(np.int64), found["P0"], found["Z"]
    n = int(sizes.sum())
    if price.shape != (n,) or feature.shape != (n,) or not (sizes > 0).all() or not (price > 0).all():
        raise DataError(
            f"{path} is no catalogue: categories of {n} products, {price.shape} prices, {feature.shape} features"
        )
    return Catalogue(sizes, price.astype(np.float64), feature.astype(np.float64))


def read_arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file; nothing in it is ever run. Raises: StoreError, DataError."""
    file = Path(path)
    if not file.is_file():
        raise StoreError(f"{file} is not a file", hint="Give the path of an .npz file of the reference figures.")
    try:
        with np.load(file, allow_pickle=False) as found:
            missing = [name for name in names if name not in found.files]
            if missing:
                raise DataError(f"{file} holds no {missing[0]!r}", f"It holds {', '.join(found.files)}.")
            return {name: found[name] for name in names}
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{file} is not a readable .npz file: {error}") from error
