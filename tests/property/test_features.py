"""Feature maps: merged folds are the whole, outputs are finite whatever comes, a row alone is a row in a batch."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.features.identify import FORCED, ORDER, IdentifyOptions, identify
from understudy.models.features.kinds import CENTERED
from understudy.models.features.profile import Profile
from understudy.models.features.reference import read_reference, write_reference
from understudy.models.features.row import row_inputs

number = st.floats(width=32, allow_nan=True, allow_infinity=True)
finite = st.floats(-1e6, 1e6, width=32)
positive = st.floats(0.015625, 1e4, width=32)
KINDS = ("number", "signed_log", "boolean", "category", *ORDER)


@st.composite
def columns(draw, source: int) -> FittedFeature:
    """Any feature that could have been fitted."""
    kind = draw(st.sampled_from(KINDS))
    location, scale = (draw(finite), draw(positive)) if kind in CENTERED else (0.0, 1.0)
    points = tuple(sorted(draw(st.sets(finite, min_size=2, max_size=8))))
    low = draw(finite)
    return FittedFeature(
        kind=kind, source=source, name=f"x{source}", location=location, scale=scale,
        limit=draw(st.sampled_from([1.0, 5.0, 11.513, 1e6, 1e18])), values=draw(st.integers(0, 4)),
        power=draw(st.sampled_from([0.0, 1e-9, -1e-9, 0.3, -2.5, 1.0, 7.0])), shift=draw(finite),
        margin=draw(st.sampled_from([1e-6, 1e-4])), points=points, low=low, high=low + draw(positive) + 1.0,
    )  # fmt: skip


@st.composite
def maps(draw) -> FeatureMap:
    d = draw(st.integers(1, 8))
    return FeatureMap(tuple(draw(columns(i)) for i in range(d)), draw(st.booleans()))


@settings(max_examples=400, deadline=None)
@given(maps(), st.data())
def test_outputs_are_finite_for_any_float32(features: FeatureMap, data) -> None:
    """Infinite values are clamped, NaN is missing, and no product of two inputs overflows."""
    x = data.draw(arrays(np.float32, (3, len(features.columns)), elements=number))
    z = features(x)
    assert z.dtype == np.float32 and z.shape == (3, features.width) == (3, len(features.names))
    assert np.isfinite(z).all()


@settings(max_examples=400, deadline=None)
@given(maps(), st.data())
def test_a_row_alone_is_a_row_of_a_batch(features: FeatureMap, data) -> None:
    """In plain floats, by itself, and among so many that borders are searched: the same 32 bits."""
    features = FeatureMap(tuple(c for c in features.columns if c.kind != "signed_log"))
    d = max((column.source for column in features.columns), default=0) + 1
    x = data.draw(arrays(np.float32, (3, d), elements=number))
    batch = features(np.tile(x, (40, 1)))
    assert batch[:3].tobytes() == features(x).tobytes()
    if features.columns:
        inputs = row_inputs(features.ordered)
        for i in range(3):
            assert inputs(x[i : i + 1]).tobytes() == features(x[i : i + 1]).tobytes()


@settings(max_examples=200, deadline=None)
@given(maps())
def test_a_map_comes_back_from_json(features: FeatureMap) -> None:
    """Saved as text inside every policy: equal, with its notes."""
    noted = FeatureMap(features.columns, False, ("x: left out",))
    state = noted.state()
    assert FeatureMap.from_state(State(state.kind, json.loads(json.dumps(state.config)))) == noted


@settings(max_examples=200, deadline=None)
@given(maps())
def test_the_reference_json_comes_back(features: FeatureMap) -> None:
    """Every kind that JSON knows: read and written again it says the same, to the letter."""
    kept = tuple(column for column in features.columns if column.kind in FORCED)
    names = [f"x{i}" for i in range(8)]
    once = write_reference(FeatureMap(kept))
    again = read_reference(once, names)
    assert json.loads(write_reference(again)) == json.loads(once)
    assert read_reference(write_reference(again), names) == again


def spoiled(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Columns of several distributions, some missing, one of few values."""
    x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 6, d) + rng.normal(size=d) * 100
    x[:, 0] = rng.integers(0, 5, n)
    x[rng.random((n, d)) < rng.uniform(0, 0.7, d)] = np.nan
    return x.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([20, 100, 10_000]))
def test_merged_parts_are_the_whole(seed: int, parts: int, size: int) -> None:
    """Any partition, merged in any order and any tree: the same sample to the bit, the same moments to rounding."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 600)), 4
    x, rows = spoiled(rng, n, d), np.arange(n, dtype=np.uint64)
    whole = Profile.of(x, rows, size=size)
    order = rng.permutation(n)
    pieces = [Profile.of(x[i], rows[i], size=size) for i in np.array_split(order, parts)]
    while len(pieces) > 1:
        i, j = sorted(rng.choice(len(pieces), 2, replace=False))
        pieces.append(pieces.pop(j) + pieces.pop(i))
    merged = pieces[0]
    assert merged.rows == n
    for name in ("count", "infinite", "low", "high", "whole"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    scale = np.nanmax(np.abs(np.nan_to_num(x)), 0).astype(float) + 1e-30
    for name, power in (("mean", 1), ("m2", 2), ("m3", 3), ("m4", 4)):
        gap = np.abs(np.asarray(getattr(merged.shape, name)) - getattr(whole.shape, name))
        assert (gap <= 1e-12 * n * scale**power).all(), name
    for a, b, sa, sb in zip(merged.distinct, whole.distinct, merged.samples, whole.samples):
        np.testing.assert_array_equal(a, b)
        assert sa.ordered().tobytes() == sb.ordered().tobytes() and len(sb.ordered()) <= size


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 7]))
def test_the_identified_map_does_not_depend_on_the_partition(seed: int, parts: int) -> None:
    """The same kinds, and the same figures to 1e-9, from one batch and from several in another order."""
    rng = np.random.default_rng(seed)
    n, options = 400, IdentifyOptions(sample=100)
    x, rows = spoiled(rng, n, 4), np.arange(n, dtype=np.uint64)
    x[:, 1] = np.exp(rng.normal(size=n))
    problem = Problem(features=tuple(Feature(name=c) for c in "abcd"), actions=ActionSpace(names=("l", "r")))
    whole, _ = identify(problem, Profile.of(x, rows, size=100), options)
    total = None
    for i in np.array_split(rng.permutation(n), parts + 1):
        own = Profile.of(x[i], rows[i], size=100)
        total = own if total is None else own + total
    merged, _ = identify(problem, total, options)
    assert [c.kind for c in merged.columns] == [c.kind for c in whole.columns] and merged.notes == whole.notes
    for a, b in zip(merged.columns, whole.columns):
        figures = [(c.location, c.scale, c.power, c.shift, *c.points) for c in (a, b)]
        np.testing.assert_allclose(*figures, rtol=1e-9, atol=1e-9 * (abs(b.high or 0) + 1))
