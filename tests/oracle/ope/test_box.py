"""Q̂ over continuous actions against closed forms: one step, and a linear chain with quadratic rewards."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import Steps, bandit_steps
from understudy.data.dataset import MemoryDataset
from understudy.models.ridge import Ridge
from understudy.ope.evaluate import evaluate
from understudy.ope.fqe_box import DRAWS, fit_box_q

A, B, NOISE, COST, GAMMA = 0.8, 0.5, 0.3, 0.5, 0.9
WIDE = 50.0
BEHAVIOR_STD = 0.7


@dataclass(frozen=True)
class Gaussian:
    """u ~ N(gain·x, std²), far inside the box."""

    gain: float
    std: float

    def prob(self, context, action, allowed=None):
        z = (action[:, 0] - self.gain * context[:, 0].astype(float)) / self.std
        return np.exp(-0.5 * z**2) / (self.std * np.sqrt(2 * np.pi))

    def act(self, context, rng, allowed=None):
        action = (self.gain * context[:, :1] + self.std * rng.standard_normal((len(context), 1))).astype(np.float32)
        return action, self.prob(context, action)

    def state(self):
        return State("gaussian")


TARGET, LOGGED = Gaussian(-0.4, 0.5), Gaussian(-0.1, BEHAVIOR_STD)
CHAIN = Problem(
    features=(Feature(name="x"),), actions=ActionSpace(low=(-WIDE,), high=(WIDE,)), reward_range=(-100.0, 0.0),
    discount=GAMMA, horizon=None, unit="episode",
)  # fmt: skip


def chain(m: int, steps: int, seed: int) -> Steps:
    """m episodes of x' = Ax + Bu + w, r = −x² − COST·u², x_0 ~ N(0, 1), all cut after ``steps``."""
    rng = np.random.default_rng(seed)
    x, rows = rng.standard_normal(m), []
    for _ in range(steps):
        u, p = LOGGED.act(x[:, None].astype(np.float32), rng)
        rows.append((x, u[:, 0].astype(float), p, -(x**2) - COST * u[:, 0] ** 2))
        x = A * x + B * u[:, 0] + NOISE * rng.standard_normal(m)
    context, action, p, reward = (np.stack(column, 1).ravel() for column in zip(*rows))
    n, last = m * steps, np.arange(m * steps) % steps == steps - 1
    return Steps(
        starts=np.arange(0, n + 1, steps), unit=np.arange(m, dtype=np.uint64), time=np.arange(n),
        context=context[:, None].astype(np.float32), action=action[:, None].astype(np.float32), reward=reward,
        terminated=np.zeros(n, bool), truncated=last, propensity=p, final_context=x[:, None].astype(np.float32),
    )  # fmt: skip


def truth(policy: Gaussian, g: float = GAMMA) -> tuple[float, float]:
    """V(x) = −P x² − s: P = 1 + c k² + γ P (A + Bk)², s = (c σ² + γ P (B² σ² + w²)) / (1 − γ)."""
    p = (1 + COST * policy.gain**2) / (1 - g * (A + B * policy.gain) ** 2)
    s = (COST * policy.std**2 + g * p * (B**2 * policy.std**2 + NOISE**2)) / (1 - g)
    return p, s


def test_the_value_of_a_linear_chain_is_that_of_its_riccati_equation() -> None:
    """Quadratic in (x, u), so the closed form can say it exactly: Q̂ and V̂ at given points, within 2 % of their size.

    The log is 1,500 episodes of 20 steps; another 1,500 miss by as much.
    """
    fitted = fit_box_q(chain(1_500, 20, 0), CHAIN, TARGET, Ridge(penalty=1e-3, quadratic=True))
    x, u = (grid.ravel() for grid in np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-1.5, 1.5, 7)))
    at = bandit_steps(x[:, None], u[:, None], np.zeros(len(x)), np.ones(len(x)))
    q, v = fitted.judged(at, TARGET)
    p, s = truth(TARGET)
    following = p * ((A * x + B * u) ** 2 + NOISE**2) + s
    np.testing.assert_allclose(q, -(x**2) - COST * u**2 - GAMMA * following, rtol=0.02)
    # V̂ is a mean of DRAWS draws of Q̂: its error beside Q̂'s own, four standard errors of a slope of at most 4σ.
    np.testing.assert_allclose(v, -p * x**2 - s, rtol=0.02, atol=4 * 4 * TARGET.std / np.sqrt(DRAWS))


@pytest.mark.parametrize("name", ["fqe", "sdr", "wdr", "drl"])
def test_estimates_of_a_linear_chain_cover_its_value(name: str) -> None:
    """E V(x_0) = −P − s. Within 4 standard errors and 2 % (products of 20 ratios are left to what can bear them).

    fqe states no error; that of the mean of P x_0² is P √(2/m).
    """
    p, s = truth(TARGET)
    steps = chain(1_500, 3 if name in ("sdr", "wdr") else 20, 1)
    (found,) = evaluate(MemoryDataset(CHAIN, steps), {"target": TARGET}, [name])
    error = p * np.sqrt(2 / 1_500) if name == "fqe" else found.std_error
    assert error is not None and abs(found.value + p + s) < 4 * error + 0.02 * (p + s)
    assert abs(found.value - float(evaluate(MemoryDataset(CHAIN, steps), {"logged": None}, ["tis"])[0].value)) > 0.5


def test_one_step_is_the_bandit_formula() -> None:
    """At horizon 1 sdr, wdr and drl are dr = mean(v̂ + ρ(r − q̂)), and fqe is dm = mean(v̂): to 1e-12."""
    one = Problem(features=CHAIN.features, actions=CHAIN.actions, reward_range=(-100.0, 0.0))
    log = chain(2_000, 1, 3)
    log = log.with_(terminated=log.truncated, truncated=log.terminated, final_context=None)
    found = {e.estimator: e.value for e in evaluate(
        MemoryDataset(one, log), {"target": TARGET}, ["dr", "sdr", "drl", "dm", "fqe"], q="ridge")}  # fmt: skip
    q, v = fit_box_q(log, one, TARGET, "ridge").judged(log, TARGET)
    ratio = TARGET.prob(log.context, log.action) / log.propensity
    by_hand = float((v + ratio * (log.reward - q)).mean())
    assert found["dr"] == pytest.approx(by_hand, abs=1e-12)
    assert found["sdr"] == pytest.approx(by_hand, abs=1e-12) and found["drl"] == pytest.approx(by_hand, abs=1e-12)
    assert found["dm"] == pytest.approx(v.mean(), abs=1e-12) and found["fqe"] == pytest.approx(v.mean(), abs=1e-12)
    truth_of_one = -1 - COST * (TARGET.gain**2 + TARGET.std**2)
    assert found["dr"] == pytest.approx(truth_of_one, abs=0.15)


def test_any_regressor_will_do_and_a_table_will_not() -> None:
    """Trees by ten backups come within 5 % where γ^10 is small; a table over numbers is refused."""
    near = msgspec.structs.replace(CHAIN, discount=0.5)
    steps, (p, s) = chain(300, 20, 5), truth(TARGET, 0.5)
    q, v = fit_box_q(steps, near, TARGET, "trees", folds=2).judged(steps, TARGET)
    assert q.min() >= -100 / (1 - 0.5) and q.max() <= 0
    assert v.mean() == pytest.approx(-p * float((steps.context**2).mean()) - s, rel=0.05)
    with pytest.raises(ConfigError, match="no table"):
        fit_box_q(steps, CHAIN, TARGET, "tabular")


def test_an_episode_that_reached_its_horizon_has_a_clock() -> None:
    """Two steps of horizon 2: nothing follows the second, and the value of the first knows it."""
    two = Problem(features=CHAIN.features, actions=CHAIN.actions, reward_range=(-100.0, 0.0), discount=GAMMA, horizon=2)
    steps = chain(3_000, 2, 7)
    found = fit_box_q(steps, two, TARGET, "ridge")
    v = found.judged(steps, TARGET)[1][::2].mean()
    one = 1 + COST * TARGET.gain**2
    last = COST * TARGET.std**2
    p = one + GAMMA * one * (A + B * TARGET.gain) ** 2
    s = last + GAMMA * (one * (B**2 * TARGET.std**2 + NOISE**2) + last)
    assert found.clock and found.end(steps, TARGET) is None
    assert v == pytest.approx(-p - s, rel=0.05)
    assert replace(found, seed=1).judged(steps, TARGET)[1].mean() == pytest.approx(
        found.judged(steps, TARGET)[1].mean(), rel=0.01
    )
