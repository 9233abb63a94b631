"""Families of distributions over the box: what they integrate to, draw, say of their entropy, and leave in a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from understudy.core.errors import ConfigError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.registry import find
from understudy.core.steps import bandit_steps
from understudy.learners.loop import jax
from understudy.models import load
from understudy.models.families import FAMILIES
from understudy.models.families.policy import FamilyActor, box_of
from understudy.models.families.q_gaussian import FLOOR
from understudy.models.feature_map import fit_feature_map
from understudy.models.scoring import Keyed
from understudy.models.state_file import read_state, write_state
from understudy.ops.network import start
from understudy.testing import check_policy

X, W = np.polynomial.legendre.leggauss(20)
STRIP = Problem(features=tuple(Feature(name=f"x{i}") for i in range(3)), actions=ActionSpace(low=(-2.0,), high=(1.0,)))
WIDE = Problem(features=STRIP.features, actions=ActionSpace(low=(-2.0, 0.0), high=(1.0, 5.0)))
OTHERS = [name for name in FAMILIES if name != "squashed"]


def family(name: str) -> Any:
    return find("families", name)()


def panels(name: str, params: tuple[np.ndarray, ...], fine: int = 60) -> np.ndarray:
    """Edges between which the density of one row and dimension is smooth: fine about its mode, and where it ends."""
    if name == "softmax":
        return np.linspace(-1, 1, 26)
    if name in ("beta", "squashed"):
        return np.tanh(np.linspace(-9, 9, 10 * fine))
    middle, reach = params[0][0, 0], np.geomspace(1e-3, 2, fine)
    ends = np.sqrt(2) * np.exp(params[1][0, 0]) if name == "q_gaussian_light" else 2.0
    edges = np.concatenate([[-1, 1, middle, middle - ends, middle + ends], middle - reach, middle + reach])
    return np.unique(np.clip(edges, -1, 1))


def grid(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in all panels, and their weights: Σ w f(y) ≈ ∫ f."""
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * X).ravel(), (half[:, None] * W).ravel()


def some(name: str, scale: float, q: int = 1, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Parameters of one row, from scores of that size."""
    scores = scale * np.random.default_rng(seed).standard_normal((1, family(name).outputs(q)))
    return family(name).read(np, scores, q)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_density_integrates_to_one(name: str, scale: float) -> None:
    """Over [−1, 1], and −∫ π log π is the entropy. At its widest 10⁻⁵ of squashed lies in the last 10⁻⁶ of the box."""
    for seed in range(5):
        params = some(name, scale, seed=seed)
        y, w = grid(panels(name, params))
        log = family(name).log_density(np, params, y[:, None])
        assert abs((w * np.exp(log)).sum() - 1) < (2e-5 if name == "squashed" else 1e-6)
        entropy = family(name).entropy(np, params)
        if entropy is not None:
            by_hand = -(w * np.where(log > -np.inf, np.exp(log) * np.maximum(log, -700), 0.0)).sum()
            assert entropy[0] == pytest.approx(by_hand, abs=2e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_two_dimensions_integrate_to_one(name: str) -> None:
    """Log densities of dimensions are summed: their mean would be the root of a density."""
    params = some(name, 0.7, q=2, seed=3)
    (y1, w1), (y2, w2) = (grid(panels(name, tuple(part[:, j : j + 1] for part in params), 7)) for j in (0, 1))
    total = 0.0
    for y, w in zip(y1, w1):
        points = np.stack([np.full(len(y2), y), y2], 1)
        total += w * (w2 * np.exp(family(name).log_density(np, params, points))).sum()
    assert abs(total - 1) < 1e-6


def test_densities_that_others_know() -> None:
    """SciPy's Gaussian, Student's t and Cauchy's density over their mass in the box; its Beta; the parabola by hand."""
    y = np.linspace(-0.99, 0.99, 67)[:, None]
    mean, log_std = np.full_like(y, 0.3), np.full_like(y, np.log(0.4))
    df, scale = np.full_like(y, 2.7), 0.4 * np.sqrt(2)
    known = {
        "gaussian": (stats.norm(0.3, 0.4), (mean, log_std)),
        "student_t": (stats.t(2.7, 0.3, 0.4), (mean, log_std, df)),
        "q_gaussian_heavy": (stats.cauchy(0.3, scale), (mean, log_std)),
        "beta": (stats.beta(1.8, 3.1, -1, 2), (np.full_like(y, 1.8), np.full_like(y, 3.1))),
    }
    for name, (law, params) in known.items():
        cut = law.pdf(y[:, 0]) / (law.cdf(1) - law.cdf(-1))
        np.testing.assert_allclose(np.exp(family(name).log_density(np, params, y)), cut, rtol=1e-7)
    light = np.exp(family("q_gaussian_light").log_density(np, (0 * mean, log_std), y))
    z = y[:, 0] / scale  # the support ±0.566 lies inside the box: ¾(1 − z²) per z
    np.testing.assert_allclose(light, np.where(abs(z) < 1, 0.75 * (1 - z**2) / scale, 0.0), rtol=1e-12, atol=1e-15)


def test_student_t_sums_over_dimensions() -> None:
    """Two equal dimensions: twice the log density of one."""
    one = some("student_t", 1.0)
    two = tuple(np.repeat(part, 2, 1) for part in one)
    single = family("student_t").log_density(np, one, np.array([[0.2]]))
    assert family("student_t").log_density(np, two, np.array([[0.2, 0.2]]))[0] == pytest.approx(
        2 * single[0], rel=1e-12
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_draw_is_the_quantile_of_its_noise(name: str) -> None:
    """∫ of the density up to the draw is u: for 200 u in each of 6 distributions."""
    for scale in (0.3, 3.0):
        for seed in range(3):
            params, u = some(name, scale, seed=seed), np.random.default_rng(seed).random((200, 1))
            drawn = family(name).sample(np, params, u)[:, 0]
            edges = np.unique(np.concatenate([panels(name, params), drawn]))
            y, w = grid(edges)
            mass = w * np.exp(family(name).log_density(np, params, y[:, None]))
            below = np.concatenate([[0.0], np.cumsum(mass.reshape(-1, len(X)).sum(1))])
            np.testing.assert_allclose(below[np.searchsorted(edges, drawn)], u[:, 0], atol=2e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_mode_is_where_the_density_is_highest(name: str) -> None:
    """But for squashed, whose middle it is: there half of the draws lie to either side."""
    for seed in range(4):
        params = some(name, 1.0, seed=seed)
        mode = family(name).mode(np, params)
        y = np.linspace(-0.999, 0.999, 2001)[:, None]
        heights = family(name).log_density(np, params, y)
        if name == "squashed":
            assert family(name).sample(np, params, np.zeros((1, 1))) == pytest.approx(mode)
        else:
            assert family(name).log_density(np, params, mode)[0] >= heights.max() - 1e-9


@pytest.mark.parametrize("name", FAMILIES)
def test_numpy_and_jax_agree(name: str) -> None:
    """The same lines in f32: what is served is what was learned, to 2·10⁻⁶(1 + |y|)."""
    xp, rng, law = jax().numpy, np.random.default_rng(7), family(name)
    scores = rng.standard_normal((400, law.outputs(2))).astype(np.float32)
    ours, theirs = law.read(np, scores, 2), law.read(xp, xp.array(scores), 2)

    def close(a: Any, b: Any, within: float = 2e-6) -> None:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        finite = np.isfinite(a)
        assert (finite == np.isfinite(b)).all() and finite.any()
        a, b = a[finite], b[finite]
        assert (np.abs(a - b) / (1 + np.abs(a))).max() <= within

    for a, b in zip(ours, theirs):
        close(a, b)
    ours = tuple(np.asarray(b) for b in theirs)
    noise = rng.uniform(0.02, 0.98, (400, 2)).astype(np.float32)
    y = law.sample(np, ours, noise)
    log = law.log_density(np, ours, y)
    close(log, law.log_density(xp, theirs, xp.array(y)))
    close(law.likelihood(np, ours, y), law.likelihood(xp, theirs, xp.array(y)))
    close(law.mode(np, ours), law.mode(xp, theirs))
    if law.entropy(np, ours) is not None:
        close(law.entropy(np, ours), law.entropy(xp, theirs))
    apart = np.abs(y - np.asarray(law.sample(xp, theirs, xp.array(noise)))).max(1)
    assert (apart * np.minimum(1.0, np.exp(log / 2)) < 4e-6).all()  # in y, or in the mass between the two


@pytest.mark.parametrize("name", OTHERS)
def test_slopes_of_a_draw_are_those_of_the_exact_inverse(name: str) -> None:
    """∂y/∂s by JAX against differences of the same lines in NumPy, f64."""
    package, law = jax(), family(name)
    rng = np.random.default_rng(5)
    scores, noise = 0.5 * rng.standard_normal((8, law.outputs(1))), rng.uniform(0.1, 0.9, (8, 1))
    if name == "softmax":  # only the bins about the draw matter much
        scores = 3 * scores
    f32 = package.numpy.array(scores, np.float32), package.numpy.array(noise, np.float32)
    slope = package.grad(lambda s: law.sample(package.numpy, law.read(package.numpy, s, 1), f32[1]).sum())(f32[0])
    for j in range(min(law.outputs(1), 5)):
        step = np.zeros_like(scores)
        step[:, j] = 1e-5
        up, down = (law.sample(np, law.read(np, scores + sign * step, 1), noise)[:, 0] for sign in (1, -1))
        np.testing.assert_allclose(np.asarray(slope)[:, j], (up - down) / 2e-5, rtol=5e-3, atol=2e-4)


def test_the_light_tail_pulls_its_support_towards_what_it_cannot_do() -> None:
    """Density 0 there, a finite likelihood, its slope towards the action; inside, and above FLOOR, they are one."""
    light, package = family("q_gaussian_light"), jax()
    params = (np.zeros((3, 1)), np.full((3, 1), np.log(0.1)))
    y = np.array([[0.5], [0.05], [-0.12]])
    log, likelihood = light.log_density(np, params, y), light.likelihood(np, params, y)
    assert log[0] == -np.inf and np.isfinite(likelihood).all() and FLOOR == 0.2
    np.testing.assert_allclose(likelihood[1:], log[1:], rtol=1e-12)
    slope = package.grad(lambda m: light.likelihood(package.numpy, (m, params[1]), y).sum())(
        package.numpy.zeros((3, 1))
    )
    assert float(slope[0, 0]) > 0 and np.isfinite(np.asarray(slope)).all()


def an_actor(name: str, problem: Problem, *, gain: float = 1.0, spread: float = 1.0) -> FamilyActor:
    """Random layers; ``gain`` multiplies the last one."""
    rng = np.random.default_rng(4)
    context, q = rng.standard_normal((50, 3)), problem.actions.dims
    features = fit_feature_map(problem, [bandit_steps(context, np.zeros((50, q)), np.zeros(50))])
    layers = start(rng, (features.width, 16, family(name).outputs(q)), 1)
    layers[-1] = (layers[-1][0] * np.float32(10 * gain), layers[-1][1])
    low, high = np.array(problem.actions.low), np.array(problem.actions.high)
    return FamilyActor(features, tuple(layers), low, high, name, spread)


@pytest.mark.parametrize("name", [*OTHERS, "squashed"])
def test_a_policy_of_each_conforms(name: str) -> None:
    """4,000 draws in each of 3 contexts against the density (Kolmogorov–Smirnov): a sound family fails once in 10⁷."""
    check_policy(an_actor(name, STRIP), STRIP)
    check_policy(an_actor(name, WIDE), WIDE)


@pytest.mark.parametrize("name", OTHERS)
def test_less_spread_keeps_the_mode(name: str) -> None:
    """And lies closer to it."""
    context = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    plain, close = an_actor(name, WIDE, gain=0.3), an_actor(name, WIDE, gain=0.3, spread=0.1)
    np.testing.assert_allclose(plain.mean(context), close.mean(context), atol=1e-5)
    stray = [np.abs(a.act(context, np.random.default_rng(1))[0] - a.mean(context)).mean() for a in (plain, close)]
    assert stray[1] < 0.4 * stray[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_policy_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    """Bit for bit, from the file that a state is written to."""
    policy = an_actor(name, WIDE, spread=0.5)
    context = np.random.default_rng(2).standard_normal((20, 3)).astype(np.float32)
    again = load(read_state(write_state(tmp_path / "policy.state", policy.state()))[0])
    action, density = policy.act(context, np.random.default_rng(3))
    assert (again.act(context, np.random.default_rng(3))[0] == action).all()
    assert (again.prob(context, action) == density).all()


@pytest.mark.parametrize(
    "change", [{"family": "cauchy"}, {"spread": 0.0}, {"depth": 1}, {"family": "softmax"}, {"family": 3}], ids=str
)
def test_a_state_that_is_none_is_refused(change: dict[str, Any]) -> None:
    """A family nobody knows, no spread, layers that do not fit."""
    state = an_actor("gaussian", STRIP).state()
    with pytest.raises(StoreError):
        load(replace(state, config=state.config | change))


def test_a_box_without_inside_is_refused() -> None:
    """low < high in every dimension."""
    state = an_actor("beta", STRIP).state()
    with pytest.raises(StoreError):
        box_of(replace(state, arrays=state.arrays | {"high": state.arrays["low"]}))


def test_rounding_over_the_edge_of_a_support_is_taken_back() -> None:
    """Far from 0 an f32 is coarse beside a narrow support; what is taken still has a density."""
    far = Problem(features=STRIP.features, actions=ActionSpace(low=(3000.0,), high=(3001.0,)))
    policy = an_actor("q_gaussian_light", far, gain=0.01, spread=0.05)
    context = np.zeros((20_000, 3), np.float32)
    action, density = policy.act(context, np.random.default_rng(0))
    assert (density > 0).all() and (policy.prob(context, action) == density).all() and len(np.unique(action)) > 5


def test_many_rows_are_scored_by_their_keys() -> None:
    """What is asked of a generator is what batch scoring can give."""
    context = np.random.default_rng(2).standard_normal((20, 3)).astype(np.float32)
    for name in FAMILIES:
        action, density = an_actor(name, WIDE).act(context, Keyed(np.arange(20, dtype=np.uint64)))  # type: ignore[arg-type]
        assert (density > 0).all() and len(np.unique(action[:, 0])) > 10


def test_export_says_that_it_cannot() -> None:
    """A squashed Gaussian of ``models.actor`` can; these need an inverse that no graph has."""
    pytest.importorskip("onnx")
    from understudy.models.onnx.export import to_onnx

    with pytest.raises(ConfigError, match="family_actor") as caught:
        to_onnx(an_actor("beta", STRIP), STRIP, "p")
    assert "actor" in caught.value.hint


def test_an_unknown_family_names_the_nearest() -> None:
    """Before anything is learned."""
    with pytest.raises(ConfigError) as caught:
        find("learners", "sac")(family="q_gaussian")
    assert "q_gaussian_light" in caught.value.hint
