"""One-step values are those of the states a log shows, and errors are of what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from understudy.envs.retail.truth import conditional, one_step_values, ratio
from understudy.envs.retail.world import retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Uniform
from understudy.models.shares import Shares

SMALL: dict[str, Any] = {"customers": 20, "products": 120, "steps": 6}


def test_the_value_of_who_acts_is_the_mean_of_what_it_does() -> None:
    """A fixed coupon in its own states: the exact means of its walk."""
    policy = Shares((0.0,) * 5 + (1.0,) + (0.0,) * 5)
    values = one_step_values(retail(**SMALL), policy, [policy], environments=3, seed=2)
    means = conditional(retail(**SMALL), policy, environments=3, skip=0, steps=6, seed=2)
    np.testing.assert_allclose(values[0], means.revenue.mean((0, 2)))


def test_values_are_in_the_states_of_the_log() -> None:
    """Σ_a π(a|x) E[r|a] over the very contexts that ``episodes`` logs with the same seed."""
    world = retail(**SMALL)
    log = episodes(world, Uniform(11), 60, seed=7, width=60)
    seen: list[np.ndarray] = []

    class Watching(Uniform):
        def probs(self, context: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
            seen.append(context.copy())
            return super().probs(context, allowed)

    values = one_step_values(
        retail(**SMALL), Uniform(11), [Watching(11), Shares((1.0,) + (0.0,) * 10)], environments=3, seed=7
    )
    assert values.shape == (2, 3)
    assert (np.stack(seen, 1).reshape(-1, 9) == log.context).all()


def test_errors_of_ratios_are_those_of_many() -> None:
    """2,000 ratios of autocorrelated steps: their spread is the stated error within a tenth."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((51, 30, 2000))
    steps = 5 + steps[1:] + 0.4 * steps[:-1]
    value, error = ratio(steps, np.full_like(steps, 2.0))
    assert value.mean() == pytest.approx(2.5, abs=0.01)
    assert value.std() == pytest.approx(error.mean(), rel=0.1)
