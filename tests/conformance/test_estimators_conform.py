"""Every registered estimator keeps the rules, and the suite catches those that do not."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from understudy.core.evidence import Evidence
from understudy.core.registry import table
from understudy.testing.conformance_estimator import check_estimator


@pytest.mark.parametrize("name", sorted(table("estimators")))
def test_a_registered_estimator_keeps_the_rules(name: str) -> None:
    """Shapes, broadcasting, independence of rows, and the constant it must answer."""
    check_estimator(name)
    assert name in table("estimators")


@dataclass(frozen=True)
class Wrong:
    """An estimator with one fault at a time."""

    fault: str
    needs: ClassVar[frozenset[str]] = frozenset({"propensity"})

    def terms(self, e: Evidence) -> np.ndarray:
        x = e.ratio * e.steps.reward
        if self.fault == "normalised by row order":
            x = x / np.arange(1, len(x) + 1) * len(x)
        return x if self.fault == "flat" else x[:, None]

    def value(self, mean: np.ndarray) -> np.ndarray | float:
        if self.fault == "does not broadcast":
            return float(np.ravel(mean)[0])
        return mean[..., 0] + (0.1 if self.fault == "biased" else 0.0)


@pytest.mark.parametrize("fault", ["flat", "normalised by row order", "does not broadcast", "biased"])
def test_the_suite_catches(fault: str) -> None:
    """A suite that lets these pass would prove nothing."""
    check_estimator(Wrong("none"))
    with pytest.raises(AssertionError):
        check_estimator(Wrong(fault))
