"""What every policy must keep, whoever wrote it: ``check_policy(policy, problem)`` or an AssertionError."""

from __future__ import annotations

import json

import numpy as np

from understudy.core.problem import Problem
from understudy.core.protocols import DiscretePolicy, Policy
from understudy.core.registry import find
from understudy.ops.explore import check_pmf
from understudy.testing.conformance_density import check_density

DRAWS = 8_000
ALARM = 1e-7  # chance that a sound policy fails the frequency check, over all actions and contexts tried


def check_policy(policy: Policy, problem: Problem, *, seed: int = 0) -> None:
    """Valid probabilities, ``allowed`` respected, actions drawn from them, saved and loaded bit for bit."""
    rng = np.random.default_rng(seed)
    context = contexts(problem, 64, rng)
    if not problem.actions.discrete:
        return check_density(policy, problem, context)
    assert isinstance(policy, DiscretePolicy), (
        f"over named actions a policy has probs; {type(policy).__name__} has none"
    )
    _check_pmf(policy, problem, context, rng)


def _check_pmf(policy: DiscretePolicy, problem: Problem, context: np.ndarray, rng: np.random.Generator) -> None:
    k = problem.actions.k
    for allowed in masks(64, k, rng):
        p = policy.probs(context, allowed)
        assert p.shape == (64, k) and p.dtype == np.float64, f"probs must be f64[64, {k}]; got {p.dtype}{p.shape}"
        check_pmf(p, allowed)
        action, propensity = policy.act(context, np.random.default_rng(1), allowed)
        again, _ = policy.act(context, np.random.default_rng(1), allowed)
        assert action.dtype == np.int32 and (action == again).all(), "the same generator must give the same i32 actions"
        assert (propensity > 0).all(), "an action was taken that has probability 0"
        assert (propensity == p[np.arange(64), action]).all(), "act must report the probability that probs gives"
        assert (policy.prob(context, action, allowed) == propensity).all(), "prob must agree with act"
        rows = [policy.probs(context[i : i + 1], None if allowed is None else allowed[i : i + 1]) for i in range(8)]
        np.testing.assert_allclose(np.concatenate(rows), p[:8], atol=1e-9, err_msg="a row must not depend on its batch")
    assert policy.probs(context[:0]).shape == (0, k), "no row in, no row out"
    _drawn_from_the_pmf(policy, context, rng)
    _comes_back(policy, context)


def contexts(problem: Problem, n: int, rng: np.random.Generator) -> np.ndarray:
    """Contexts that the problem permits, f32[n, d]: large numbers, every category, gaps where optional."""
    columns = []
    for feature in problem.features:
        if feature.kind == "number":
            column = rng.standard_normal(n) * 10.0 ** rng.integers(-2, 4, n)
        else:
            values = len(feature.values) + feature.open if feature.kind == "category" else 2
            column = rng.integers(0, values, n).astype(np.float64)
        if feature.optional:
            column = np.where(rng.random(n) < 0.3, np.nan, column)
        columns.append(column)
    return np.column_stack(columns).astype(np.float32)


def masks(n: int, k: int, rng: np.random.Generator) -> list[np.ndarray | None]:
    """No mask, a random one, and one that leaves a single action: bool[n, k]."""
    only = np.eye(k, dtype=bool)[rng.integers(0, k, n)]
    return [None, only | (rng.random((n, k)) < 0.5), only]


def _drawn_from_the_pmf(policy: DiscretePolicy, context: np.ndarray, rng: np.random.Generator) -> None:
    from scipy.stats import binomtest

    for row in range(3):
        same = np.repeat(context[row : row + 1], DRAWS, 0)
        p = policy.probs(context[row : row + 1])[0]
        taken = np.bincount(policy.act(same, rng)[0], minlength=len(p))
        for a, share in enumerate(p):
            chance = binomtest(int(taken[a]), DRAWS, min(float(share), 1.0)).pvalue
            assert chance > ALARM / (3 * len(p)), f"action {a} has probability {share} and was drawn {taken[a]}/{DRAWS}"


def _comes_back(policy: DiscretePolicy, context: np.ndarray) -> None:
    state = policy.state()
    config = json.loads(json.dumps(state.config))
    assert config == state.config, "a state's config must be plain JSON"
    twin = find("states", state.kind).from_state(type(state)(state.kind, config, state.arrays))
    assert twin.probs(context).tobytes() == policy.probs(context).tobytes(), (
        "a loaded policy must act bit for bit alike"
    )
