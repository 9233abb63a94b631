"""Identification on bad and odd input; overrides; the JSON's faults; drift."""

import json

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import bandit_steps
from understudy.models.feature_map import FeatureMap, FittedFeature, fit_feature_map
from understudy.models.features.drift import compare
from understudy.models.features.identify import IdentifyOptions, identify, identify_features, profiled
from understudy.models.features.profile import DISTINCT, Profile
from understudy.models.features.reference import read_reference, write_reference

NAN = np.nan


def problem_of(*features: Feature) -> Problem:
    return Problem(features=features, actions=ActionSpace(names=("a", "b")))


def steps_of(*columns) -> list:
    x = np.stack([np.asarray(column, np.float32) for column in columns], axis=1)
    return [bandit_steps(x, np.zeros(len(x)), np.zeros(len(x)))]


def told(*columns, **options):
    names = "abcdefgh"[: len(columns)]
    chosen = IdentifyOptions(**options)
    problem = problem_of(*(Feature(name=name) for name in names))
    return identify(problem, profiled(steps_of(*columns), chosen), chosen)


def test_one_row_in_a_million_aborts_nothing() -> None:
    """A feature with a single value is left out with a note; its neighbor is fitted as if it were not there."""
    n = 1_000_000
    rare, normal = np.full(n, NAN, np.float32), np.random.default_rng(1).standard_normal(n).astype(np.float32)
    rare[765_432] = 3.0
    features, found = told(rare, normal)
    assert [one.kind for one in found] == ["left_out", "continuous"]
    assert features.notes == ("a: left out: 1 values in 1000000 rows, and a kind is told from 20",)
    assert [column.name for column in features.columns] == ["b"] and features.width == 1
    np.testing.assert_allclose(features.columns[0].location, normal.astype(float).mean(), atol=1e-12)


def test_constant_and_all_missing_features_are_reported() -> None:
    """A constant is binary, nothing is nothing, and a map without inputs is a map."""
    features, found = told(np.full(100, 0.1), np.full(100, NAN))
    assert [one.kind for one in found] == ["binary", "left_out"]
    assert features.notes == (
        "a: binary, because its value is always 0.1",
        "b: left out: missing in all 100 rows",
    )
    empty, _ = told(np.full(100, NAN))
    assert empty.width == 0 and empty(np.full((3, 1), NAN, np.float32)).shape == (3, 0)


def test_infinite_values_are_refused_by_name() -> None:
    """In the data that is fitted to; at serving they are clamped."""
    x = np.arange(100.0)
    x[[3, 50]] = np.inf, -np.inf
    with pytest.raises(DataError, match="'b', 2 of 100 rows"):
        told(np.arange(100), x)
    features, _ = told(np.arange(100))
    low, high = features(np.array([[-np.inf], [np.inf]], np.float32))[:, 0]
    assert low == -high == np.float32(-11.513)


def test_presence_is_an_input_where_values_are_missing() -> None:
    """And only there; it can be turned off; missing itself is 0."""
    x = np.random.default_rng(0).normal(size=100) + 7
    gaps = np.where(np.arange(100) % 2, NAN, x)
    features, _ = told(x, gaps)
    assert features.names == ("a", "b", "missing(b)")
    assert features(np.array([[7, NAN]], np.float32))[0, 1:].tolist() == [0, 1]
    assert told(x, gaps, presence=False)[0].names == ("a", "b")


def test_categories_and_booleans_keep_their_declared_kind() -> None:
    """A category's codes are names: no rule looks at them; a boolean is binary however few of its rows are there."""
    problem = problem_of(
        Feature(name="tier", kind="category", values=("free", "pro"), open=True), Feature(name="paid", kind="boolean")
    )
    batches = steps_of([0, 1, 2, NAN] * 3, [0, 1, NAN, 1] * 3)
    features = identify_features(problem, batches)
    assert features.names == ("paid", "tier=0", "tier=1", "tier=2", "missing(tier)", "missing(paid)")
    made = features(np.array([[1, 0], [NAN, NAN]], np.float32))
    assert made.tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]
    chosen = IdentifyOptions(overrides={"tier": "quantile"})
    with pytest.raises(ConfigError, match="category 'tier' cannot be 'quantile'"):
        identify_features(problem, batches, chosen)


@pytest.mark.parametrize(
    "kind", ["binary", "probability", "continuous", "boxcox", "enum", "quantile", "continuous_action", "clip_log",
             "untouched", "left_out"],
)  # fmt: skip
def test_an_override_is_obeyed(kind: str) -> None:
    """Whatever the rules would have said."""
    features, found = told(np.random.default_rng(0).integers(0, 40, 200), overrides={"a": kind})
    assert found[0].kind == kind and found[0].forced
    assert [column.kind for column in features.columns] == ([] if kind == "left_out" else [kind])


@pytest.mark.parametrize("kind", ["boxcox", "quantile", "continuous_action", "continuous"])
def test_an_override_that_cannot_be_is_told(kind: str) -> None:
    """A constant has no scale, no borders and no range: it is binary, with a note."""
    _, found = told(np.full(50, 3), overrides={"a": kind})
    assert found[0].kind == "binary" and f"cannot be {kind}" in found[0].note and not found[0].forced


def test_unknown_names_and_numbers_are_refused() -> None:
    """Overrides, kinds and settings."""
    with pytest.raises(ConfigError, match="unknown feature 'z'"):
        told(np.arange(50), overrides={"z": "enum"})
    with pytest.raises(ConfigError, match="cannot be 'qantile'"):
        told(np.arange(50), overrides={"a": "qantile"})
    with pytest.raises(ConfigError, match="quantile_size"):
        IdentifyOptions(quantile_size=0)
    with pytest.raises(ConfigError, match="too many values for an enum"):
        told(np.arange(DISTINCT + 1), overrides={"a": "enum"})
    with pytest.raises(DataError, match="no steps"):
        profiled([])


def test_a_sample_is_uniform_and_bounded() -> None:
    """Of 50,000 values 1,000 are kept, each place alike: ten tenths get 100 each, χ²₉ below its 99.9 % point 27.9."""
    x = np.arange(50_000, dtype=np.float32)[:, None]
    kept = profiled(steps_of(x[:, 0]), IdentifyOptions(sample=1000)).samples[0].ordered()
    assert len(kept) == len(set(kept)) == 1000
    counts = np.histogram(kept, bins=10, range=(0, 50_000))[0]
    assert ((counts - 100) ** 2 / 100).sum() < 27.9
    other = profiled(steps_of(x[:, 0]), IdentifyOptions(sample=1000, seed=1)).samples[0].ordered()
    assert (kept != other).any()


def test_parts_folded_apart_are_the_whole() -> None:
    """Rows are numbered on from where the other part ended."""
    x = np.random.default_rng(2).lognormal(size=5_000)
    options = IdentifyOptions(sample=500)
    whole = profiled(steps_of(x), options)
    parts = profiled(steps_of(x[3000:]), options, start=3000) + profiled(steps_of(x[:3000]), options)
    assert parts.samples[0].ordered().tobytes() == whole.samples[0].ordered().tobytes()


def test_a_learner_asks_for_it_by_a_setting() -> None:
    """kinds="identify", with products if wanted; signed logarithms belong to the standard map."""
    problem, batches = problem_of(Feature(name="a"), Feature(name="b")), steps_of(np.arange(50), [0, 1] * 25)
    plain = fit_feature_map(problem, batches, kinds="identify")
    assert [column.kind for column in plain.columns] == ["binary", "continuous"]
    assert fit_feature_map(problem, batches, quadratic=True, kinds="identify").width == 2 + 3
    with pytest.raises(ConfigError, match="signed_log"):
        fit_feature_map(problem, batches, signed_log=True, kinds="identify")
    with pytest.raises(ConfigError, match="standard or identify"):
        fit_feature_map(problem, batches, kinds="automatic")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "quantile", "points": (1.0,)}, {"kind": "quantile", "points": (1.0, 1.0)}, {"kind": "enum"},
     {"kind": "enum", "points": (1.0, 1.0)}, {"kind": "continuous_action", "low": 1.0, "high": 1.0},
     {"kind": "continuous_action"}, {"kind": "boxcox", "margin": 0.0}, {"kind": "boxcox", "power": NAN},
     {"kind": "quantile", "points": (0.0, float("inf"))}],
)  # fmt: skip
def test_a_damaged_map_is_refused(fault: dict) -> None:
    """What could not have been fitted is not loaded."""
    state = FeatureMap((FittedFeature(source=0, name="x", **fault),)).state()
    with pytest.raises(StoreError):
        FeatureMap.from_state(State(state.kind, state.config))


def test_the_old_kinds_are_written_as_they_always_were() -> None:
    """The same keys, so that a policy's id does not change."""
    state = FeatureMap((FittedFeature(kind="number", source=0, name="x"),)).state()
    assert set(state.config) == {"columns"}
    assert set(state.config["columns"][0]) == {"kind", "source", "name", "location", "scale", "limit", "values"}


def test_the_json_of_the_reference_is_doubly_encoded() -> None:
    """{feature: text}; what is read back transforms alike; objects in place of texts are understood."""
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 2, 3000), rng.random(3000), rng.normal(size=3000), rng.lognormal(size=3000),
               rng.integers(0, 5, 3000), rng.normal(size=3000) ** 5 * 50]  # fmt: skip
    features, found = told(*columns, std_floor=1.0)
    kinds = ["binary", "probability", "continuous", "boxcox", "enum", "quantile"]
    assert sorted(one.kind for one in found) == sorted(kinds)
    text = write_reference(features)
    outer = json.loads(text)
    assert set(outer) == set("abcdef") and all(isinstance(entry, str) for entry in outer.values())
    assert set(json.loads(outer["a"])) == {
        "feature_type", "boxcox_lambda", "boxcox_shift", "mean", "stddev", "possible_values", "quantiles", "min_value",
        "max_value",
    }  # fmt: skip
    assert json.loads(outer["e"])["possible_values"] == [0, 1, 2, 3, 4]
    x = np.stack(columns, axis=1).astype(np.float32)
    inside = x[:, 3] > x[:, 3].min()  # the least value is where their Box–Cox takes another margin than ours
    np.testing.assert_array_equal(read_reference(text, "abcdef")(x)[inside], features(x)[inside])
    objects = json.dumps({name: json.loads(entry) for name, entry in outer.items()})
    assert read_reference(objects, "abcdef") == read_reference(text, "abcdef")


@pytest.mark.parametrize(
    "text, error",
    [("[1]", DataError), ('{"a": 3}', DataError), ('{"a": "{}"}', DataError), ("\\", DataError),
     ('{"a": {"feature_type": "FANCY"}}', DataError), ('{"z": {"feature_type": "BINARY"}}', ConfigError),
     ('{"a": {"feature_type": "BOXCOX"}}', DataError), ('{"a": {"feature_type": "ENUM"}}', DataError),
     ('{"a": {"feature_type": "CONTINUOUS", "stddev": 0}}', DataError),
     ('{"a": {"feature_type": "QUANTILE", "quantiles": [2, 1]}}', DataError),
     ('{"a": {"feature_type": "BINARY", "extra": 1}}', DataError)],
)  # fmt: skip
def test_a_json_that_is_none_is_refused(text: str, error: type) -> None:
    """By its shape, its types and its figures."""
    with pytest.raises(error):
        read_reference(text, ("a", "b"))


def test_what_the_json_cannot_hold_is_refused() -> None:
    """Kinds without a counterpart, and products."""
    number = FittedFeature(kind="number", source=0, name="x")
    with pytest.raises(ConfigError, match="'x' is a number"):
        write_reference(FeatureMap((number,)))
    with pytest.raises(ConfigError, match="products"):
        write_reference(FeatureMap((), quadratic=True))


def test_only_numbers_have_an_inverse() -> None:
    """A flag does not tell what it was made from."""
    with pytest.raises(ConfigError, match="binary has no inverse"):
        FeatureMap((FittedFeature(kind="binary", source=0, name="x"),)).inverse(np.ones((1, 1)))
    with pytest.raises(ConfigError, match="products"):
        FeatureMap((), quadratic=True).inverse(np.ones((1, 0)))


def test_drift_by_hand() -> None:
    """Means 2 → 6 at std 4 → 8 are one standard deviation and twice the spread; a map does not drift from itself."""
    a = FeatureMap((FittedFeature(kind="continuous", source=0, name="x", location=2, scale=4),))
    b = FeatureMap((FittedFeature(kind="continuous", source=0, name="x", location=6, scale=8),))
    (moved,) = compare(a, b)
    assert (moved.shift, moved.spread) == (1, 2)
    (still,) = compare(a, a)
    assert (still.shift, still.spread, still.size) == (0, 1, 0)


def test_drift_of_quantiles_values_and_kinds() -> None:
    """Half of the mass moved below the old range; a new value; a changed kind; the largest first."""

    def made(name: str, kind: str, *points: float, **rest) -> FittedFeature:
        return FittedFeature(kind=kind, source=0, name=name, points=points, **rest)  # type: ignore[arg-type]

    a = FeatureMap(
        (made("q", "quantile", 0, 1, 2), made("e", "enum", 1, 2), made("k", "binary"), made("gone", "binary"))
    )
    b = FeatureMap((made("q", "quantile", -2, 0, 2), made("e", "enum", 2, 3), made("k", "probability")))
    found = {drift.name: drift for drift in compare(a, b)}
    np.testing.assert_allclose(found["q"].quantile, 0.5, atol=1e-5)
    assert found["e"].new_values == (3,) and found["e"].lost_values == (1,)
    assert (found["k"].before, found["k"].after, found["gone"].after) == ("binary", "probability", "")
    assert [drift.name for drift in compare(a, b)][:2] == ["k", "gone"]


def test_drift_of_presence_and_of_codes_by_hand() -> None:
    """A number missing in 1 row of 4, then in 3; a category's codes ½ ½ 0, then ¼ ¼ ½: half the distance is ½."""
    problem = problem_of(Feature(name="x", optional=True), Feature(name="c", kind="category", values=("r", "s", "t")))
    x = np.random.default_rng(0).standard_normal(400)
    before = [np.where(np.arange(400) % 4 == 0, NAN, x), np.arange(400) % 2]
    after = [np.where(np.arange(400) % 4 != 0, NAN, x), np.array([0, 1, 2, 2] * 100)]
    own, theirs = (profiled(steps_of(*columns)) for columns in (before, after))
    a, b = (identify(problem, seen)[0] for seen in (own, theirs))
    found = {drift.name: drift for drift in compare(a, b, own, theirs)}
    assert found["x"].missing == (0.25, 0.75) and found["x"].shares is None and found["x"].size >= 1.5
    assert found["c"].missing == (0.0, 0.0) and found["c"].shares == pytest.approx(0.5) and found["c"].size >= 1.5
    assert all(drift.missing is None and drift.shares is None for drift in compare(a, b)), "a map does not count"


def test_boxcox_drift_is_seen_through_the_old_transform() -> None:
    """A lognormal whose median doubled has moved by ln 2 standard deviations of its logarithm."""
    x = np.random.default_rng(0).lognormal(size=20_000)
    before, after = (told(x * factor, overrides={"a": "boxcox"})[0] for factor in (1, 2))
    (drift,) = compare(before, after)
    assert abs(drift.shift - np.log(2)) < 0.05


def test_an_empty_profile_adds_nothing() -> None:
    """The neutral element of the fold: no rows."""
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    rows = np.arange(50, dtype=np.uint64)
    whole, empty = Profile.of(x, rows), Profile.of(x[:0], rows[:0])
    both = empty + whole
    assert both.rows == 50 and both.low.tolist() == whole.low.tolist()
    np.testing.assert_allclose(both.shape.m4, whole.shape.m4)
