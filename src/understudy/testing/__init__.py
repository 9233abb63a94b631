"""The workshop: a small shared cast and conformance suites, shipped so that others can prove their own parts."""

from understudy.testing.conformance_environment import check_environment
from understudy.testing.conformance_estimator import check_estimator
from understudy.testing.conformance_executor import EXECUTOR_CHECKS, Ground
from understudy.testing.conformance_learner import check_learner
from understudy.testing.conformance_online import check_online_learner
from understudy.testing.conformance_policy import check_policy

__all__ = [
    "EXECUTOR_CHECKS",
    "Ground",
    "check_environment",
    "check_estimator",
    "check_learner",
    "check_online_learner",
    "check_policy",
]
