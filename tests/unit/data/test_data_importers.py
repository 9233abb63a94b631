"""Logs of other systems become ours, on small made-up files and on real ones where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from understudy.core.errors import ConfigError, DataError
from understudy.core.registry import find, table
from understudy.data.importers.classification import classification
from understudy.data.importers.imported import import_log
from understudy.data.importers.vw_dsjson import drop_weight
from understudy.data.join import join

DATA = Path(__file__).parents[3].parent / "shared" / "data"


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data absent: {name}")
    return path


def steps_of(log):
    return join(log, window="1h").load().steps


def test_every_importer_in_the_table_can_be_found():
    """The table names only what exists."""
    assert {"open_bandit", "vw_dsjson", "sapr", "classification"} <= set(table("importers"))
    assert all(callable(find("importers", name)) for name in table("importers"))


# --------------------------------------------------------------------------------------------------------- open bandit

OBD = """,timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0,user-item_affinity_1
0,2019-11-24 00:03:13.442536+00:00,1,3,0,0.25,u,0.0,1.0
1,2019-11-24 00:04:13+00:00,0,1,1,0.5,v,2.0,0.0
"""


def test_open_bandit_layout(tmp_path):
    """One row per position, clicks as outcomes, items that were never shown are actions all the same."""
    (tmp_path / "men.csv").write_text(OBD)
    (tmp_path / "item_context.csv").write_text(",item_id,item_feature_0\n0,0,.1\n1,1,.2\n2,2,.3\n")
    log = import_log("open_bandit", tmp_path, affinities=True)
    assert log.problem.actions.names == ("0", "1", "2")
    assert log.problem.feature_names == ("position", "user_feature_0", "user-item_affinity_0", "user-item_affinity_1")
    steps = steps_of(log)
    assert steps.context.tolist() == [[1, 0, 0, 1], [0, 1, 2, 0]]  # position "3" is code 1 of ("1", "3")
    assert (steps.action.tolist(), steps.reward.tolist(), steps.propensity.tolist()) == ([1, 0], [0, 1], [0.25, 0.5])


def test_open_bandit_wrong_layout(tmp_path):
    """A file that lacks columns, and a folder with several campaigns, are refused with what to do."""
    (tmp_path / "men.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="lacks timestamp, item_id"):
        import_log("open_bandit", tmp_path)
    (tmp_path / "women.csv").write_text(OBD)
    with pytest.raises(DataError, match="2 campaign files"):
        import_log("open_bandit", tmp_path)


@pytest.mark.parametrize("policy, campaign, items", [("bts", "women", 46), ("random", "men", 34)])
def test_open_bandit_real_sample(policy, campaign, items):
    """10,000 rows, none set aside; ESS of bts/women → uniform is about 2.1 and one row holds 69 % of the weight."""
    log = import_log("open_bandit", real("open-bandit-sample") / policy / campaign)
    assert log.counts["decisions"] == 10_000 and log.counts["quarantined"] == 0 and log.problem.actions.k == items
    steps = steps_of(log)
    weight = 1 / items / steps.propensity
    if policy == "random":
        assert np.allclose(weight, 1)
    else:
        assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(2.1, abs=0.05)
        assert weight.max() / weight.sum() == pytest.approx(0.69, abs=0.01)


# ----------------------------------------------------------------------------------------------------------- VW dsjson


def event(i: int, **changes) -> dict:
    made = {
        "_label_cost": -1.0, "_label_probability": 0.8, "_label_Action": 2, "_labelIndex": 1, "Version": "1",
        "o": [{"v": 1.0, "EventId": f"e{i}"}], "Timestamp": f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}.5Z",
        "EventId": f"e{i}", "a": [2, 1, 3], "p": [0.8, 0.1, 0.1],
        "c": {"User": {"age": 30 + i % 3, "vip": True}, "Ns": [{"day": "monday"}], "_multi": [
            {"Item": {"id": "tea"}}, {"Item": {"id": "rum"}}, {"Item": {"id": "ale"}}]},
    }  # fmt: skip
    return {key: value for key, value in (made | changes).items() if value is not ...}


def dsjson(tmp_path, events) -> Path:
    path = tmp_path / "log.json"
    path.write_text("\n".join(json.dumps(e) if isinstance(e, dict) else e for e in events))
    return path


def test_dsjson_event(tmp_path):
    """reward = −cost, a counts from 1, p follows a, namespaces become dotted features."""
    short = event(2, a=[1, 3], p=[0.5, 0.5], _labelIndex=..., _label_Action=..., _label_probability=..., _label_cost=0)
    log = import_log("vw_dsjson", dsjson(tmp_path, [event(0), event(1), short]))
    assert log.problem.actions.names == ("1", "2", "3")
    assert log.problem.feature_names == ("Ns.day", "User.age", "User.vip")
    steps = steps_of(log)
    assert steps.action.tolist() == [1, 1, 0] and steps.reward.tolist() == [1.0, 1.0, 0.0]
    assert steps.propensity.tolist() == [0.8, 0.8, 0.5]
    assert steps.propensities.tolist() == [[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.5, 0.0, 0.5]]
    assert steps.context[:, 1].tolist() == [30.0, 31.0, 32.0]


def test_dsjson_actions_by_name(tmp_path):
    """With action_id an action is what it is called, wherever the event lists it."""
    swapped = event(1, c={"_multi": [{"Item": {"id": "rum"}}, {"Item": {"id": "tea"}}, {"Item": {"id": "ale"}}]})
    log = import_log("vw_dsjson", dsjson(tmp_path, [event(0), swapped]), action_id="Item.id")
    names = log.problem.actions.names
    assert [names[a] for a in steps_of(log).action] == ["rum", "tea"]


BAD_EVENTS = {
    "no label": (event(5, _label_cost=...), "no_label"),
    "pdrop 1": (event(5, pdrop=1.0), "pdrop"),
    "pdrop negative": (event(5, pdrop=-0.1), "pdrop"),
    "label contradicts p": (event(5, _label_probability=0.5), "propensity_contradiction"),
    "label outside a": (event(5, _labelIndex=7), "action"),
    "p shorter than a": (event(5, p=[0.8, 0.2]), "actions"),
    "deferred, never activated": (event(5, DeferredAction=True), "never_activated"),
    "skip learn": (event(5, _skipLearn=True), "never_activated"),
    "half a line": ('{"_label_cost": -1, "Ev', "not_json"),
    "no EventId": (event(5, EventId=...), "decision_id"),
    "p above 1": (event(5, p=[1.8, 0.1, 0.1], _label_probability=1.8), "propensity"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_dsjson_event_that_cannot_be_used(tmp_path, name):
    """It goes to quarantine with its reason and text; counts reconcile."""
    bad, reason = BAD_EVENTS[name]
    log = import_log("vw_dsjson", dsjson(tmp_path, [event(0), bad, event(1)]))
    assert log.counts["decisions"] == 2 and log.counts[f"quarantined.{reason}"] == 1
    assert log.counts["rows"] == sum(log.counts[c] for c in ("decisions", "duplicates", "outcome_rows", "quarantined"))


def test_dsjson_deferred_and_activated_gets_the_default(tmp_path):
    """F10: deferred, activated and not rewarded is an event with the default reward, not a lost one."""
    shown = event(1, DeferredAction=True, _label_cost=0.0, o=[{"EventId": "e1", "ActionTaken": True}])
    assert steps_of(import_log("vw_dsjson", dsjson(tmp_path, [event(0), shown]))).reward.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("d, weight", [(0, 1.0), (0.5, 2.0), (0.75, 4.0), (0.9, 10.0)])
def test_f11_drop_weight(d, weight):
    """An event logged with drop probability d stands for 1/(1 − d) events."""
    assert drop_weight(d) == pytest.approx(weight, abs=1e-12)


@pytest.mark.parametrize("d", [1, 1.5, -0.01, float("nan"), True, "0.5", None])
def test_f11_drop_probability_outside_its_range(d):
    """d outside [0, 1) is rejected."""
    with pytest.raises(ValueError, match="not in"):
        drop_weight(d)


def test_f11_unequal_drops_are_made_equal(tmp_path):
    """4,000 events, half logged at d = .5: of the others about half stay (sd 22), so that all weigh the same.

    Chance of a false alarm: five standard deviations, below 1e-6.
    """
    events = [event(i, pdrop=0.5 if i % 2 else 0.0, Timestamp="2026-01-01T00:00:00Z") for i in range(4000)]
    log = import_log("vw_dsjson", dsjson(tmp_path, events))
    assert abs(log.counts["quarantined.thinned"] - 1000) < 112
    assert log.counts["decisions"] + log.counts["quarantined.thinned"] == 4000
    assert {row["raw"].count('"pdrop": 0.0') for row in log.quarantine().to_pylist()} == {1}


# ---------------------------------------------------------------------------------------------------------------- SAPR


def test_sapr_columns_by_name(tmp_path):
    """State, action, action probability and reward under any names; a missing column names its neighbors."""
    path = tmp_path / "t.csv"
    path.write_text(
        "s1,s2,arm,action_prob,gain,when\n1,2,a,.5,3,2026-01-01\n3,4,b,.25,,2026-01-02\n5,6,a,.5,-1,2026-01-03\n"
    )
    log = import_log("sapr", path, action="arm", reward="gain", time="when")
    assert log.problem.feature_names == ("s1", "s2") and log.problem.reward_range == (-1.0, 3.0)
    steps = steps_of(log)
    assert steps.context.tolist() == [[1, 2], [3, 4], [5, 6]] and steps.reward.tolist() == [3.0, 0.0, -1.0]
    assert np.isnan(steps.outcomes[1, 0]) and steps.propensity.tolist() == [0.5, 0.25, 0.5]
    with pytest.raises(ConfigError, match="unknown column 'gian'") as caught:
        import_log("sapr", path, action="arm", reward="gian")
    assert "gain" in caught.value.hint


# ------------------------------------------------------------------------------------------------------ classification


@pytest.mark.parametrize("behavior", ["uniform", "epsilon"])
def test_classification_log(behavior):
    """Reward 1 for the true class; propensities sum to 1; IPS of "always class 0" is its frequency, within 5 sd."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 4000)
    data = pa.table({"x": y + rng.normal(size=4000), "label": y})
    log = import_log("classification", data, behavior=behavior, seed=1)
    steps = steps_of(log)
    truth = y[np.argsort(steps.time)]
    assert np.array_equal(steps.reward, (steps.action == truth).astype(float))
    terms = (steps.action == 0) * steps.reward / steps.propensity
    assert abs(terms.mean() - (y == 0).mean()) < 5 * terms.std() / np.sqrt(4000)


def test_classification_is_reproducible_by_seed():
    """The same seed gives the same log, another seed another one."""
    data = pa.table({"x": np.arange(50.0), "y": np.arange(50) % 2})
    a, b, c = (classification(data, seed=seed).decisions for seed in (1, 1, 2))
    assert a.equals(b) and not a.equals(c)


def test_classification_of_shuttle():
    """The real file: 43,500 rows, nine features, seven classes; constant arm 1 earns its share by IPS within 5 sd."""
    log = import_log("classification", real("statlog-shuttle") / "shuttle.trn", behavior="uniform")
    assert log.counts["decisions"] == 43_500 and log.problem.actions.k == 7 and len(log.problem.features) == 9
    steps = steps_of(log)
    terms = (steps.action == 0) * steps.reward * 7
    assert abs(terms.mean() - 34_108 / 43_500) < 5 * terms.std() / np.sqrt(43_500)
