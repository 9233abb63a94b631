"""Feature identification and transforms against the reference's figures (D4 45–55) and against scipy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from scipy.stats.mstats import mquantiles

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.steps import bandit_steps
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.features.identify import Identified, IdentifyOptions, identify, profiled
from understudy.models.features.reference import read_reference
from understudy.ops.boxcox import boxcox, boxcox_power
from understudy.ops.shape import k_squared, quantiles, shape_of


def found(values, **options) -> tuple[FittedFeature | None, Identified]:
    """What is made of one feature with these values."""
    x = np.asarray(values, np.float32)[:, None]
    problem = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))
    chosen = IdentifyOptions(**options)
    steps = bandit_steps(x, np.zeros(len(x)), np.zeros(len(x)))
    features, told = identify(problem, profiled([steps], chosen), chosen)
    return (features.columns[0] if features.columns else None), told[0]


def fitted(values, **options) -> FittedFeature:
    one, _ = found(values, **options)
    assert one is not None
    return one


def inputs(column: FittedFeature, values) -> list:
    return FeatureMap((column,))(np.asarray(values, np.float32)[:, None])[:, 0].tolist()


def json_of(**features: dict) -> str:
    return json.dumps({name.removeprefix("_"): json.dumps(figures) for name, figures in features.items()})


@pytest.mark.parametrize(
    "points, x, expected",
    [
        ((0, 80, 100), (0, 80, 100, -5, 40, 90, 150), (0, 0.5, 1, 0, 0.25, 0.75, 1)),
        ((0, 1, 2, 4, 8), (0.5, 1, 3, 6, 7.999), (0.125, 0.25, 0.625, 0.875, 0.999937)),
    ],
)
def test_quantile_boundaries(points, x, expected) -> None:
    """45: which side of a border a value falls on."""
    column = FittedFeature(kind="quantile", source=0, name="x", points=points)
    np.testing.assert_allclose(inputs(column, x), expected, atol=1e-6)


def test_enums_are_spread_in_listed_order() -> None:
    """46: possible values [12, 4, 2] and [15, 3] beside a continuous (0, 1); missing gives zeros everywhere."""
    continuous = {"feature_type": "CONTINUOUS", "mean": 0.0, "stddev": 1.0}
    raw = json_of(
        _1=continuous,
        _2={"feature_type": "ENUM", "possible_values": [12, 4, 2]},
        _3={"feature_type": "ENUM", "possible_values": [15, 3]},
    )
    x = np.array([[1, 12, 3], [2, 4, 3], [3, 2, 15], [3, 2, np.nan]], np.float32)
    made = read_reference(raw, ("1", "2", "3"))(x)
    assert made.tolist() == [[1, 1, 0, 0, 0, 1], [2, 0, 1, 0, 0, 1], [3, 0, 0, 1, 1, 0], [3, 0, 0, 1, 0, 0]]


def test_continuous_is_clamped() -> None:
    """48: mean 2, std 4."""
    column = FittedFeature(kind="continuous", source=0, name="x", location=2, scale=4, limit=11.513)
    np.testing.assert_allclose(inputs(column, [2, 6, -2, 1000, np.nan]), [0, 1, -1, 11.513, 0], rtol=1e-6)


def test_binary_and_clip_log() -> None:
    """51: whatever is not 0 is 1; ln(max(x, 1e-6)) ends at −11.513."""
    binary = FittedFeature(kind="binary", source=0, name="x")
    assert inputs(binary, [0, 1, 2, -3, 0.5, np.nan]) == [0, 1, 1, 1, 1, 0]
    log = FittedFeature(kind="clip_log", source=0, name="x", limit=11.513)
    np.testing.assert_allclose(inputs(log, [0, 1, np.e, -1]), [-11.513, 0, 1, -11.513], atol=1e-6)


def test_probability_is_a_logit_that_ends() -> None:
    """A4: logit(clamp(p, 1e-5, 1 − 1e-5))."""
    column = FittedFeature(kind="probability", source=0, name="x", limit=11.513)
    expected = [np.log(1e-5 / (1 - 1e-5)), np.log(1 / 3), 0, np.log(3), np.log((1 - 1e-5) / 1e-5), 0]
    np.testing.assert_allclose(inputs(column, [0, 0.25, 0.5, 0.75, 1, np.nan]), expected, rtol=1e-6, atol=1e-7)


def test_continuous_action_and_back() -> None:
    """A4: the ends are 1e-6 inside ±1; the inverse gives the action back."""
    column = FittedFeature(kind="continuous_action", source=0, name="x", limit=11.513, low=-2, high=6)
    features = FeatureMap((column,))
    x = np.array([[-2], [2], [6], [4], [99]], np.float32)
    z = features(x)
    np.testing.assert_allclose(z[:, 0], [-1 + 1e-6, 0, 1 - 1e-6, 0.5, 1 - 1e-6], atol=1e-6)
    np.testing.assert_allclose(features.inverse(z)[:, 0], [-2, 2, 6, 4, 6], atol=1e-6)
    np.testing.assert_allclose(features.inverse(np.array([[-7.0], [7.0]]))[:, 0], [-2, 6], atol=1e-12)


@pytest.mark.parametrize("power", [0.5, -1.5, 2.0, 1e-3, 0.0])
def test_boxcox_by_its_formula(power: float) -> None:
    """A4: ((max(x + shift, 1e-6)^λ − 1)/λ − mean)/std, clamped; at λ = 0 the logarithm that it tends to."""
    column = FittedFeature(kind="boxcox", source=0, name="x", power=power, shift=1, location=0.3, scale=2, limit=11.513)
    x = np.array([-3, -1, 0, 0.5, 3, 1e6], np.float32)
    y = np.maximum(x.astype(float) + 1, 1e-6)
    z = (y**power - 1) / power if power else np.log(y)
    np.testing.assert_allclose(inputs(column, x), np.clip((z - 0.3) / 2, -11.513, 11.513), rtol=1e-6)


def test_the_order_of_inputs_is_by_type_and_then_by_id() -> None:
    """A4: BINARY, PROBABILITY, CONTINUOUS, BOXCOX, ENUM, QUANTILE, the actions, untouched, CLIP_LOG; 2 before 10."""
    types = ["CLIP_LOG", "DO_NOT_PREPROCESS", "DISCRETE_ACTION", "CONTINUOUS_ACTION", "QUANTILE", "ENUM", "BOXCOX",
             "CONTINUOUS", "PROBABILITY", "BINARY", "BINARY"]  # fmt: skip
    ids = [str(i) for i in range(2, 13)]
    figures = {"possible_values": [1], "quantiles": [0, 1], "min_value": 0, "max_value": 1, "boxcox_lambda": 0.5}
    raw = json.dumps({i: json.dumps({"feature_type": t, **figures}) for i, t in zip(ids, types)})
    assert [c.name for c in read_reference(raw, ids).ordered] == [
        "11", "12", "10", "9", "8", "7", "6", "5", "4", "3", "2",
    ]  # fmt: skip
    x = np.full((1, 11), 1e7, np.float32)
    clamped = read_reference(raw, ids)(x)[0]
    assert clamped[9] == 1e7 and clamped[8] == np.float32(11.513)  # untouched is not clamped, a discrete action is


@pytest.mark.parametrize(
    "values, kind, mean, std",
    [
        ([7] * 50, "binary", None, None),
        ([0, 1] * 25, "binary", None, None),
        (np.linspace(0, 1, 50), "probability", None, None),
        (list(range(10)) * 5, "enum", None, None),
        (list(range(11)) * 5, "continuous", 5.0, 3.1914237),
        ([-1, 0, 1, 2] * 10, "continuous", 0.5, 1.1322770),
        (np.linspace(-5, 5, 101), "continuous", 0.0, 2.9300170),
        (np.linspace(0, 1e-5, 50) + 2, "continuous", 0.0, 1.0),
    ],
)
def test_detection(values, kind, mean, std) -> None:
    """52: the boundaries of the rules, and the figures of what is continuous."""
    column = fitted(values)
    assert column.kind == kind
    if mean is not None:
        np.testing.assert_allclose([column.location, column.scale], [mean, std], rtol=1e-6, atol=1e-7)


def test_nineteen_values_are_too_few() -> None:
    """52: no kind is told from them; the feature is left out, and nothing is aborted."""
    column, told = found(np.arange(19))
    assert column is None and told.kind == "left_out" and "19 values" in told.note
    assert fitted(np.arange(20)).kind == "continuous"


def test_forced_kinds() -> None:
    """53: quantiles with alphap 0, betap 1, and not numpy's; λ, shift, mean and std of Box–Cox."""
    assert fitted(range(101), overrides={"x": "quantile"}, quantile_size=4).points == (0, 24.25, 49.5, 74.75, 100)
    column = fitted(range(1, 101), overrides={"x": "boxcox"})
    figures = [column.power, column.shift, column.location, column.scale]
    np.testing.assert_allclose(figures, [0.6226107, -1, 15.6597877, 7.3396533], rtol=1e-7)


def test_the_std_floor_is_an_option() -> None:
    """A4: the reference takes a standard deviation of at least 1; ours scales what is small, unless asked."""
    x = np.random.default_rng(0).normal(3, 0.01, 500)
    assert fitted(x, std_floor=1.0).scale == 1.0
    np.testing.assert_allclose(fitted(x).scale, np.float32(x).astype(float).std(ddof=1), rtol=1e-9)


def test_skipping_boxcox_leaves_the_raw_scale() -> None:
    """Defect (a) of the reference: there the quantiles were those of the transformed values (the first −8.44)."""
    x = np.random.default_rng(0).lognormal(size=3000).astype(np.float32)
    assert fitted(x).kind == "boxcox"
    column = fitted(x, skip_box_cox=True)
    assert column.kind == "quantile" and column.points[0] == x.min() > 0
    plain = fitted(x, skip_box_cox=True, skip_quantiles=True)
    assert plain.kind == "continuous"
    np.testing.assert_allclose(plain.location, x.astype(float).mean(), rtol=1e-12)


def test_boxcox_transforms_its_least_value_as_it_was_fitted() -> None:
    """Defect (c): the minimum was 1e-4 in the fit and 1e-6 in the transform; the fitted sample has mean 0, std 1."""
    x = np.random.default_rng(1).gamma(0.5, size=2000).astype(np.float32)
    column = fitted(x)
    assert column.kind == "boxcox"
    z = np.array(inputs(column, x))
    np.testing.assert_allclose([z.mean(), z.std(ddof=1)], [0, 1], atol=1e-6)


SAMPLES = {
    "lognormal": lambda rng: rng.lognormal(size=20_000),
    "gamma": lambda rng: rng.gamma(2, size=20_000),
    "normal": lambda rng: rng.normal(5, 1, size=20_000) + 20,
    "exponential, small": lambda rng: rng.exponential(1e-3, size=5_000) + 1e-4,
    "heavy": lambda rng: np.abs(rng.standard_cauchy(5_000)) + 1e-4,
    "few": lambda rng: rng.gamma(3, size=25),
    "huge": lambda rng: rng.uniform(1e30, 1e31, size=3_000),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_statistics_are_those_of_scipy(name: str) -> None:
    """λ̂ to 1e-6, K² to 1e-9, quantiles to rounding."""
    x = SAMPLES[name](np.random.default_rng(7))
    theirs, power = stats.boxcox(x)
    assert abs(boxcox_power(x) - power) < 1e-6
    np.testing.assert_allclose(boxcox(x, power), theirs, rtol=1e-7, atol=1e-9)
    shape = shape_of(x)
    ours = k_squared(shape.n, float(shape.skewness), float(shape.kurtosis))
    np.testing.assert_allclose(ours, stats.normaltest(x).statistic, rtol=1e-9)
    for pieces in (1, 4, 20, 33):
        expected = mquantiles(x, np.arange(pieces + 1) / pieces, alphap=0, betap=1)
        np.testing.assert_allclose(quantiles(np.sort(x), pieces), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["lognormal", "gamma", "normal", "heavy"])
def test_up_to_the_sample_size_everything_is_exact(name: str) -> None:
    """The rules on all values, as scipy computes them one by one."""
    x = SAMPLES[name](np.random.default_rng(3)).astype(np.float32)
    x64 = x.astype(float)
    y, power = stats.boxcox(np.maximum(x64 - x64.min(), 1e-4))
    raw, after = stats.normaltest(x64).statistic, stats.normaltest(y).statistic
    wins = not 0.9 <= power <= 1.1 and raw > 10 * after and after <= 1000
    expected = "boxcox" if wins else "quantile" if raw > 1000 else "continuous"
    column = fitted(x)
    assert column.kind == expected
    if expected == "boxcox":
        np.testing.assert_allclose([column.location, column.scale], [y.mean(), y.std(ddof=1)], rtol=1e-5)
    elif expected == "quantile":
        points = np.unique(mquantiles(x64, np.arange(21) / 20, alphap=0, betap=1))
        np.testing.assert_allclose(column.points, points, rtol=1e-14)
    else:
        np.testing.assert_allclose([column.location, column.scale], [x64.mean(), x64.std(ddof=1)], rtol=1e-9)
