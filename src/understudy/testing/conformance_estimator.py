"""What every estimator must keep: its shapes, its sums, and the answers that need no statistics."""

from __future__ import annotations

import numpy as np

from understudy.core.evidence import Evidence
from understudy.core.protocols import Estimator
from understudy.core.registry import find
from understudy.core.steps import Steps
from understudy.testing.cast import MEANS, Table, tiny_bandit

NEEDS = frozenset({"propensity", "q", "match", "density_ratio"})
_BEHAVIOR = Table(((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)))
_TARGET = Table(((0.1, 0.2, 0.7), (0.6, 0.2, 0.2)))


def check_estimator(estimator: str | Estimator, *, n: int = 600) -> None:
    """Assert what holds for every estimator of one-step episodes; messages say which rule was broken.

    Args: a registered name (made with its defaults) or an estimator.
    """
    made: Estimator = find("estimators", estimator)() if isinstance(estimator, str) else estimator
    name = type(made).__name__
    assert made.needs <= NEEDS, f"{name}.needs has {set(made.needs - NEEDS)}, which no evidence can offer"
    evidence = _evidence(tiny_bandit(_BEHAVIOR, n, 0), _TARGET)
    terms = made.terms(evidence)
    assert terms.ndim == 2 and len(terms) == n, f"{name}.terms must be [episodes, p]; got {terms.shape}"
    assert np.isfinite(terms).all(), f"{name}.terms must be finite where weights are"
    _check_value(made, name, terms)
    _check_sums(made, name, evidence, terms)
    _check_known_answer(made, name, n)


def _evidence(steps: Steps, target: Table) -> Evidence:
    probs = target.probs(steps.context)  # [n, 3]
    own = probs[np.arange(steps.n), steps.action]
    q = MEANS[steps.context[:, 0].astype(int)]  # [n, 3] the true means: a model of other data
    assert steps.propensity is not None
    return Evidence(
        steps=steps,
        discount=1.0,
        ratio=own / steps.propensity,
        q=q[np.arange(steps.n), steps.action],
        v=(probs * q).sum(1),
        match=own >= probs.max(1),
        density_ratio=own / steps.propensity,
    )


def _check_value(made: Estimator, name: str, terms: np.ndarray) -> None:
    """A float of one mean; of many means at once, each as if it were alone: intervals depend on it."""
    mean = terms.mean(0)
    many = np.stack([mean, mean * 1.1, mean * 0.9])
    together = np.asarray(made.value(many))
    alone = np.array([float(made.value(row)) for row in many])
    assert together.shape == (3,), f"{name}.value must broadcast over leading axes; [3, p] gave {together.shape}"
    assert np.allclose(together, alone, rtol=1e-12, atol=0), f"{name}.value differs between one mean and many"


def _check_sums(made: Estimator, name: str, evidence: Evidence, terms: np.ndarray) -> None:
    """A row's terms depend on that row only: parts may be summed apart and in any order."""
    order = np.random.default_rng(1).permutation(len(terms))
    shuffled = made.terms(_take(evidence, order))
    assert np.allclose(shuffled, terms[order], rtol=1e-12, atol=1e-15), f"{name}.terms of a row depend on other rows"


def _check_known_answer(made: Estimator, name: str, n: int) -> None:
    """A constant reward, on-policy, with a model that knows it: the answer is that constant."""
    steps = tiny_bandit(_BEHAVIOR, n, 2)
    same = _evidence(steps.with_(reward=np.full(n, 0.3)), _BEHAVIOR)
    flat = np.full(n, 0.3)
    sure = Evidence(same.steps, 1.0, np.ones(n), flat, flat, np.ones(n, bool), np.ones(n))
    value = float(made.value(made.terms(sure).mean(0)))
    assert abs(value - 0.3) < 1e-9, f"{name} of a constant reward 0.3, on-policy, is {value}"


def _take(e: Evidence, order: np.ndarray) -> Evidence:
    steps, n = e.steps, e.steps.n
    assert steps.propensity is not None
    moved = steps.with_(
        starts=np.arange(n + 1), unit=steps.unit[order], time=steps.time[order], context=steps.context[order],
        action=steps.action[order], reward=steps.reward[order], propensity=steps.propensity[order], propensities=None,
    )  # fmt: skip
    columns = {f: getattr(e, f)[order] for f in ("ratio", "q", "v", "match", "density_ratio")}
    return Evidence(steps=moved, discount=1.0, **columns)
