"""What comes after a cut, for estimators: the context and the mask that were logged for it."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import Steps
from understudy.models.policies import Uniform
from understudy.ope.following import following, next_probs, tell_time

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b", "c")), discount=0.9, horizon=None)
STEPS = Steps(
    starts=np.array([0, 2, 3]), unit=np.arange(2, dtype=np.uint64), time=np.arange(3),
    context=np.arange(3, dtype=np.float32)[:, None], action=np.zeros(3, np.int32), reward=np.ones(3),
    terminated=np.array([False, False, True]), truncated=np.array([False, True, False]),
    allowed=np.array([[True, True, True], [True, False, False], [True, True, False]]), propensity=np.full(3, 0.5),
    final_context=np.array([[9.0], [np.nan]], np.float32),
)  # fmt: skip


@pytest.mark.parametrize("known, after", [
    (None, [True, True, True]), (np.array([[False, True, True], [True, True, True]]), [False, True, True]),
])  # fmt: skip
def test_a_cut_goes_on_with_the_mask_of_what_followed(known, after):
    """Not with that of its last step; where none was logged, everything could be done."""
    steps = STEPS.with_(final_allowed=known)
    then = following(steps, PROBLEM)
    assert then.allowed is not None and then.allowed[0].tolist() == [True, False, False]
    assert then.allowed[1].tolist() == after and then.context[1] == 9.0
    probs = next_probs(Uniform(3), steps, np.full((3, 3), np.nan), then)
    np.testing.assert_allclose(probs[1], np.array(after) / sum(after))
    assert tell_time(steps)[0].final_allowed is None
    assert steps.allowed is not None and steps.allowed[1].tolist() == [True, False, False]
