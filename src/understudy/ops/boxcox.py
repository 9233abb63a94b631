"""The Box–Cox transform and its exponent by maximum likelihood. Pure; arrays in, numbers out."""

from __future__ import annotations

import numpy as np

# Sums are ``.sum()`` of products and not ``@``: BLAS would wake threads for them. Rooms are reused: a page fault costs
# more than a logarithm.
_THIN = 4_096  # values that place the optimum, before all of them pin it down
NO_POWER = 1e-200  # stands for λ = 0: expm1(λ ln x) / λ is ln x to the last bit, at infinity too


def boxcox(x: np.ndarray, power: np.ndarray | float) -> np.ndarray:
    """y = (x^λ − 1) / λ, ln x where λ = 0. x > 0; an overflow is infinite.

    Source: Box & Cox 1964, equation 1; computed as expm1(λ ln x) / λ, which keeps its digits near λ = 0.
    """
    power = np.where(np.abs(power) < NO_POWER, NO_POWER, power)
    with np.errstate(over="ignore", divide="ignore"):
        return np.expm1(power * np.log(x)) / power


def inverse_boxcox(y: np.ndarray, power: np.ndarray | float) -> np.ndarray:
    """x = (1 + λ y)^(1/λ), e^y where λ = 0; where no x gives y, the x that comes nearest."""
    power = np.where(np.abs(power) < NO_POWER, NO_POWER, power)
    with np.errstate(over="ignore", divide="ignore"):
        return np.exp(np.log1p(np.maximum(power * y, -1.0)) / power)


def boxcox_power(x: np.ndarray) -> float:
    """λ̂ = argmin_λ ln Var[((x / g)^λ − 1) / λ], g the geometric mean: the exponent of greatest likelihood.

    Args:
        x: f64[n] > 0, not all alike.

    Returns:
        λ̂, where ``scipy.stats.boxcox`` finds it: by Brent's method, of many values on
        a thinned sample, followed by secants on all.

    Source: Box & Cox 1964, equations 8 and 9 (the form normalised by the geometric mean).
    """
    log = np.log(np.asarray(x, np.float64))
    log -= log.mean()
    if len(log) <= _THIN:
        return _search(log, 1.48e-8)
    return _root(log, _search(log[:: len(log) // _THIN].copy(), 1e-4))


def _search(log: np.ndarray, tolerance: float) -> float:
    """λ̂ by Brent's method on ln Var, from where scipy starts it, to where scipy stops."""
    from scipy import optimize

    room = np.empty_like(log)

    def badness(power: float) -> float:
        power = power if abs(power) > NO_POWER else NO_POWER
        with np.errstate(over="ignore", invalid="ignore"):
            y = np.expm1(np.multiply(log, power, out=room), out=room)
            y -= y.mean()
            spread = float(np.multiply(y, y, out=room).sum())
        return float(np.log(max(spread, 1e-300)) - 2.0 * np.log(abs(power))) if np.isfinite(spread) else 1e300

    return float(optimize.brent(badness, brack=(-2.0, 2.0), tol=tolerance))  # pyright: ignore[reportArgumentType]


def _root(log: np.ndarray, start: float) -> float:
    """λ̂ to 1e-9: where Cov(y, dy/dλ) = 0, by secants from near it. A slope's root is sharper than a valley's floor."""
    rooms = np.empty_like(log), np.empty_like(log)
    before, at = start, start + 0.01
    slope = _slope(log, before, rooms)
    for _ in range(20):
        here = _slope(log, at, rooms)
        if here == slope or not np.isfinite(here):
            break
        step = here * (at - before) / (here - slope)
        before, slope, at = at, here, at - float(np.clip(step, -0.5, 0.5))
        if abs(at - before) < 1e-9:
            break
    return at


def _slope(log: np.ndarray, power: float, rooms: tuple[np.ndarray, np.ndarray]) -> float:
    """Cov(y, dy/dλ) / Var(y) of y = (e^{λL} − 1) / λ, half the slope of ln Var(y) less what y's scale adds."""
    y, change = rooms
    if abs(power) < 1e-4:  # dy/dλ = (L e^{λL} − y) / λ would lose its digits: its series in λ instead
        np.multiply(log, 1 + power * log * (0.5 + power * log / 6), out=y)
        np.multiply(log * log, 0.5 + power * log * (1 / 3 + power * log / 8), out=change)
    else:
        np.expm1(np.multiply(log, power, out=y), out=y)
        np.multiply(y, log, out=change)
        change += log
        y /= power
        change -= y
        change /= power
    y -= y.mean()
    change *= y
    return float(change.sum()) / float(np.multiply(y, y, out=change).sum())
