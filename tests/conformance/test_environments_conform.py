"""Every registered world, and every knob of the synthetic one, keeps what a world must keep."""

from pathlib import Path

import numpy as np
import pytest

from understudy.core.protocols import View
from understudy.core.registry import find, table
from understudy.testing import check_environment

SHUTTLE = Path(__file__).parents[2].parent / "shared" / "data" / "statlog-shuttle" / "shuttle.trn"


@pytest.mark.parametrize("name", sorted(set(table("envs")) - {"shuttle"}))
def test_every_registered_world_conforms(name: str) -> None:
    """A world as it comes, without any option set."""
    check_environment(name)


def test_shuttle_conforms() -> None:
    """The real data, where they are at hand."""
    if not SHUTTLE.exists():
        pytest.skip(f"no file {SHUTTLE}")
    check_environment(find("envs", "shuttle")(path=SHUTTLE))


@pytest.mark.parametrize(
    "knobs",
    [
        {"rewards": "exact"},
        {"rewards": "continuous", "noise": 0.5},
        {"rewards": "heavy"},
        {"rewards": "heavy", "drift": 0.8, "horizon": 500},
        {"missing": 0.2, "blocked": 0.4},
        {"k": 2, "d": 1, "population": 50},
    ],
    ids=lambda knobs: "-".join(f"{k}={v}" for k, v in knobs.items()),
)
def test_every_knob_of_the_synthetic_bandit_conforms(knobs: dict) -> None:
    """Whatever the knobs, the truth is what a long walk earns."""
    check_environment(find("envs", "bandit")(**knobs))


def test_noisy_digits_conform() -> None:
    """Flipped rewards stay 0 or 1, and the truth knows of the flips."""
    check_environment(find("envs", "digits")(noise=0.2))


@pytest.mark.parametrize("id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_gymnasiums_worlds_conform(id: str) -> None:
    """Numbers and categories, actions by name and in a box. A short limit, so that it is met."""
    pytest.importorskip("gymnasium")
    from understudy.envs.gym import gym

    check_environment(gym(id, steps=25))


@pytest.mark.parametrize("name", ["cartpole", "pendulum"])
def test_time_limits_conform(name: str) -> None:
    """Two steps, and the limit of CartPole-v1."""
    for steps in (2, 500):
        check_environment(find("envs", name)(steps=steps))


class _Forgetful:
    """A pole whose time limit is not begun anew: what the check of endings is there to catch."""

    def __init__(self) -> None:
        self._pole = find("envs", "cartpole")(steps=30)
        self.problem = self._pole.problem
        self.reset, self.step = self._pole.reset, self._pole.step

    def renew(self, ended: np.ndarray) -> View:
        age = self._pole._age.copy()
        view = self._pole.renew(ended)
        self._pole._age = age
        return view


def test_a_world_that_forgets_to_restart_its_clock_does_not_conform() -> None:
    """Its second episodes are truncated too early."""
    with pytest.raises(AssertionError, match="truncated after"):
        check_environment(_Forgetful())
