"""Decisions and outcomes brought together one at a time: whatever the order, each decision is learned from once."""

import msgspec
import numpy as np
import pytest

from understudy.core.events import Outcome
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.service import Logged
from understudy.data.eventlog import Entry
from understudy.runs.pairing import Pair, Pairing

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b")))
TWO = msgspec.structs.replace(
    PROBLEM,
    outcomes=(OutcomeSpec(name="revenue"), OutcomeSpec(name="cost")),
    reward="revenue - 0.5 * cost / 2",
    reward_range=(-1.0, 2.0),
)


def decision(id: str, x: float = 1.5, **fields) -> Entry:
    made = Logged(
        decision_id=id, time=0, context={"x": x}, action="b", propensity=0.25, application="app", **fields
    )  # fmt: skip
    return Entry("decision", id, msgspec.json.encode(made), 0, 0)


def outcome(id: str, value: float, name: str = "reward") -> Entry:
    return Entry("outcome", id, msgspec.json.encode(Outcome(decision_id=id, time=9, value=value, name=name)), 0, 0)


def activation(id: str) -> Entry:
    return Entry("activation", id, msgspec.json.encode({"decision_id": id, "time": 1}), 0, 0)


def pairs(pairing: Pairing, *entries: Entry) -> list[tuple[str, float]]:
    found = [pairing.take(entry) for entry in entries]
    return [(pair.decision_id, pair.reward) for pair in found if pair is not None]


def test_a_pair_is_what_was_decided_and_what_came_of_it() -> None:
    """Row, place of the action, propensity and reward; as steps, one bandit decision."""
    pairing = Pairing(PROBLEM)
    assert pairing.take(decision("d")) is None
    pair = pairing.take(outcome("d", 0.75))
    assert isinstance(pair, Pair)
    steps = pair.steps()
    assert (steps.n, steps.context.tolist(), steps.action.tolist()) == (1, [[1.5]], [1])
    assert (steps.reward.tolist(), steps.propensity.tolist()) == ([0.75], [0.25])  # type: ignore[union-attr]


def test_the_first_outcome_counts_and_only_once() -> None:
    """Duplicates, contradictions and a decision written by two workers make no second pair."""
    again = [outcome("d", 1.0), outcome("d", 1.0), outcome("d", 0.0), decision("d"), outcome("d", 1.0)]
    assert pairs(Pairing(PROBLEM), decision("d"), *again) == [("d", 1.0)]


def test_an_early_outcome_waits_for_its_decision_and_an_orphan_for_ever() -> None:
    """A worker may be read before another; nobody's outcome makes no pair."""
    assert pairs(Pairing(PROBLEM), outcome("d", 1.0), outcome("nobody", 1.0), decision("d")) == [("d", 1.0)]


def test_a_reward_of_several_outcomes_waits_for_all_it_reads() -> None:
    """revenue − 0.5·cost / 2, at 1.5 and 2: 1.5 − 0.5 = 1."""
    entries = decision("d"), outcome("d", 1.5, "revenue"), outcome("d", 2.0, "cost")
    assert pairs(Pairing(TWO), *entries[:2]) == []
    assert pairs(Pairing(TWO), *entries) == [("d", pytest.approx(1.0))]


def test_a_deferred_decision_counts_once_it_is_activated() -> None:
    """In either order with its reward."""
    held = decision("d", deferred=True)
    assert pairs(Pairing(PROBLEM), held, outcome("d", 1.0)) == []
    assert pairs(Pairing(PROBLEM), held, outcome("d", 1.0), activation("d")) == [("d", 1.0)]
    assert pairs(Pairing(PROBLEM), held, activation("d"), outcome("d", 1.0)) == [("d", 1.0)]
    assert pairs(Pairing(PROBLEM), decision("e"), activation("e"), outcome("e", 1.0)) == [("e", 1.0)]


def test_a_reward_that_cannot_be_is_counted_and_not_learned_from() -> None:
    """Outside the declared range, or a division by nothing."""
    pairing = Pairing(msgspec.structs.replace(TWO, reward="revenue / cost"))
    assert pairs(pairing, decision("d"), outcome("d", 1.0, "revenue"), outcome("d", 0.0, "cost")) == []
    assert pairs(pairing, decision("e"), outcome("e", 9.0, "revenue"), outcome("e", 1.0, "cost")) == []
    assert pairing.out_of_range == 2


def test_memory_is_bounded() -> None:
    """Of ten decisions that wait where four may, the oldest six are given up; the newest four are not."""
    pairing = Pairing(PROBLEM, most=4)
    pairs(pairing, *(decision(f"d{i}") for i in range(10)))
    assert pairing.given_up == 6
    assert pairs(pairing, outcome("d0", 1.0), outcome("d5", 1.0), outcome("d6", 1.0), outcome("d9", 0.0)) == [
        ("d6", 1.0),
        ("d9", 0.0),
    ]


def test_any_order_gives_the_same_pairs() -> None:
    """500 shuffles of 12 decisions with one to three equal outcomes each, and orphans."""
    rng = np.random.default_rng(0)
    values = {f"d{i}": float(rng.integers(0, 2)) for i in range(12)}
    entries = [decision(id) for id in values]
    entries += [outcome(id, value) for id, value in values.items() for _ in range(rng.integers(1, 4))]
    entries += [outcome(f"nobody{i}", 1.0) for i in range(5)]
    for _ in range(500):
        order = rng.permutation(len(entries))
        assert dict(pairs(Pairing(PROBLEM), *(entries[i] for i in order))) == values
