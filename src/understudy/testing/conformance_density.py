"""What every policy over a box of continuous actions must keep; ``check_policy`` calls it for such a problem."""

from __future__ import annotations

import json

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import Policy
from understudy.core.registry import find

DRAWS = 4_000
ALARM = 1e-7  # chance that a sound policy fails the check of its draws, over all contexts tried
POINTS = 20_001
WIDEST = 9.5  # a grid even in u, y = tanh(u): fine where the box ends, which is where squashed densities crowd


def check_density(policy: Policy, problem: Problem, context: np.ndarray) -> None:
    """Actions inside the box, the very density they were drawn with, saved and loaded bit for bit; context f32[n, d].

    With one dimension also: the density integrates to 1 over the box, and draws are distributed as it says.
    """
    low, high, n = np.array(problem.actions.low), np.array(problem.actions.high), len(context)
    action, density = policy.act(context, np.random.default_rng(1))
    again, _ = policy.act(context, np.random.default_rng(1))
    assert action.shape == (n, len(low)) and action.dtype == np.float32, "act must give f32[n, q]"
    assert (action == again).all(), "the same generator must give the same actions"
    assert (action >= low.astype(np.float32)).all() and (action <= high.astype(np.float32)).all(), "outside the box"
    assert density.shape == (n,) and density.dtype == np.float64 and np.isfinite(density).all(), "densities are f64[n]"
    assert (density > 0).all(), "an action was taken that has density 0"
    assert (policy.prob(context, action) == density).all(), "prob must agree with act"
    beyond = action.copy()
    beyond[:, 0] = high[0] + 0.1 * (high[0] - low[0])
    assert (policy.prob(context, beyond) == 0).all(), "outside the box the density is 0"
    rows = [policy.prob(context[i : i + 1], action[i : i + 1]) for i in range(min(n, 8))]
    np.testing.assert_allclose(
        np.concatenate(rows), density[:8], rtol=1e-6, err_msg="a row must not depend on its batch"
    )
    assert policy.act(context[:0], np.random.default_rng(1))[0].shape == (0, len(low)), "no row in, no row out"
    if len(low) == 1:
        _is_a_density(policy, context[:3], float(low[0]), float(high[0]))
    _comes_back(policy, context, action, density)


def _is_a_density(policy: Policy, context: np.ndarray, low: float, high: float) -> None:
    from scipy.stats import kstest

    def read(row: int, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.tanh(u)
        grid = (high + low) / 2 + (high - low) / 2 * y
        height = policy.prob(np.repeat(context[row : row + 1], len(u), 0), grid[:, None])
        height = height * (1 - y**2) * (high - low) / 2  # per du
        return grid, np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2 * np.diff(u))])

    even = np.linspace(-WIDEST, WIDEST, POINTS)
    for row in range(len(context)):
        _, mass = read(row, even)
        most = np.interp(
            np.linspace(0, mass[-1], POINTS), mass, even
        )  # and as many where the mass is: it may be narrow
        grid, mass = read(row, np.union1d(even, most))
        assert abs(mass[-1] - 1) < 1e-4, f"the density integrates to {mass[-1]} over the box"
        drawn = policy.act(np.repeat(context[row : row + 1], DRAWS, 0), np.random.default_rng(2))[0][:, 0]
        chance = kstest(drawn, lambda a: np.interp(a, grid, mass)).pvalue  # noqa: B023 (called at once)
        assert chance > ALARM / len(context), f"draws do not follow the density (Kolmogorov–Smirnov: {chance:.1e})"


def _comes_back(policy: Policy, context: np.ndarray, action: np.ndarray, density: np.ndarray) -> None:
    state = policy.state()
    config = json.loads(json.dumps(state.config))
    assert config == state.config, "a state's config must be plain JSON"
    twin = find("states", state.kind).from_state(type(state)(state.kind, config, state.arrays))
    drawn, _ = twin.act(context, np.random.default_rng(1))
    same = drawn.tobytes() == action.tobytes() and twin.prob(context, action).tobytes() == density.tobytes()
    assert same, "a loaded policy must act bit for bit alike"
