"""A chain of three states: what estimators are expected to say is computed by enumeration, and must be the truth."""

from dataclasses import replace

import numpy as np
import pytest

from understudy.core.evidence import Evidence
from understudy.core.registry import find
from understudy.core.steps import Steps, concat
from understudy.ope.fqe import fit_q
from understudy.ope.visits import fit_visits
from understudy.testing.chain import (
    ChainPolicy,
    chain_paths,
    chain_problem,
    exact_q,
    exact_value,
    tiny_chain,
)  # fmt: skip

BEHAVIOR = ChainPolicy((0.5, 0.4, 0.6))
TARGET = ChainPolicy((0.8, 0.3, 0.9))
H = 4


def evidence(steps: Steps, q: np.ndarray, discount: float = 0.9) -> Evidence:
    """Evidence about TARGET with a table q f64[3, 2]."""
    place = steps.context[:, 0].astype(int)
    pi = TARGET.probs(steps.context)
    own = pi[np.arange(steps.n), steps.action]
    return Evidence(
        steps, discount, own / steps.propensity, q=q[place, steps.action], v=(pi * q[place]).sum(1), horizon=H
    )  # fmt: skip


def test_the_chain_itself_is_consistent() -> None:
    """All episodes together have probability 1 and the value that backward induction gives."""
    steps, chance = chain_paths(TARGET, H)
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    gain = np.add.reduceat(steps.reward * 0.9 ** _t(steps), steps.starts[:-1])
    assert chance @ gain == pytest.approx(exact_value(TARGET, 0.9, H), abs=1e-12)
    assert exact_value(TARGET, 0.9, 500) == pytest.approx(exact_value(TARGET), abs=1e-12)


@pytest.mark.parametrize("name", ["tis", "pdis", "sdr"])
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_unbiased_estimators_expect_the_truth(name: str, wrong: float) -> None:
    """Σ over every possible episode of probability × term = value of the target, however wrong Q̂ is."""
    steps, chance = chain_paths(BEHAVIOR, H)
    q = wrong * np.array([[3.0, -1.0], [0.5, 2.0], [1.0, 1.0]])
    terms = find("estimators", name)().terms(evidence(steps, q))
    assert chance @ terms[:, 0] == pytest.approx(exact_value(TARGET, 0.9, H), abs=1e-12)


@pytest.mark.parametrize("name", ["wis", "cwpdis", "wdr", "magic"])
def test_consistent_estimators_have_the_truth_as_their_limit(name: str) -> None:
    """value(E terms) = value of the target: what infinitely many episodes would say."""
    steps, chance = chain_paths(BEHAVIOR, H)
    estimator = find("estimators", name)()
    terms = estimator.terms(evidence(steps, np.array([[3.0, -1.0], [0.5, 2.0], [1.0, 1.0]])))
    assert float(estimator.value(chance @ terms)) == pytest.approx(exact_value(TARGET, 0.9, H), abs=1e-12)


@pytest.mark.parametrize("name", ["cwpdis", "wdr"])
def test_averaging_only_those_alive_has_another_limit(name: str) -> None:
    """Why ``alive`` is not the default: episodes that end early make it wrong, however many there are."""
    steps, chance = chain_paths(BEHAVIOR, H)
    estimator = find("estimators", name)(alive=True)
    terms = estimator.terms(evidence(steps, np.zeros((3, 2))))
    assert abs(float(estimator.value(chance @ terms)) - exact_value(TARGET, 0.9, H)) > 0.05


def test_exact_q_leaves_sequential_dr_without_a_correction() -> None:
    """With exact Q of the rest of the episode, E[D | first state] = V(first state) and residual means vanish."""
    steps = tiny_chain(BEHAVIOR, 400, 3, noise=0.0)
    e = replace(evidence(steps, exact_q(TARGET)), horizon=None)
    value = find("estimators", "fqe")()
    assert float(value.value(value.terms(e).mean(0))) == pytest.approx(
        float((np.bincount(steps.context[steps.starts[:-1], 0].astype(int), minlength=3) / steps.m)
              @ (TARGET.probs(np.arange(3)[:, None]) * exact_q(TARGET)).sum(1)), abs=1e-12)  # fmt: skip


def _t(steps: Steps) -> np.ndarray:
    return np.arange(steps.n) - np.repeat(steps.starts[:-1], np.diff(steps.starts))


def _frequencies(discount: float, horizon: int | None, m: int = 40_000) -> Steps:
    return tiny_chain(BEHAVIOR, m, 5, horizon=horizon or 400, noise=0.0)


@pytest.mark.parametrize("q", ["ridge", "tabular"])
def test_the_table_is_the_fixed_point_of_the_log(q: str) -> None:
    """Q̂ = R̂ + γ P̂ Π Q̂ with the log's own frequencies of the other folds, solved here by hand, to 1e-9."""
    steps, problem = tiny_chain(BEHAVIOR, 500, 1, noise=0.5), chain_problem()
    fitted = fit_q(steps, problem, TARGET, q, folds=2)
    from understudy.core.hashing import buckets

    model = fitted.crossfit.models[0]
    keep = buckets(steps.unit, 2, fitted.crossfit.salt) != 0
    own = steps.episodes(keep)
    place, after = own.context[:, 0].astype(int), np.append(own.context[1:, 0], 0).astype(int)
    count, reward, move = np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2, 3))
    for i in range(own.n):
        count[place[i], own.action[i]] += 1
        reward[place[i], own.action[i]] += own.reward[i]
        if not own.terminated[i]:
            move[place[i], own.action[i], after[i]] += 1
    pi = TARGET.probs(np.arange(3)[:, None])
    step = (move / count[..., None])[..., None] * pi
    by_hand = np.linalg.solve(np.eye(6) - 0.9 * step.reshape(6, 6), (reward / count).ravel()).reshape(3, 2)
    np.testing.assert_allclose(model.values(np.arange(3, dtype=np.float32)[:, None]), by_hand, atol=1e-9)


def test_fitted_q_and_visit_ratios_find_the_chain() -> None:
    """From 40,000 episodes Q̂ and ω lie within sampling error of the exact ones (6 standard errors)."""
    steps, problem = _frequencies(0.9, None), chain_problem()
    place = np.arange(3, dtype=np.float32)[:, None]
    fitted = fit_q(steps, problem, TARGET, "ridge")
    np.testing.assert_allclose(fitted.crossfit.models[0].values(place), exact_q(TARGET), atol=0.06)
    omega = fit_visits(steps, problem, TARGET)
    pi = TARGET.probs(np.arange(3)[:, None])
    from understudy.testing.chain import END, NEXT, START

    flow = np.einsum("sa,sat->st", pi, NEXT[:, :, :END])
    visits = np.linalg.solve(np.eye(3) - 0.9 * flow.T, START)
    logged = np.bincount(steps.context[:, 0].astype(int), minlength=3) / steps.m
    one = Steps(**{**concat([steps.episodes(np.arange(steps.m) < 50)]).__dict__})
    got = omega(one)
    for state in range(3):
        here = one.context[:, 0].astype(int) == state
        np.testing.assert_allclose(got[here], (visits / logged)[state], rtol=0.05)


def test_a_horizon_makes_the_clock_a_feature() -> None:
    """Undiscounted, five steps: Q̂ depends on the time left, and the table finds the value of the finite problem."""
    steps, problem = _frequencies(1.0, 5), chain_problem(1.0, 5)
    fitted = fit_q(steps, problem, TARGET, "ridge")
    assert fitted.clock
    first = steps.starts[:-1]
    v = (fitted.values(steps) * TARGET.probs(steps.context)).sum(1)[first]
    assert v.mean() == pytest.approx(exact_value(TARGET, 1.0, 5), abs=0.02)


def test_cut_episodes_go_on_in_the_model() -> None:
    """Episodes cut after 3 steps, with the context that followed: Q̂ is that of the whole problem."""
    steps, problem = tiny_chain(BEHAVIOR, 40_000, 7, horizon=3, noise=0.0, cut=True), chain_problem()
    fitted = fit_q(steps, problem, TARGET, "ridge")
    place = np.arange(3, dtype=np.float32)[:, None]
    np.testing.assert_allclose(fitted.crossfit.models[0].values(place), exact_q(TARGET), atol=0.06)
    end = fitted.end(steps, TARGET)
    assert end is not None and (end[steps.terminated[steps.starts[1:] - 1]] == 0).all()
    estimator = find("estimators", "sdr")()
    e = replace(evidence(steps, exact_q(TARGET)), horizon=None, v_end=end)
    terms = estimator.terms(e)[:, 0]
    assert abs(terms.mean() - exact_value(TARGET)) < 5 * terms.std() / np.sqrt(len(terms))
