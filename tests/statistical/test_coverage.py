"""Coverage of intervals by simulation: a fast subset of benchmarks/coverage.py, through the same functions.

False alarms: a cell is rejected by an exact binomial test at 1 %, and only if its true coverage lies at the very edge
of the claim (93.5 or 96.5 %; bets: 95 %) does that happen by chance in 1 % of the seeds. A cell whose true coverage is
within 94.1–95.9 % is rejected with probability below 1e-4. The seed is fixed.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from understudy.core.hashing import buckets
from understudy.ope.evaluate import estimate
from understudy.ope.evidence import rows
from understudy.ops.blocks import BLOCKS, block_sums
from understudy.ops.intervals import binomial_p, bootstrap, empirical_bernstein

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # last, and by another name: a package called coverage may be installed

from coverage_worlds import MODEL, draw, worlds  # noqa: E402

_spec = spec_from_file_location("coverage_benchmark", BENCHMARKS / "coverage.py")
assert _spec is not None and _spec.loader is not None
bench = sys.modules["coverage_benchmark"] = module_from_spec(_spec)
_spec.loader.exec_module(bench)
LOGS, QUICK, quick, claim, rejected = bench.LOGS, bench.QUICK, bench.quick, bench.claim, bench.rejected

pytestmark = pytest.mark.statistical


@pytest.mark.parametrize("world", QUICK, ids="/".join)
def test_intervals_cover_what_they_claim(world):
    """2,000 logs: 95 ± 1.5 % wherever the API answers in expectation; bets at least 95 % everywhere."""
    cells = quick(world)
    kinds = [claim(cell) for cell in cells]
    assert not [bench.brief(cell) for cell in cells if rejected(cell)]
    assert all(cell["logs"] == LOGS for cell in cells)
    assert kinds.count("bound") >= 2
    if world[0].startswith("Pareto"):  # infinite variance: bets only, and hardly a log gets another answer
        assert set(kinds) == {"", "bound"}
        assert max(cell["answered"] for cell in cells if cell["estimator"] != "betting") < 0.05 * LOGS
    else:
        assert kinds.count("two-sided") >= 15  # the test cannot pass by claiming nothing


def test_what_is_simulated_is_what_the_api_answers():
    """Four logs through ``estimate``: the intervals of the simulation, to rounding."""
    world = next(w for w in worlds() if (w.name, w.reward) == ("uniform", "binary"))
    target = world.targets()["near"]
    drawn = draw(world, 4, 1000, np.random.default_rng(14))
    e = bench.evidence(drawn, target, MODEL[drawn.context])
    for name in ("ips", "snips", "dr", "dros"):
        said = bench.ask(name, e, drawn.shape, np.ones(4, bool), buckets(drawn.unit, BLOCKS))
        for i in range(4):
            (found,) = estimate({"near": rows(e, slice(1000 * i, 1000 * (i + 1)))}, [name])
            assert (found.value, found.low, found.high) == pytest.approx((said.value[i], said.low[i], said.high[i]))


def test_blocks_by_user_cover_where_users_repeat():
    """250 users of geometric size, 2,000 logs of 2,500 events: SNIPS and DR cover 95 ± 1.5 % by users."""
    world = next(w for w in worlds() if (w.name, w.users) == ("uniform", "geometric"))
    hits, logs, target = {"snips": 0, "dr": 0}, 0, world.targets()["near"]
    rng = np.random.default_rng(13)
    while logs < LOGS:
        drawn = draw(world, 500, 2500, rng)
        e = bench.evidence(drawn, target, MODEL[drawn.context])
        logs += 500
        for name in hits:
            said = bench.ask(name, e, drawn.shape, np.ones(500, bool), buckets(drawn.unit, BLOCKS))
            hits[name] += int(((said.low <= world.truth(target)) & (world.truth(target) <= said.high)).sum())
    for count in hits.values():
        assert binomial_p(count, logs, 0.935, "less") > 0.01
        assert binomial_p(count, logs, 0.965, "greater") > 0.01


def test_blocks_by_event_break_where_users_repeat():
    """The test has teeth: ignoring who is independent of whom is rejected outright."""
    cells = quick(("uniform", "binary", "geometric, ignored"))
    near = [c for c in cells if c["target"] == "near" and c["n"] == 1000 and c["estimator"] in ("dr", "sndr")]
    assert near
    assert all(binomial_p(cell["hits"], cell["logs"], 0.935, "less") < 1e-6 for cell in near)


@pytest.mark.parametrize("kind", ["percentile", "studentised"])
def test_bootstraps_cover(kind):
    """SNIPS, 600 logs of 400 events with ESS about 270: coverage ≥ 93.5 % is not rejected at 1 %, nor ≤ 96.5 %.

    The chance of a false alarm is 1 % if the true coverage is exactly at an edge, about 1e-3 if it is 94.5 %.
    """
    rng, hits, logs = np.random.default_rng(11), 0, 600
    value = lambda mean: mean[..., 0] / mean[..., 1]
    for i in range(logs):
        w = rng.choice([0.5, 2.0], 400, p=[2 / 3, 1 / 3])
        r = (rng.random(400) < np.where(w > 1, 0.3, 0.5)).astype(float)
        totals = block_sums(np.stack([w * r, w], 1), np.arange(400) % 128, 128)
        found = bootstrap({"it": totals}, {"it": value}, 0.95, draws=400, seed=i, kind=kind)["it"]
        hits += found.low <= (2 / 3 * 0.5 * 0.5 + 1 / 3 * 2 * 0.3) <= found.high
    assert binomial_p(hits, logs, 0.935, "less") > 0.01
    assert binomial_p(hits, logs, 0.965, "greater") > 0.01


def test_empirical_bernstein_covers():
    """Rare large values, 2,000 samples of 200: a declared range holds 95 %; the sample's own maximum would not.

    False alarm: at most 1 % if the true coverage were 95 %; it is above 99.9 %.
    """
    rng = np.random.default_rng(12)
    x = 50.0 * (rng.random((2000, 200)) < 0.004)  # weights of 50 in 1 of 250 rows, mean 0.2
    hits = naive = 0
    for row in x:
        bounds = empirical_bernstein(row, 0.0, 50.0, 0.95)
        hits += bounds.low <= 0.2 <= bounds.high
        top = max(row.max(), 1e-9)
        own = empirical_bernstein(row, 0.0, top, 0.95)  # the mistake of taking the largest value seen
        naive += own.low <= 0.2 <= own.high
    assert binomial_p(hits, 2000, 0.95, "less") > 0.01
    assert binomial_p(naive, 2000, 0.95, "less") < 1e-6
