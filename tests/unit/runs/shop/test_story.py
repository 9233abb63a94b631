"""A small study of coupon policies, run by one command: its figures, its report, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.core.errors import ConfigError
from understudy.envs.retail.metrics import metrics
from understudy.envs.retail.world import retail
from understudy.envs.rollout import episodes
from understudy.models.policies import Fixed, Uniform
from understudy.report.retail import beside, headline, tally
from understudy.runs.shop.customers import history
from understudy.runs.shop.judged import labels
from understudy.runs.shop.story import shop
from understudy.runs.sweep.drive import run_here
from understudy.runs.sweep.experiment import plan, read_experiment
from understudy.runs.sweep.study import Study, open_study

SMALL: dict[str, Any] = {"steps": 8, "customers": 25, "products": 90}
FILE = f"""
name: small
env: retail
env_settings: {json.dumps(SMALL)}
log: {{with: uniform, episodes: 200}}
evaluate: {{env_settings: {{split: held_out}}, episodes: 100, trace: 800, log: 100, with: [snips, fqe]}}
sweep:
  policy:
    - {{learner: uniform}}
    - {{learner: fixed, settings.action: 0%}}
    - {{learner: fixed, settings.action: 25%}}
    - {{learner: fixed, settings.action: 50%}}
    - {{learner: lin_ts}}
  log.episodes: [100, 200]
seeds: 1
report: retail
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    place = tmp_path_factory.mktemp("shop")
    (place / "small.yaml").write_text(FILE.replace("  log.episodes: [100, 200]\n", ""))
    outcome = run_here(place / "small.yaml", {}, place / "study", "", lambda line: None)
    assert outcome.counts == {"done": 5}
    assert outcome.notes == (f"report: {place / 'study' / 'report' / 'report.html'}",)
    return open_study(place / "study")


def test_figures_are_those_of_the_judged_episodes(study: Study) -> None:
    """Walked again by hand: the same shops, the same luck, the same revenue."""
    told = shop(study)
    world = retail(**SMALL, split="held_out")
    log = episodes(world, Fixed(11, 5), 100, seed=1_000_000)
    m = metrics(log, world.problem, len(world.terms.catalogue.sizes))
    own = next(p for p in told.policies if p.name == "always 25%")
    assert own.revenue.value == pytest.approx(m.revenue.mean()) and own.discount == pytest.approx(0.25)
    assert own.cumulative[-1] == pytest.approx(own.revenue.value) and own.retention.value == m.retention.mean()
    random = next(p for p in told.policies if p.kind == "random")
    assert own.ratio is not None and own.ratio.value == pytest.approx(own.revenue.value / random.revenue.value)
    assert told.environments == 4 and told.customers == 100
    assert np.allclose(np.sum([p.mix for p in told.policies], axis=2), 1)


def test_segments_part_the_customers_and_their_figures_add_up(study: Study) -> None:
    told = shop(study)
    assert [each.known for each in told.segmentations] == [False, True, True]
    for each in told.segmentations:
        assert sum(each.sizes) == told.customers
        for policy in told.policies:
            own = [c for c in each.cells if c.policy == policy.name]
            mean = np.average(
                [c.discount for c in own], weights=[each.sizes[each.segments.index(c.segment)] for c in own]
            )
            assert mean == pytest.approx(policy.discount)


def test_the_history_shares_no_luck_with_the_judged_episodes(study: Study) -> None:
    world = retail(**SMALL, split="held_out")
    past = history(world, 100, 0)
    judged = episodes(world, Uniform(11), 100, seed=1_000_000)
    assert not np.array_equal(past.steps.reward, judged.reward)
    assert len(set(past.keys)) == 100 and {name for name, _ in past.relevance} == set(world.problem.feature_names)


def test_estimates_stand_beside_the_truth_and_refusals_are_counted(study: Study) -> None:
    """FQE alone has no interval, so each of its rows is a refusal; one-step estimates are of the size of the truth."""
    told = shop(study)
    rows = [j for p in told.policies for j in p.judgements]
    assert {j.estimator for j in rows} == {"snips", "fqe"}
    assert all(beside(j)[2] == "refused" for j in rows if j.estimator == "fqe")
    assert "5 refused" in next(line for line in tally(told) if line.startswith("fqe"))


def test_the_page_says_who_earns_most_and_needs_nothing_else(study: Study) -> None:
    page = (study.folder / "report" / "report.html").read_text()
    assert (
        headline(shop(study)) in page.replace("&#39;", "'")
        and "<script" not in page
        and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    )
    names = {path.stem for path in (study.folder / "report" / "pictures").glob("*.png")}
    assert {"revenue", "curve", "cumulative", "mix", "segments-0", "segments-2", "scatter", "relevance"} <= names


def test_worlds_figures_are_metrics_of_the_study(study: Study) -> None:
    """``compare --metric revenue`` finds them: they stand in the tables like any other figure."""
    import pyarrow.parquet as pq

    table = pq.read_table(study.folder / "tables" / "results.parquet")
    known = set(table["metric"].to_pylist())
    assert {"revenue", "retention", "share[25%]", "revenue[sensitive]", "true_value", "true_return", "snips"} <= known


def test_sizes_make_names_and_a_trace_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sizes.yaml").write_text(FILE)
    names = labels(plan(read_experiment(tmp_path / "sizes.yaml")).configs)
    assert "lin_ts, 200 customers" in names and len(set(names)) == 10
    short = {"evaluate.trace": 30, "sweep": {"learner": ["lin_ts"]}, "evaluate.with": "snips"}
    with pytest.raises((ConfigError, ValueError)):
        run_here(tmp_path / "sizes.yaml", short, tmp_path / "short", "", lambda line: None)
    with pytest.raises(ConfigError, match="unknown report"):
        run_here(tmp_path / "sizes.yaml", {"report": "retial"}, tmp_path / "other", "", lambda line: None)
