"""One context coded by itself is what ingest stores for it, to the bit; and what ingest sets aside is refused."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.context import Coder
from understudy.data.ingest import ingest

ACTIONS = ActionSpace(names=("a", "b", "c"))
MIXED = Problem(
    features=(
        Feature(name="x"),
        Feature(name="y", optional=True),
        Feature(name="b", kind="boolean"),
        Feature(name="bo", kind="boolean", optional=True),
        Feature(name="c", kind="category", values=("u", "v", "7")),
        Feature(name="co", kind="category", values=("u",), optional=True, open=True),
    ),
    actions=ACTIONS,
    ignore=("note",),
)
NUMBERS = Problem(features=tuple(Feature(name=n) for n in "pqr"), actions=ACTIONS)

odd = [0, 1, -1, 2**53 + 1, 2**63, 10**30, 10**400, -(10**400), 3.4028234663852886e38, 3.4028235e38, 3.41e38, 1e300,
       -0.0, 5e-324, True, False, None, "u", "v", "7", 7, "x", "", "1.5", [1.0], {"a": 1}]  # fmt: skip
scalar = st.sampled_from(odd) | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
good_mixed = {
    "x": st.floats(-1e3, 1e3) | st.integers(-9, 9), "y": st.none() | st.floats(-1, 1),
    "b": st.sampled_from([0, 1.0, True]),
    "bo": st.none() | st.booleans(), "c": st.sampled_from(["u", "v", 7]), "co": st.sampled_from(["u", "new", None, 3]),
}  # fmt: skip


def contexts(good: dict[str, st.SearchStrategy]) -> st.SearchStrategy[dict]:
    """Mostly sound contexts, of which some are spoilt in one place, lack a name or have one too many."""
    sound = st.fixed_dictionaries(good)
    change = st.dictionaries(st.sampled_from([*good, "note", "else", ""]), scalar, max_size=2)
    spoilt = st.tuples(sound, change, st.sampled_from([None, *good])).map(
        lambda parts: {key: value for key, value in (parts[0] | parts[1]).items() if key != parts[2]}
    )
    return sound | spoilt


def compare(problem: Problem, rows: list[dict]) -> None:
    with tempfile.TemporaryDirectory() as root:
        path, head = Path(root) / "events.jsonl", {"action": "a", "time": 1.0, "propensity": 0.5}
        sound = {"x": 0.0, "b": True, "c": "u"} if problem is MIXED else {"p": 1.0, "q": 1.0, "r": 1.0}
        lines = [json.dumps(head | {"decision_id": f"d{i}", "context": c}) for i, c in enumerate([sound, *rows])]
        path.write_text("\n".join(lines))
        log = ingest(path, problem=problem, to=Path(root) / "log", complete=True)
        (file,) = (Path(root) / "log").rglob("decisions*.parquet")
        table = pq.read_table(file)
        columns = [table[f"context.{name}"].to_numpy() for name in problem.feature_names]
        ids = table["decision_id"].to_pylist()
        stored = {id: [column[i] for column in columns] for i, id in enumerate(ids)}
        aside = {row["line"] - 1: row["detail"] for row in log.quarantine().to_pylist()}
    coder = Coder(problem)
    for i, line in enumerate(lines):
        context = json.loads(line)["context"]
        if f"d{i}" in stored:
            row = coder.row(context)
            assert row.shape == (1, len(problem.features)) and row.dtype == np.float32
            assert row.tobytes() == np.array([stored[f"d{i}"]], np.float32).tobytes(), context
        else:
            with pytest.raises(DataError) as caught:
                coder.row(context)
            assert aside[i].startswith((caught.value.field, repr(caught.value.field))), (aside[i], caught.value)


@settings(max_examples=25, deadline=None)
@given(st.lists(contexts(good_mixed), min_size=1, max_size=40))
def test_every_kind_of_feature_is_coded_as_ingest_stores_it(rows):
    """Numbers, booleans, categories; optional, open; names that are ignored or unknown."""
    compare(MIXED, rows)


@settings(max_examples=25, deadline=None)
@given(st.lists(contexts({n: st.floats(-1e38, 1e38) | st.integers(-9, 9) for n in "pqr"}), min_size=1, max_size=40))
def test_the_fast_way_of_numbers_is_the_same_way(rows):
    """A context of numbers alone takes a shortcut; what it cannot judge it leaves to the careful way."""
    compare(NUMBERS, rows)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_what_json_cannot_say_is_refused_too(value):
    """A caller in this process can hand over what no JSON holds."""
    with pytest.raises(DataError, match="p") as caught:
        Coder(NUMBERS).row({"p": value, "q": 1.0, "r": 1.0})
    assert caught.value.field == "p"


def test_a_missing_optional_number_is_nan_however_it_is_said():
    """None and NaN both mean missing: NaN is written to the log as null."""
    coder = Coder(MIXED)
    sound = {"x": 1.0, "b": 1, "c": "v"}
    expected = [1.0, np.nan, 1.0, np.nan, 1.0, np.nan]
    for more in ({}, {"y": None}, {"y": float("nan")}, {"note": "ignored"}):
        np.testing.assert_array_equal(coder.row(sound | more)[0], np.array(expected, np.float32))


def test_allowed_names_become_a_mask():
    """Exactly the names of the problem; at least one."""
    coder = Coder(MIXED)
    assert coder.allowed(("c", "a", "c")).tolist() == [[True, False, True]]
    for names in ((), ("a", "d"), ("0",)):
        with pytest.raises(DataError) as caught:
            coder.allowed(names)
        assert caught.value.field == "allowed"


@pytest.mark.parametrize(
    ("change", "place", "field"),
    [
        ({"unit": "unit"}, (None, 0, None), "unit_id"),
        ({"unit": "episode"}, (None, 0, None), "episode_id"),
        ({"horizon": 3}, (None, 0, None), "episode_id"),
        ({"horizon": 3}, ("e", 3, None), "t"),
        ({}, (None, 1, None), "t"),
        ({}, (None, -1, None), "t"),
    ],
)
def test_a_row_that_ingest_could_not_place_is_refused(change, place, field):
    """A service that took it would log a row that nobody can use."""
    problem = Problem(features=(Feature(name="x"),), actions=ACTIONS, **change)
    with pytest.raises(DataError) as caught:
        Coder(problem).check_place(*place)
    assert caught.value.field == field


def test_continuous_actions_are_not_served():
    """There is no pmf to log."""
    with pytest.raises(ConfigError):
        Coder(Problem(features=(), actions=ActionSpace(low=(0.0,), high=(1.0,))))
