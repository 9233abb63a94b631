"""The gate: which outcome follows from which evidence, and that it says why."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from understudy.core.evidence import Estimate, Finding, Lift, Pair
from understudy.gate import GateRules, Lineage, Turn, disjoint, gate

NEED = math.log(20) + math.log(math.pi**2 / 6)  # ln(1/α_1), α_1 = .05·6/π²: the first of a family
CLEAN = Lineage()

PAIR = Pair(
    n=5000, n_units=5000, ess=900.0, max_weight_share=0.01, heaviest=17, disagreement=0.2, matched=400,
    matched_disagreeing=80, unsupported=0.0,
)  # fmt: skip

LIFT = Lift(
    candidate="new", incumbent="old", n=5000, margin=0.0, log_e=4.0, peak_log_e=4.0, mean=0.05, low=0.01, high=0.1,
    second_moment=1.0, std_error=0.015, growth=0.001, n_units=5000, pair=PAIR,
)  # fmt: skip


def lift(**changes) -> Lift:
    pair = {name: changes.pop(name) for name in list(changes) if name in Pair.__struct_fields__ and name != "n_units"}
    return msgspec.structs.replace(LIFT, **changes, pair=msgspec.structs.replace(PAIR, **pair))


def judge(evidence: Lift, rules: GateRules | None = None, **changes):
    settings = {"against": "old", "lift": evidence, "lineage": CLEAN} | changes
    return gate(settings.pop("estimates", ()), rules or GateRules(), **settings)


def failed(verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_a_proof_on_sound_data_ships():
    """Peak above ln(1/α), everything else in order: ship, and the reason says how sure."""
    verdict = judge(lift())
    assert verdict.outcome == "ship"
    assert failed(verdict) == set()
    assert "Proven that new is better than old" in verdict.reason


def test_absence_of_evidence_does_not_ship():
    """Just under the threshold: not_enough_evidence, with a number of further decisions."""
    verdict = judge(lift(peak_log_e=NEED - 1e-9, log_e=1.0))
    assert verdict.outcome == "not_enough_evidence"
    assert verdict.needed is not None and verdict.needed > 0
    assert f"{verdict.needed:,} further decisions" in verdict.reason


def test_the_threshold_itself_is_enough():
    """Ville's bound is for reaching 1/α."""
    assert judge(lift(peak_log_e=NEED)).outcome == "ship"


def test_a_policy_against_its_copy_is_not_shipped():
    """S16: all differences are 0, so is the evidence."""
    verdict = judge(lift(peak_log_e=0.0, log_e=0.0, mean=0.0, std_error=0.0, growth=0.0))
    assert verdict.outcome == "not_enough_evidence"
    assert verdict.needed is None


def test_proof_of_the_contrary_holds():
    """The reverse process reached 1/α: hold, in words, also on few data (a proof needs no minimum)."""
    for ess in (900.0, 5.0):
        verdict = judge(lift(peak_log_e=0.5, reverse_peak_log_e=NEED, mean=-0.1, ess=ess))
        assert verdict.outcome == "hold"
        assert "this is proven" in verdict.reason


def test_a_clearly_worse_estimate_holds():
    """No proof, but the lift is implausible: hold. The same on too few data is not enough to hold."""
    worse = {"peak_log_e": 0.0, "mean": -0.05, "std_error": 0.01, "growth": 0.0}
    assert judge(lift(**worse)).outcome == "hold"
    assert judge(lift(**worse, ess=50.0)).outcome == "not_enough_evidence"


def test_a_candidate_whose_changes_were_hardly_tried_is_not_held():
    """400 matches, but 29 of what it would do differently: a low estimate with a small error is blindness."""
    blind = judge(lift(peak_log_e=0.0, mean=-0.05, std_error=0.01, growth=0.0, matched_disagreeing=29))
    assert blind.outcome == "not_enough_evidence"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_an_estimate_that_is_no_number_never_ships(broken, place):
    """The asymptotic test reads every difference: one NaN or infinity among them proves nothing, in any order."""
    sound = Estimate(
        target="new - old", estimator="dr", value=0.5, std_error=0.01, low=0.4, high=0.6, level=0.95,
        method="jackknife", n_episodes=5000, n_units=5000, ess=900.0, max_weight_share=0.01, matched=400,
    )  # fmt: skip
    both = [sound]
    both.insert(place, msgspec.structs.replace(sound, estimator="ips", value=broken))
    rules = GateRules(test="asymptotic")
    assert judge(lift(), rules, estimates=[sound]).outcome == "ship"
    assert judge(lift(), rules, estimates=both).outcome != "ship"


def test_a_weight_share_that_is_no_number_is_refused():
    """NaN compares false with everything, so the check asks for what must hold."""
    assert judge(lift(peak_log_e=50.0, max_weight_share=math.nan)).outcome == "refused"


@pytest.mark.parametrize(("change", "name"), [({"ess": 99.9}, "effective sample size"), ({"matched": 29}, "matched")])
def test_too_little_overlap_is_not_enough_evidence(change, name):
    """S6: ESS below 100 or fewer than 30 matches: no ship, whatever the bets say."""
    verdict = judge(lift(peak_log_e=50.0, **change))
    assert verdict.outcome == "not_enough_evidence"
    assert failed(verdict) == {name}
    assert verdict.needed is not None


def test_a_refusing_audit_refuses():
    """One finding of severity refuse is enough, and its effect and cure are in the reason; a warning is not."""
    finding = Finding(
        name="shifted propensities", severity="refuse", rows=40, first="row 3", observed="mean weight 1.4",
        effect="estimates are 40 % too high", cure="Join propensities by decision_id.",
    )  # fmt: skip
    verdict = judge(lift(peak_log_e=50.0), findings=[finding])
    assert verdict.outcome == "refused"
    assert "40 % too high" in verdict.reason and "Join propensities" in verdict.reason
    warning = msgspec.structs.replace(finding, severity="warn")
    assert judge(lift(peak_log_e=50.0), findings=[warning]).outcome == "ship"


def test_shared_or_unknown_data_are_refused():
    """S7: training on gate data is refused with the number of rows; so is a lineage nobody knows."""
    shared = disjoint({"training": np.array([1, 2, 3], np.uint64), "selection": np.array([], np.uint64),
                       "gate": np.array([3, 4], np.uint64)})  # fmt: skip
    verdict = judge(lift(peak_log_e=50.0), lineage=shared)
    assert verdict.outcome == "refused"
    assert "training and gate share 1 decisions" in verdict.reason
    assert judge(lift(peak_log_e=50.0), lineage=None).outcome == "refused"
    unknown = disjoint({"training": None, "selection": np.array([], np.uint64), "gate": np.array([4], np.uint64)})
    assert unknown.missing == ("training",)
    assert judge(lift(peak_log_e=50.0), lineage=unknown).outcome == "refused"


def test_no_crafted_leak_passes():
    """500 random leaks of 1 to 5 decisions between two uses: every one is refused (S7)."""
    rng = np.random.default_rng(7)
    pairs = [("training", "gate"), ("selection", "gate"), ("model", "gate"), ("training", "selection")]
    for trial in range(500):
        ids = rng.permutation(2000).astype(np.uint64)
        slices = dict(zip(("training", "selection", "model", "gate"), np.split(ids, 4)))
        assert judge(lift(), lineage=disjoint(slices)).outcome == "ship"
        a, b = pairs[trial % 4]
        slices[b] = np.concatenate([slices[b], rng.choice(slices[a], rng.integers(1, 6))])
        assert judge(lift(), lineage=disjoint(slices)).outcome == "refused"


def test_a_target_without_support_is_refused():
    """Probability on actions the log cannot contain, or no common action at all."""
    verdict = judge(lift(peak_log_e=50.0, unsupported=0.2))
    assert verdict.outcome == "refused"
    assert "20.0% of what the candidate would do was never possible" in verdict.reason
    assert judge(lift(ess=0.0, max_weight_share=0.0, matched=0)).outcome == "refused"


def test_one_row_with_most_of_the_weight_is_refused():
    """The Open Bandit women log: ESS 2.1 of 10,000 and 69 % of the weight on one row, both in the reason."""
    verdict = judge(lift(ess=2.1, max_weight_share=0.69, n=10_000))
    assert verdict.outcome == "refused"
    assert "2.1 of 10,000" in verdict.reason and "69%" in verdict.reason
    few = judge(lift(ess=2.1, max_weight_share=0.69, n=75))
    assert few.outcome == "not_enough_evidence"


def test_later_candidates_need_more():
    """α_k = α·6/(π²k²): a peak that ships the first candidate does not ship the second."""
    assert judge(lift(peak_log_e=NEED), turn=Turn(k=2)).outcome == "not_enough_evidence"
    assert judge(lift(peak_log_e=NEED + math.log(4)), turn=Turn(k=2)).outcome == "ship"
    alone = GateRules(per_candidate=True)
    assert judge(lift(peak_log_e=math.log(20)), alone, turn=Turn(k=9)).outcome == "ship"
    assert judge(lift(peak_log_e=math.log(20)), turn=Turn(k=1)).outcome == "not_enough_evidence"


def test_later_looks_need_more_only_where_units_return():
    """Per decision the process is valid at all looks; per unit each look is a test of its own."""
    rules, turn = GateRules(per_candidate=True), Turn(k=1, number=3)
    assert judge(lift(peak_log_e=NEED), rules, turn=turn).outcome == "ship"
    clustered = lift(peak_log_e=NEED + 2.0, anytime=False)
    assert judge(clustered, rules, turn=turn).outcome == "not_enough_evidence"
    assert judge(clustered, rules, turn=Turn()).outcome == "ship"


def test_the_asymptotic_test_reads_the_paired_difference():
    """Lower normal bound above the margin; no interval, no proof; the matches must lie where the policies disagree."""
    rules = GateRules(test="asymptotic", per_candidate=True)
    estimate = Estimate(
        target="new - old", estimator="dr", value=0.05, std_error=0.015, low=0.02, high=0.08, level=0.95,
        method="jackknife", n_episodes=5000, n_units=5000, ess=900, max_weight_share=0.01, matched=400,
    )  # fmt: skip
    weak = lift(peak_log_e=0.0)
    assert judge(weak, rules, estimates=[estimate]).outcome == "ship"
    assert judge(weak, rules, estimates=[]).outcome == "not_enough_evidence"
    wide = msgspec.structs.replace(estimate, std_error=0.04)
    assert judge(weak, rules, estimates=[estimate, wide]).outcome == "not_enough_evidence"
    assert judge(lift(matched_disagreeing=29), rules, estimates=[estimate]).outcome == "not_enough_evidence"


def test_every_check_says_why():
    """Each check of every kind of verdict carries a sentence."""
    for verdict in (
        judge(lift()),
        judge(lift(peak_log_e=0)),
        judge(lift(unsupported=1.0)),
        judge(lift(), lineage=None),
    ):
        assert len(verdict.checks) == 8
        assert all(check.why.endswith((".", "?")) and len(check.why) > 20 for check in verdict.checks)


def test_mixed_up_evidence_is_a_fault_of_the_caller():
    """A lift against somebody else, or at another margin, is never judged."""
    for change in ({"incumbent": "other"}, {"margin": 0.01}):
        with pytest.raises(ValueError, match="the gate was asked about"):
            judge(lift(**change))


@pytest.mark.parametrize(
    "text",
    [
        '{"alpha": 0}',
        '{"alpha": 0.5}',
        '{"min_ess": -1}',
        '{"test": "magic"}',
        '{"alfa": 0.05}',
        '{"max_weight_share": 0}',
    ],
)
def test_rules_are_strict(text):
    """Unknown keys and impossible settings do not decode."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=GateRules)
