"""Every registered learner, and every way a direct learner can choose, keeps what a learner must keep."""

from dataclasses import replace
from typing import Any

import pytest

from understudy.core.protocols import GradientLearner
from understudy.core.registry import find, table
from understudy.testing import check_learner

LIGHT = {"trees": 5, "min_leaf": 3}
SHORT = {"steps": 100, "batch": 32}
VARIANTS = [
    ("direct", {"model": "logistic"}),
    ("direct", {"model": "trees", "options": {"rounds": 5}}),
    ("direct", {"model": "trees", "options": {"rounds": 5, "pooled": False}}),
    ("direct", {"model": "forest", "options": LIGHT}),
    ("direct", {"model": "forest", "options": LIGHT | {"pooled": False}}),
    ("direct", {"model": "forest", "options": LIGHT, "explore": "votes", "amount": 0.05}),
    ("direct", {"options": {"shared": True}, "explore": "epsilon_greedy", "amount": 0.1}),
    ("direct", {"options": {"signed_log": True}, "explore": "softmax", "amount": 3.0}),
    ("direct", {"explore": "squarecb", "amount": 20.0}),
    ("ipw", {"classifier": "forest", "options": LIGHT}),
    ("ipw", {"explore": "sample"}),
    ("dr", {"final": "forest", "final_options": LIGHT, "model": "logistic"}),
    ("lin_ucb", {"shared": True, "forgetting": 0.99}),
    ("lin_ts", {"shared": True, "signed_log": True}),
    ("bag", {"model": "forest", "options": LIGHT, "size": 3}),
    ("floor", {"base": "lin_ucb", "epsilon": 0.2}),
    ("direct", {"options": {"signed_log": True, "quadratic": True}}),
    ("lin_ucb", {"quadratic": True}),
    ("neural", {"members": 3, "explore": "votes", "amount": 0.0, "growth": 0.0, "epsilon": 0.05} | SHORT),
    ("neural", {"loss": "squared", "explore": "epsilon_greedy", "amount": 0.1, "growth": 0.0, "hidden": ()} | SHORT),
    ("forest_ts", {"trees": 5, "pooled": False, "epsilon": 0.1}),
    ("online_linear", {"explore": "votes", "amount": 0.0, "growth": 0.0, "quadratic": False, "draws": 9}),
    ("dqn", {"target": "max", "dueling": True, "loss": "squared", "explore": 0.1, "n": 3, "scale": 0.1}),
    ("bcq", {"imitation": "knn", "threshold": 0.5}),
    ("crr", {"weight": "exp", "critics": 2, "sample": True}),
    ("greedy_ac", {"family": "q_gaussian_heavy", "critics": 1, "n_rho": (10, 0.2)}),
    ("tawac", {"family": "q_gaussian_light", "index": 1.0, "sample": True}),
    ("average_ac", {"family": "beta", "tilings": 0, "scaled": False}),
    ("reward_network", {"loss": "cross_entropy", "ips": True}),
    ("vw", {"explore": "greedy"}),
    ("vw", {"explore": "bag", "amount": 3, "adf": False}),
    ("vw", {"explore": "regcbopt", "amount": 0.0, "quadratic": False}),
]


def short(learner: Any) -> Any:
    """The same learner after 200 minibatches of 32 (two chunks), if it learns by minibatches."""
    return replace(learner, updates=200, batch=32) if isinstance(learner, GradientLearner) else learner  # type: ignore


@pytest.mark.parametrize("name", sorted(table("learners")))
def test_every_registered_learner_conforms(name: str) -> None:
    """A learner as it comes, but for the length of its training."""
    check_learner(short(find("learners", name)()))


@pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
def test_every_variant_conforms(name: str, options: dict) -> None:
    """The options that change which model or rule acts."""
    check_learner(short(find("learners", name)(**options)))
