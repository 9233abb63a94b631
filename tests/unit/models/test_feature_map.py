"""The first layer of every model: what each kind of column becomes, and that the fit is a fold."""

import json

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import bandit_steps
from understudy.models.feature_map import FeatureMap, FittedFeature, Moments, fit_feature_map

NAN = np.nan
PROBLEM = Problem(
    features=(
        Feature(name="age", optional=True),
        Feature(name="paid", kind="boolean"),
        Feature(name="tier", kind="category", values=("free", "pro"), open=True),
        Feature(name="constant"),
    ),
    actions=ActionSpace(names=("a", "b")),
)
ROWS = np.array([[1, 0, 0, 7], [3, 1, 1, 7], [NAN, 1, 2, 7], [5, 0, 0, 7]], np.float32)


def steps_of(context: np.ndarray):
    n = len(context)
    return bandit_steps(context, np.zeros(n), np.zeros(n), np.ones(n))


def test_every_kind_by_hand() -> None:
    """(1, 3, 5) has mean 3 and deviation √(8/3); a gap is the mean plus a flag; a category is one input per value."""
    fitted = fit_feature_map(PROBLEM, [steps_of(ROWS)])
    assert fitted.names == ("age", "constant", "missing(age)", "paid", "tier=0", "tier=1", "tier=2")
    z = 2 / np.sqrt(8 / 3)
    expected = [
        [-z, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0, 1, 0],
        [0, 0, 1, 1, 0, 0, 1],
        [z, 0, 0, 0, 1, 0, 0],
    ]
    found = fitted(ROWS)
    assert found.dtype == np.float32 and found.shape == (4, fitted.width)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_constant_column_is_not_blown_up() -> None:
    """Rounding noise in a column that never moved must not become a signal of unit variance."""
    column = np.full((1000, 1), 0.1, np.float32)
    problem = Problem(features=(Feature(name="x"),), actions=PROBLEM.actions)
    fitted = fit_feature_map(problem, [steps_of(column[:300]), steps_of(column[300:])])
    assert fitted.columns[0].scale == 1.0
    assert np.abs(fitted(column)).max() < 1e-6


@pytest.mark.parametrize("value", [3e38, -3e38, np.inf, -np.inf, NAN, 0.0, 1e-40])
def test_the_output_is_finite_whatever_comes(value: float) -> None:
    """Also for what no training row held."""
    for signed_log in (False, True):
        fitted = fit_feature_map(PROBLEM, [steps_of(ROWS)], signed_log)
        assert np.isfinite(fitted(np.full((1, 4), value, np.float32))).all()


def test_batches_merge_to_the_whole() -> None:
    """Any partition, in any order, gives the moments of all rows at once."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((500, 3)) * [1, 1e3, 1e-3] + [5, 1e4, 0]).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = NAN
    whole = Moments.of(x)
    parts = [Moments.of(part) for part in np.array_split(x[rng.permutation(500)], 7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = part + merged
    for name in ("count", "missing", "mean", "spread"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9)
    np.testing.assert_allclose(whole.mean[0], np.nanmean(x.astype(float), 0), rtol=1e-12)
    np.testing.assert_allclose(whole.spread[0] / whole.count, np.nanvar(x.astype(float), 0), rtol=1e-9)


def test_signed_logarithms_tame_heavy_tails() -> None:
    """One value in a thousand no longer carries the column: all inputs lie within ±5."""
    x = np.random.default_rng(0).standard_cauchy((1000, 1)).astype(np.float32)
    problem = Problem(features=(Feature(name="x"),), actions=PROBLEM.actions)
    fitted = fit_feature_map(problem, [steps_of(x)], signed_log=True)
    assert fitted.names == ("x", "signed_log(x)")
    assert np.abs(fitted(x)).max() <= 5.0
    log = np.sign(x[:, 0]) * np.log1p(np.abs(x[:, 0].astype(float)))
    np.testing.assert_allclose(fitted(x)[:, 1], np.clip((log - log.mean()) / log.std(), -5, 5), atol=1e-5)


def test_it_comes_back_from_json_bit_for_bit() -> None:
    """Saved inside every model, as text."""
    fitted = fit_feature_map(PROBLEM, [steps_of(ROWS)])
    state = fitted.state()
    twin = FeatureMap.from_state(State(state.kind, json.loads(json.dumps(state.config))))
    assert twin == fitted and twin(ROWS).tobytes() == fitted(ROWS).tobytes()


@pytest.mark.parametrize(
    "fault",
    [{"scale": 0.0}, {"kind": "script"}, {"source": -1}, {"location": float("inf")}, {"extra": 1}, {"values": 1 << 40}],
)
def test_a_damaged_map_is_refused(fault: dict) -> None:
    """A column that could not have been fitted is not loaded."""
    config = fit_feature_map(PROBLEM, [steps_of(ROWS)]).state().config
    config["columns"][0] |= fault
    with pytest.raises(StoreError):
        FeatureMap.from_state(State("feature_map", config))


def test_nothing_to_fit_on_is_an_error() -> None:
    """No batch, no map."""
    with pytest.raises(DataError, match="no steps"):
        fit_feature_map(PROBLEM, [])


def test_quadratic_by_hand() -> None:
    """Inputs (2, 3) are followed by 2·2, 2·3, 3·3; names say which."""
    columns = tuple(FittedFeature(kind="number", source=i, name=name) for i, name in enumerate("xy"))
    quadratic = FeatureMap(columns, quadratic=True)
    assert quadratic(np.array([[2, 3]], np.float32)).tolist() == [[2, 3, 4, 6, 9]]
    assert quadratic.names == ("x", "y", "x·x", "x·y", "y·y") and quadratic.width == 5
    assert FeatureMap.from_state(quadratic.state()) == quadratic
    fitted = fit_feature_map(PROBLEM, [steps_of(ROWS)], quadratic=True)
    assert fitted.width == len(fitted.names) == fitted(ROWS).shape[1] == 7 + 28


def test_a_plain_map_is_written_as_it_always_was() -> None:
    """Policies saved before products existed are read, and plain ones keep their bytes."""
    state = fit_feature_map(PROBLEM, [steps_of(ROWS)]).state()
    assert set(state.config) == {"columns"} and not FeatureMap.from_state(state).quadratic
    for wrong in (False, 1, "yes"):
        with pytest.raises(StoreError):
            FeatureMap.from_state(State(state.kind, state.config | {"quadratic": wrong}))


def test_too_many_products_are_refused() -> None:
    """In a fit, and in a file: 2,001 inputs would make two million more."""
    wide = Problem(
        features=(Feature(name="c", kind="category", values=tuple(map(str, range(2_001)))),), actions=PROBLEM.actions
    )
    with pytest.raises(ConfigError):
        fit_feature_map(wide, [steps_of(np.zeros((2, 1), np.float32))], quadratic=True)
    state = fit_feature_map(wide, [steps_of(np.zeros((2, 1), np.float32))]).state()
    with pytest.raises(StoreError):
        FeatureMap.from_state(State(state.kind, state.config | {"quadratic": True}))
