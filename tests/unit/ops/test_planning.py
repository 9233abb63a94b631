"""The planner and the forecast."""

from __future__ import annotations

import doctest
import math

import msgspec
import pytest

from understudy.core.errors import ConfigError
from understudy.core.evidence import Lift
from understudy.ops import planning
from understudy.ops.planning import further, plan

WORLD = {"k": 7, "epsilon": 0.3, "gap": 0.04, "disagreement": 0.2, "reward": 0.7}
LIFT = Lift(
    candidate="new", incumbent="old", n=1000, margin=0.0, log_e=1.0, peak_log_e=1.0, mean=0.02, low=-0.1,
    second_moment=1.0, std_error=0.02, growth=0.0005, n_units=1000,
)  # fmt: skip


def test_examples_hold():
    """The docstrings' numbers are what the functions return."""
    assert doctest.testmod(planning).failed == 0


def test_the_same_question_has_the_same_answer():
    """A plan is deterministic: its simulation always draws the same logs."""
    assert plan(**WORLD) == plan(**WORLD)


def test_what_is_harder_takes_longer():
    """Less exploration, a smaller lift, a smaller allowance, more power, a margin: each needs more decisions."""
    base = plan(**WORLD).decisions
    assert base is not None
    for change in ({"epsilon": 0.1}, {"gap": 0.03}, {"alpha": 0.005}, {"power": 0.95}, {"margin": 0.01}):
        harder = plan(**(WORLD | change)).decisions
        assert harder is not None and harder > 1.1 * base, change


def test_beyond_the_limit_there_is_no_number():
    """More than the limit is said as None, with the rule of thumb still there."""
    made = plan(**(WORLD | {"epsilon": 0.001}), limit=10_000)
    assert made.decisions is None and made.matches is None
    assert made.rule_of_thumb > 10_000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"k": 1}, "k"), ({"epsilon": 0.0}, "epsilon"), ({"epsilon": 1.0}, "epsilon"),
        ({"disagreement": 0.0}, "disagreement"),
        ({"gap": 0.3}, "gap"), ({"gap": 0.0}, "gap"), ({"reward": 1.2}, "reward"), ({"alpha": 1.0}, "alpha"),
        ({"power": 0.0}, "power"), ({"gap": math.nan}, "gap"), ({"margin": 1.0}, "gap"),
    ],
)  # fmt: skip
def test_impossible_worlds_are_refused(change, field):
    """A number out of range, or a lift that no reward in [0, 1] could give, is a ConfigError that names it."""
    with pytest.raises(ConfigError) as caught:
        plan(**(WORLD | change))
    assert caught.value.field == field


def test_the_forecast_by_hand():
    """√(n g) = z/√2 + √(z²/2 + b) with z = .8416, b = ln 20 + ln(2/share): further units are n − 1000."""
    b = math.log(20) + math.log(2 / planning.SHARES[0])
    total = (0.8416212 / math.sqrt(2) + math.sqrt(0.8416212**2 / 2 + b)) ** 2 / 0.0005
    assert further(LIFT, math.log(20)) == math.ceil(total - 1000)


def test_a_lift_at_or_below_the_margin_is_forecast_from_the_highest_plausible():
    """mean 0 ± .02: the highest plausible lift is .0329, σ² = .4; below the margin by far there is no forecast."""
    flat = msgspec.structs.replace(LIFT, mean=0.0, growth=0.0)
    b = math.log(20) + math.log(2 / planning.SHARES[0])
    rate = (1.645 * 0.02) ** 2 / (2 * 0.4)
    total = (0.8416212 / math.sqrt(2) + math.sqrt(0.8416212**2 / 2 + b)) ** 2 / rate
    assert further(flat, math.log(20)) == pytest.approx(total - 1000, abs=1)
    assert further(msgspec.structs.replace(LIFT, mean=-0.1, growth=0.0), math.log(20)) is None
