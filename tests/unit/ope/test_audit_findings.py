"""Each audit on the smallest log that shows its fault, and on the nearest log that does not."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from understudy.core.errors import DataError
from understudy.core.evidence import Finding
from understudy.core.hashing import text_hash, text_hashes
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem
from understudy.core.protocols import JoinRules
from understudy.core.registry import table
from understudy.core.steps import Origin, Steps
from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import Known, audit
from understudy.testing.cast import TINY, Table, tiny_bandit
from understudy.testing.worlds import KINDS, World, world

BEHAVIOR = Table(((0.5, 0.25, 0.25), (0.25, 0.25, 0.5)))


def tiny(n: int = 4000, seed: int = 0, **columns: object) -> MemoryDataset:
    return MemoryDataset(TINY, tiny_bandit(BEHAVIOR, n, seed).with_(**columns))


def found(data: MemoryDataset, **options) -> dict[str, Finding]:
    return {f.name: f for f in audit(data, **options)}


def of(w: World, **columns: object) -> MemoryDataset:
    return MemoryDataset(w.problem, w.steps.with_(**columns), w.rules)


def origin(w: World) -> Origin:
    assert w.steps.origin is not None
    return w.steps.origin


def test_a_clean_log_raises_nothing() -> None:
    """The cast's log, with all and with chosen propensities, with and without the behavior policy at hand."""
    assert audit(tiny()) == ()
    assert audit(tiny(), behavior=BEHAVIOR) == ()
    assert audit(tiny(propensities=None)) == ()


def test_a_finding_names_rows_effect_and_cure() -> None:
    """One wrong propensity in row 7: one row, its number, what it does, what to do."""
    p = tiny().steps.propensity.copy()  # type: ignore[union-attr]
    p[7] = 0.9
    finding = found(tiny(propensity=p))["propensity_of_another_action"]
    assert (finding.rows, finding.severity) == (1, "refuse")
    assert "row 7" in finding.first and "0.9" in finding.observed
    assert finding.effect and finding.cure


def test_four_decimals_are_no_fault() -> None:
    """Propensities written with four decimals beside exact ones are the same propensities."""
    data = tiny(seed=1)
    assert data.steps.propensities is not None and data.steps.propensity is not None
    third = Table(((1 / 3, 1 / 3, 1 / 3), (0.123456, 0.376544, 0.5)))
    steps = tiny_bandit(third, 4000, 1)
    assert steps.propensity is not None
    assert audit(MemoryDataset(TINY, steps.with_(propensity=np.round(steps.propensity, 4)))) == ()


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5, np.nan])
def test_impossible_propensities(value: float) -> None:
    """A propensity that is 0, negative, above 1 or no number."""
    p = tiny().steps.propensity.copy()  # type: ignore[union-attr]
    p[3] = value
    assert found(tiny(propensity=p, propensities=None))["propensity_range"].rows == 1


def test_scaled_and_rounded_pmfs_are_told_apart() -> None:
    """Sums that are all 0.8 are a scale; sums of tenths are rounding; mass outside the mask is a missing mask."""
    data = tiny()
    pmf = data.steps.propensities
    assert pmf is not None and data.steps.propensity is not None
    assert "propensity_scaled" in found(tiny(propensities=pmf * 0.8, propensity=data.steps.propensity * 0.8))
    tenths = np.round(pmf, 1)
    p = np.take_along_axis(tenths, data.steps.action[:, None].astype(int), 1)[:, 0]
    assert "propensity_rounded" in found(tiny(propensities=tenths, propensity=p))
    allowed = np.ones((4000, 3), bool)
    allowed[data.steps.action != 2, 2] = False
    assert "propensity_before_masking" in found(tiny(allowed=allowed))


def test_probabilities_that_no_one_drew_from() -> None:
    """Propensities of a policy that did not choose, consistent in every row; and uniform ones."""
    even = np.full((4000, 3), 1 / 3)
    assert "propensity_constant" in found(tiny(propensities=even, propensity=even[:, 0]))
    data = tiny()
    wrong = Table(((0.45, 0.275, 0.275), (0.275, 0.275, 0.45))).probs(data.steps.context)
    p = np.take_along_axis(wrong, data.steps.action[:, None].astype(int), 1)[:, 0]
    finding = found(tiny(propensities=wrong, propensity=p))["propensity_miscalibrated"]
    assert finding.p_value is not None and finding.p_value < 1e-3


def test_a_constant_one_says_nothing_about_other_policies() -> None:
    """Propensity 1 everywhere is refused; with a single allowed action it is as it should be."""
    assert "propensity_constant" in found(tiny(propensity=np.ones(4000), propensities=None))
    data = tiny()
    only = np.eye(3, dtype=bool)[data.steps.action]
    forced = data.steps.with_(allowed=only, propensity=np.ones(4000), propensities=only * 1.0)
    assert "propensity_constant" not in found(MemoryDataset(TINY, forced))


def test_the_behavior_policy_at_hand_is_proof() -> None:
    """Recomputed probabilities differ in 1 row of 4,000; by policy_id, only that policy's rows are compared."""
    p = tiny().steps.propensity.copy()  # type: ignore[union-attr]
    p[11] *= 0.5
    data = tiny(propensity=p, propensities=None)
    assert found(data, behavior=BEHAVIOR)["propensity_recomputed"].rows == 1
    n = 4000
    policy = np.where(np.arange(n) == 11, text_hash("other"), text_hash("mine")).astype(np.uint64)
    marks = Origin(text_hashes(str(i) for i in range(n)), policy, np.zeros(n), np.ones(n, np.int32))
    named = MemoryDataset(TINY, data.steps.with_(origin=marks))
    assert found(named, behavior={"mine": BEHAVIOR}) == {}


def test_a_leak_is_not_called_a_wrong_propensity() -> None:
    """The action as a feature: the leak is named after the feature, and the propensities are not blamed."""
    problem = Problem(features=(*TINY.features, Feature(name="shown")), actions=TINY.actions)
    steps = tiny().steps
    leaked = steps.with_(context=np.column_stack([steps.context, steps.action]).astype(np.float32))
    for columns in ({}, {"propensities": None}):
        said = found(MemoryDataset(problem, leaked.with_(**columns)))
        assert set(said) == {"action_leak"}
        assert "'shown'" in said["action_leak"].observed


def test_a_copy_of_the_reward_is_a_leak() -> None:
    """The reward as a feature."""
    problem = Problem(features=(*TINY.features, Feature(name="liked")), actions=TINY.actions)
    steps = tiny().steps
    leaked = steps.with_(context=np.column_stack([steps.context, steps.reward]).astype(np.float32))
    assert set(found(MemoryDataset(problem, leaked))) == {"reward_leak"}


def test_a_context_older_than_its_reward_cannot_leak_it() -> None:
    """The same log without suspicion, where whoever drew the actions wrote the contexts down first."""
    problem = Problem(features=(*TINY.features, Feature(name="liked")), actions=TINY.actions)
    steps = tiny().steps
    data = MemoryDataset(
        problem, steps.with_(context=np.column_stack([steps.context, steps.reward]).astype(np.float32))
    )
    assert {finding.name for finding in audit(data)} == {"reward_leak"}
    assert not audit(data, known=Known(witnessed=True))


def test_an_action_never_taken() -> None:
    """c is allowed and never taken; masked out of every row it is no action at all."""
    two = Table(((0.5, 0.5, 0.0), (0.5, 0.5, 0.0)))
    steps = tiny_bandit(two, 4000, 0)
    finding = found(MemoryDataset(TINY, steps))["action_never_logged"]
    assert (finding.severity, finding.rows) == ("warn", 4000)
    assert "'c'" in finding.observed
    masked = steps.with_(allowed=np.tile([True, True, False], (4000, 1)))
    assert found(MemoryDataset(TINY, masked)) == {}


def test_one_decision_id_in_two_rows() -> None:
    """The same id twice, whatever the content."""
    w = world(KINDS["epsilon_greedy"], 2000, 0)
    ids = origin(w).decision.copy()
    ids[1500] = ids[20]
    finding = found(of(w, origin=replace(origin(w), decision=ids)))["duplicated_decisions"]
    assert (finding.rows, "row 1500" in finding.first) == (1, True)


def test_a_user_who_returns_is_no_duplicate() -> None:
    """Contexts that repeat with fresh draws agree in the action as often as chance has it."""
    w = world(KINDS["epsilon_greedy"], 4000, 3)
    rng = np.random.default_rng(0)
    context, pmf = w.steps.context.copy(), w.pmf.copy()
    context[2000:2400], pmf[2000:2400] = context[:400], pmf[:400]
    action = w.steps.action.copy()
    action[2000:2400] = (pmf[:400].cumsum(1) < rng.random(400)[:, None]).sum(1)
    steps = w.steps.with_(
        context=context, propensities=pmf, action=action, propensity=pmf[np.arange(4000), action], outcomes=None
    )
    assert "duplicated_decisions" not in found(MemoryDataset(w.problem, steps, w.rules))


def lost(w: World, gone: np.ndarray) -> Steps:
    old = origin(w)
    assert w.steps.outcomes is not None
    return w.steps.with_(
        reward=np.where(gone, 0.0, w.steps.reward),
        outcomes=np.where(gone[:, None], np.nan, w.steps.outcomes),
        origin=replace(old, arrived=np.where(gone, 0, old.arrived), delay=np.where(gone, np.nan, old.delay)),
    )


def test_outcomes_lost_by_context_are_not_lost_by_action() -> None:
    """Half of the outcomes of mail are lost: the rates by action differ, and no action is to blame."""
    w = world(KINDS["softmax"], 8000, 1)
    rng = np.random.default_rng(0)
    by_mail = (w.steps.context[:, 4] == 2) & (rng.random(8000) < 0.5)
    assert "missing_by_action" not in found(MemoryDataset(w.problem, lost(w, by_mail), w.rules))
    by_action = (w.steps.action == w.steps.action[0]) & (rng.random(8000) < 0.3)
    assert "missing_by_action" in found(MemoryDataset(w.problem, lost(w, by_action), w.rules))


def test_silence_of_events_is_no_loss() -> None:
    """Clicks that come only when there is one differ by action because tastes do; unless a person says otherwise."""
    w = world(replace(KINDS["softmax"], reward="events"), 8000, 0)
    assert "missing_by_action" not in found(of(w))
    assert "missing_by_action" in found(of(w), known=Known(events=frozenset()))


def test_a_window_that_was_still_open() -> None:
    """With the join's rules an open window that is silent is a fact: its rows are named."""
    w = world(KINDS["softmax"], 3000, 0)
    rules = replace(w.rules, as_of=int(w.steps.time[-1] + 1))
    finding = found(MemoryDataset(w.problem, w.steps, rules))["unripe_default"]
    assert finding.severity == "refuse"
    assert 0 < finding.rows < 300


def test_without_rules_the_missing_arrivals_tell() -> None:
    """No rules, and the last outcome arrives with the last decision: a hundred arrivals should have come after."""
    w = world(KINDS["softmax"], 6000, 0)
    end = w.steps.time[-1]
    gone = w.steps.time + np.nan_to_num(origin(w).delay) * 1e6 > end
    assert "unripe_default" in found(MemoryDataset(w.problem, lost(w, gone), None))
    assert "unripe_default" not in found(MemoryDataset(w.problem, w.steps, None))


def test_an_outcome_before_its_decision_is_anothers() -> None:
    """A negative delay where none is allowed."""
    w = world(KINDS["epsilon_greedy"], 2000, 0)
    delay = origin(w).delay.copy()
    delay[5] = -60.0
    assert found(of(w, origin=replace(origin(w), delay=delay)))["misjoined_rewards"].rows == 1


def test_rewards_joined_one_row_late() -> None:
    """Rewards shifted by one row: context and action explain the next row's reward."""
    w = world(KINDS["softmax"], 4000, 0)
    assert w.steps.outcomes is not None
    late = of(w, reward=np.roll(w.steps.reward, 1), outcomes=np.roll(w.steps.outcomes, 1, 0), origin=None)
    assert "next row" in found(late)["misjoined_rewards"].observed


def test_a_reward_that_its_outcome_denies() -> None:
    """The reward column moved against the outcome column: those rows are named."""
    w = world(KINDS["softmax"], 2000, 0)
    reward = w.steps.reward.copy()
    reward[[4, 9]] = reward[[9, 4]]
    assert found(of(w, reward=reward))["misjoined_rewards"].rows == 2


def test_what_the_join_counted_is_evidence_too() -> None:
    """Thirty strays of 900 outcomes, and a hundred late ones; three strays are nothing."""
    counts = {"outcomes": 900, "orphans": 20, "early": 10, "late": 100}
    said = found(tiny(), known=Known(counts=counts))
    assert {name: f.rows for name, f in said.items()} == {"misjoined_rewards": 30, "late_outcomes": 100}
    assert found(tiny(), known=Known(counts={"outcomes": 900, "orphans": 3, "late": 20})) == {}


def test_rewards_beyond_the_declared_range() -> None:
    """3.7 where at most 1 was declared; twos where at most 1 was declared are copies."""
    data = tiny()
    reward = data.steps.reward.copy()
    reward[0] = 3.7
    assert found(tiny(reward=reward))["reward_range"].rows == 1
    twice = data.steps.reward * np.where(np.arange(4000) % 20 == 0, 2, 1)
    assert "duplicated_rewards" in found(tiny(reward=twice))


def test_several_outcomes_may_be_normal() -> None:
    """Counts of events: rows with two or three outcomes are no copies."""
    w = world(KINDS["tree"], 6000, 0)
    assert (origin(w).arrived > 1).mean() > 0.05
    assert found(of(w)) == {}


def test_continuous_actions_are_audited_too() -> None:
    """No named actions: what does not need them still runs."""
    problem = Problem(
        features=(Feature(name="x"),),
        actions=ActionSpace(low=(0.0,), high=(1.0,)),
        outcomes=(OutcomeSpec(name="reward"),),
    )
    rng = np.random.default_rng(0)
    steps = tiny_bandit(BEHAVIOR, 3000, 0)
    steps = steps.with_(action=rng.random((3000, 1)).astype(np.float32), propensities=None, propensity=np.ones(3000))
    assert audit(MemoryDataset(problem, steps)) == ()
    moved = steps.with_(context=(steps.context + np.where(np.arange(3000) > 1500, 1, 0)[:, None]).astype(np.float32))
    assert "context_drift" in found(MemoryDataset(problem, moved))


def test_long_logs_are_read_in_part() -> None:
    """With max_steps the audit reads whole batches spread over the log, and still sees a global fault."""
    data = tiny(60_000)
    assert data.steps.propensities is not None and data.steps.propensity is not None
    scaled = tiny(60_000, propensities=data.steps.propensities * 0.9, propensity=data.steps.propensity * 0.9)
    said = found(scaled, max_steps=20_000)
    assert said["propensity_scaled"].rows < 60_000


def test_an_empty_log_is_an_error() -> None:
    """There is nothing to audit."""
    with pytest.raises(DataError, match="empty"):
        audit(MemoryDataset(TINY, tiny_bandit(BEHAVIOR, 1, 0).episodes(np.zeros(1, bool))))


def test_every_registered_audit_can_be_imported() -> None:
    """The table's names are what findings and docs speak of, and a stranger's audit takes part by its entry point."""
    from understudy.core.registry import find

    assert len(table("audits")) >= 12
    assert all(callable(find("audits", name)) for name in table("audits"))


def test_refusals_come_first() -> None:
    """The gravest finding leads."""
    w = world(KINDS["softmax"], 6000, 0)
    rules = JoinRules(window=w.rules.window, backward=0.0, as_of=int(w.steps.time[-1] + 1))
    shifted = w.steps.context.copy()
    shifted[3000:, 3] += 1
    severities = [f.severity for f in audit(MemoryDataset(w.problem, w.steps.with_(context=shifted), rules))]
    assert severities == sorted(severities, key=lambda s: s != "refuse")
    assert set(severities) == {"refuse", "warn"}


def test_findings_survive_json() -> None:
    """A finding is plain data."""
    finding = found(tiny(propensity=np.ones(4000), propensities=None))["propensity_constant"]
    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding


@pytest.mark.parametrize("n", [1, 2, 5, 100, 1001])
def test_short_logs_are_neither_trouble_nor_suspicious(n: int) -> None:
    """A handful of rows proves nothing, and breaks nothing."""
    assert audit(tiny(n)) == ()
    assert audit(tiny(n, propensities=None)) == ()
    assert audit(tiny(n, propensities=None, propensity=None)) == ()


def test_episodes_are_audited_row_by_row() -> None:
    """Five steps per episode: clean is clean, and a scale is seen."""
    s = tiny_bandit(BEHAVIOR, 3000, 1)
    problem = msgspec.structs.replace(TINY, horizon=5)
    steps = Steps(
        starts=np.arange(0, 3001, 5),
        unit=np.arange(600, dtype=np.uint64),
        time=s.time,
        context=s.context,
        action=s.action,
        reward=s.reward,
        terminated=np.tile([False] * 4 + [True], 600),
        truncated=np.zeros(3000, bool),
        propensity=s.propensity,
    )
    assert audit(MemoryDataset(problem, steps)) == ()
    assert s.propensity is not None
    assert "propensity_miscalibrated" in found(MemoryDataset(problem, steps.with_(propensity=s.propensity * 0.7)))
