"""What a family of distributions must offer, and what families share."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

Params = tuple[Any, ...]  # one array per parameter; the first axes are those of the rows, then q


class Family(Protocol):
    """A distribution over y in [−1, 1]^q, independent per dimension; ``xp`` is NumPy or jax.numpy.

    Densities are per unit of y; y = (a − middle)/half of the box of actions. A draw is a smooth function of the
    parameters for given noise, so slopes pass through it.
    """

    @property
    def noise(self) -> str:
        """What ``sample`` wants: ``normal`` for N(0, 1), ``uniform`` for U[0, 1)."""
        ...

    @property
    def located(self) -> bool:
        """Whether its first two parameters are a middle and the log of a width."""
        ...

    def outputs(self, q: int) -> int:
        """Numbers that the last layer gives."""
        ...

    def read(self, xp: Any, scores: Any, q: int, spread: float = 1.0) -> Params:
        """The parameters in f[..., n, outputs]. ``spread`` in (0, 1]: below 1 it keeps closer to its mode."""
        ...

    def log_density(self, xp: Any, params: Params, y: Any) -> Any:
        """log π(y), summed over dimensions: f[..., n, q] → f[..., n]; −inf where it is 0."""
        ...

    def likelihood(self, xp: Any, params: Params, y: Any) -> Any:
        """``log_density`` for fitting to given actions: finite, and its slope too, also where the density is 0."""
        ...

    def sample(self, xp: Any, params: Params, noise: Any) -> Any:
        """y f[..., n, q] for given noise of that shape."""
        ...

    def drawn(self, xp: Any, params: Params, noise: Any) -> tuple[Any, Any]:
        """(y, log π(y)) for given noise."""
        ...

    def mode(self, xp: Any, params: Params) -> Any:
        """The likeliest y, f[..., n, q]; of ``squashed`` the middle, tanh μ."""
        ...

    def entropy(self, xp: Any, params: Params) -> Any:
        """−∫ π log π dy, f[..., n]; None where nobody knows it but by draws."""
        ...


def special(xp: Any) -> Any:
    """erf and its kin: SciPy's beside NumPy, JAX's beside jax.numpy."""
    return importlib.import_module(xp.__name__.replace("numpy", "scipy") + ".special")


def softplus(xp: Any, s: Any) -> Any:
    """log(1 + eˢ)."""
    return xp.logaddexp(0.0 * s, s)
