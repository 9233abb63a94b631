"""Arrays that are no log are refused at the door, with the first offender."""

import numpy as np
import pytest

from understudy.core.errors import DataError
from understudy.ope.evidence import from_arrays, point_values
from understudy.ope.naming import parse


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "action": rng.integers(0, 3, 20), "reward": rng.random(20), "propensity": np.full(20, 1 / 3),
        "probs": rng.dirichlet(np.ones(3), 20), "q": rng.random((20, 3)),
    }  # fmt: skip


@pytest.mark.parametrize("value", [0.0, -0.5, 1.5, np.nan, np.inf])
def test_a_propensity_outside_0_1_is_refused(value: float) -> None:
    """Above 1 too, where the weight would be finite and too small; also where the target's probability is 0."""
    for probability in (1 / 3, 0.0):
        log = arrays()
        log["propensity"][4], log["action"][4] = value, 0
        log["probs"][4] = probability, 1 - probability, 0.0
        with pytest.raises(DataError, match="row 4"):
            from_arrays(**log)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rewards_and_models_must_be_finite(value: float) -> None:
    """The error names the row, and does not say that log and target share no action."""
    log = arrays()
    log["reward"][7] = value
    with pytest.raises(DataError, match="no finite reward; first: row 7"):
        from_arrays(**log)
    log = arrays()
    log["q"][9, 1] = value
    with pytest.raises(DataError, match="no finite value of the model; first: row 9"):
        from_arrays(**log)


def test_rewards_whose_sum_overflows_are_finite_all_the_same() -> None:
    """Two rewards of 1e308 add up to infinity, and are not refused for it."""
    log = arrays()
    log["reward"][:] = 1e308
    assert from_arrays(**log).steps.reward.max() == 1e308


@pytest.mark.parametrize("action", [np.full(20, 0.5), np.zeros(20, bool)])
def test_actions_must_be_whole_numbers(action: np.ndarray) -> None:
    """Neither halves nor a mask are indices."""
    with pytest.raises(DataError, match="whole numbers"):
        from_arrays(**{**arrays(), "action": action})


def test_a_sound_log_passes() -> None:
    """The arrays that the others spoil."""
    assert 0 < point_values(from_arrays(**arrays()), {"ips": parse("ips")})["ips"] < 3
