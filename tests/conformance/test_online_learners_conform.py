"""Every registered learner that takes decisions as they come keeps what an online learner must keep."""

import pytest

from understudy.core.protocols import OnlineLearner
from understudy.core.registry import find, table
from understudy.learners.online_linear import OnlineLinear
from understudy.learners.online_neural import OnlineNeural
from understudy.testing import check_online_learner

ONLINE = [name for name in sorted(table("learners")) if isinstance(find("learners", name)(), OnlineLearner)]


@pytest.mark.parametrize("name", ONLINE)
def test_a_registered_online_learner_conforms(name: str) -> None:
    """As it comes, without any option set."""
    check_online_learner(name, n=70)


@pytest.mark.parametrize(
    "learner",
    [
        OnlineLinear(explore="votes", amount=0.0, growth=0.0, quadratic=False, draws=7),
        OnlineLinear(capacity=40, quadratic=False),
        OnlineNeural(capacity=40, hidden=(8,), loss="squared", epsilon=0.1),
        OnlineNeural(capacity=33, hidden=(), updates=1, explore="softmax", amount=2.0),
    ],
    ids=["thompson", "features stay", "ring", "ring of an odd size"],
)
def test_its_settings_conform_too(learner: OnlineLearner) -> None:
    """Also where the memory is full and the oldest decisions make room."""
    check_online_learner(learner, n=90)


def test_both_are_there() -> None:
    """A filter that finds nobody would prove nothing."""
    assert set(ONLINE) == {"online_linear", "online_neural"}


class Forgetful:
    """An online learner that loses its place when it is saved."""

    def __init__(self) -> None:
        self.inner = OnlineNeural(hidden=(8,))
        self.init, self.update, self.policy = self.inner.init, self.inner.update, self.inner.policy

    def resume(self, problem, state):
        learning = self.inner.resume(problem, state)
        learning.turns = 0
        return learning


class Batched:
    """An online learner whose result depends on how decisions are cut."""

    def __init__(self) -> None:
        self.inner = OnlineLinear(quadratic=False)
        self.init, self.policy, self.resume = self.inner.init, self.inner.policy, self.inner.resume

    def update(self, learning, steps):
        learning = self.inner.update(learning, steps)
        learning.theta = learning.theta * 1.001
        return learning


@pytest.mark.parametrize("wrong", [Forgetful, Batched])
def test_the_suite_catches(wrong) -> None:
    """A suite that lets these pass would prove nothing."""
    with pytest.raises(AssertionError):
        check_online_learner(wrong(), n=70)
