"""Every registered world, and every knob of the synthetic one, keeps what a world must keep."""

from pathlib import Path

import pytest

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
