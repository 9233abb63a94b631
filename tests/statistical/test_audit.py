"""A quick look at what benchmarks/audit.py measures at length: does the audit see faults, and is it quiet otherwise?"""

import pytest

from understudy.data.dataset import MemoryDataset
from understudy.ope.audit import audit
from understudy.ops import stats
from understudy.testing.faults import FAULTS, INVISIBLE
from understudy.testing.worlds import KINDS, World, world

pytestmark = pytest.mark.statistical
N = 10_000


def names(w: World) -> set[str]:
    return {f.name for f in audit(MemoryDataset(w.problem, w.steps, w.rules))}


@pytest.mark.parametrize("chosen_only", [False, True], ids=["all", "chosen"])
def test_clean_logs_are_left_alone(chosen_only: bool) -> None:
    """60 clean logs of five kinds: the rate of logs with any finding is not above 2 %.

    Rejects at 0.1 %: with a true rate of 2 % a false alarm of this test (6 or more of 60) has a chance below 0.001.
    """
    worlds = [world(kind, N, 5000 + seed) for kind in KINDS.values() for seed in range(12)]
    said = [names(w.chosen_only() if chosen_only else w) for w in worlds]
    alarms = [s for s in said if s]
    assert stats.binomial_lower(len(alarms), len(said), 0.999) <= 0.02, alarms


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen_and_named(fault: str) -> None:
    """One log of each kind per fault: of at most 5 logs at most one is missed.

    If the recall is the measured 99 % or more, missing two of five has a chance below 0.001.
    """
    spec = FAULTS[fault]
    worlds = [w for i, kind in enumerate(KINDS.values()) if (w := spec.make(kind, N, 300 + i)) is not None]
    assert worlds
    missed = [said for said in map(names, worlds) if not spec.names & said]
    assert len(missed) <= 1, missed


@pytest.mark.parametrize("fault", [fault for fault, spec in FAULTS.items() if "propensity_sum" in spec.names])
def test_propensity_faults_are_seen_from_the_chosen_propensity(fault: str) -> None:
    """The same where only the taken action's propensity is logged, on the two extremes: ε-greedy and softmax."""
    spec = FAULTS[fault]
    kinds = [KINDS["tree"]] if "masking" in fault else [KINDS["epsilon_greedy"], KINDS["softmax"]]
    said = [names(w.chosen_only()) for kind in kinds if (w := spec.make(kind, N, 400)) is not None]
    assert any(spec.names & names for names in said), said


@pytest.mark.parametrize("fault", INVISIBLE)
def test_what_cannot_be_seen_raises_no_false_suspicion(fault: str) -> None:
    """Faults that leave a table some clean world could have written: nothing is found, rightly."""
    make, why = INVISIBLE[fault]
    worlds = [w for i, kind in enumerate(KINDS.values()) if (w := make(kind, N, 500 + i)) is not None]
    assert worlds and why
    assert sum(bool(names(w)) for w in worlds) <= 1
