"""Why the default interval is what it is: candidates compared on means of 256 blocks."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from understudy.ops.blocks import leave_one_out
from understudy.ops.intervals import jackknife_interval

SAMPLES, BLOCKS, LEVEL = 4000, 256, 0.95
METHODS = ("plain t", "Johnson 1978", "Hall 1992", "Hall + Satterthwaite (ours)")


def compare(seed: int = 0) -> list[tuple[str, dict[str, float]]]:
    """(what carries the estimate, method → share of samples whose interval holds the mean)."""
    rng = np.random.default_rng(seed)
    shape = (SAMPLES, BLOCKS)

    def events(count: int, weight: np.ndarray | float = 1.0) -> tuple[np.ndarray, float]:
        return (rng.random(shape) < count / BLOCKS) * weight, count / BLOCKS

    lognormal = lambda s: np.exp(rng.normal(0, s, shape) - s * s / 2)  # mean 1
    cases = {
        "5 equal events": events(5),
        "20 equal events": events(20),
        "80 equal events": events(80),
        "10 events, gamma weights": events(10, rng.gamma(2, 0.5, shape)),
        "20 events, lognormal weights (σ = 1)": events(20, lognormal(1.0)),
        "40 events, lognormal weights (σ = 1)": events(40, lognormal(1.0)),
        "every block, lognormal (σ = 1)": (lognormal(1.0), 1.0),
        "every block, lognormal (σ = 1.5)": (lognormal(1.5), 1.0),
        "every block, normal": (rng.normal(size=shape), 0.0),
        "every block, Student with 3 degrees of freedom": (rng.standard_t(3, shape), 0.0),
    }
    return [(name, _shares(x, mean)) for name, (x, mean) in cases.items()]


def _shares(x: np.ndarray, mean: float) -> dict[str, float]:
    counts = np.ones(x.shape)
    ours = jackknife_interval(x.mean(1), leave_one_out(x[..., None], counts)[..., 0], counts, LEVEL)
    t, a = stdtrit(BLOCKS - 1, (1 + LEVEL) / 2), ours.skew
    error = (x.mean(1) - mean) / np.where(ours.std_error > 0, ours.std_error, np.inf)  # no event seen: T = 0 …
    seen = ours.std_error > 0  # … and no interval, which covers nothing
    johnson = error + a / 6 + a * error**2 / 3
    hall = johnson + a * a * error**3 / 27
    inside = (np.abs(error) <= t, np.abs(johnson - a * (error**2 - t * t) / 3) <= t, np.abs(hall) <= t,
              (ours.low <= mean) & (mean <= ours.high))  # fmt: skip
    return {name: float((hit & seen).mean()) for name, hit in zip(METHODS, inside)}
