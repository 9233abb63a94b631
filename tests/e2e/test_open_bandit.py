"""Real logs whose answer is known: the Open Bandit sample, where a uniform policy ran beside the one that is asked."""

import csv
import gzip
from pathlib import Path

import pytest

from understudy.core.evidence import Estimate, Verdict
from understudy.runs.assess import Assessment, assess
from understudy.runs.bring import bring, bring_together
from understudy.runs.prove import Proof, prove
from understudy.runs.train import train

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "open-bandit-sample"
pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason="the Open Bandit sample is not on this machine")


def judged(campaign: str, place: Path) -> tuple[Verdict, tuple[Estimate, ...]]:
    """The log of Bernoulli Thompson sampling, asked what a uniform policy would have earned."""
    home = place / "home"
    bring([SAMPLE / "bts" / campaign], layout="open_bandit", problem=None, options={}, to=place / "logs", home=home)
    bring_together(place / "logs", window="1h", backward="2m", as_of=None, to=place / "data", home=home)
    train("uniform", on=place / "data", to=place / "uniform", home=home)
    verdict, _ = prove(place / "uniform", on=place / "data", how=Proof(slice="all"), home=home)
    how = Assessment(("ips", "snips"), slice="all")
    return verdict, assess([place / "uniform"], on=place / "data", how=how, home=home)[0]


def clicks_under_uniform(campaign: str) -> float:
    """The mean click of the log that the uniform policy itself made, at the same time."""
    with gzip.open(SAMPLE / "random" / campaign / f"{campaign}.csv.gz", "rt") as file:
        clicks = [int(row["click"]) for row in csv.DictReader(file)]
    return sum(clicks) / len(clicks)


def test_women_cannot_be_answered_and_the_reason_says_why(tmp_path: Path) -> None:
    """One of 10,000 rows holds 69 % of the weight: refused, with the ESS and the share in the reason."""
    verdict, estimates = judged("women", tmp_path)
    assert verdict.outcome == "refused"
    assert "69%" in verdict.reason and "2.1 of 10,000" in verdict.reason
    assert all(e.refused and e.notes for e in estimates if e.target == "uniform")


def test_men_can_be_answered_and_the_answer_covers_the_truth(tmp_path: Path) -> None:
    """An interval that holds what the uniform policy earned beside it; and no reason to ship it."""
    verdict, estimates = judged("men", tmp_path)
    truth = clicks_under_uniform("men")
    for e in estimates:
        if e.target == "uniform":
            assert e.low is not None and e.high is not None
            assert e.low <= truth <= e.high
    assert verdict.outcome in ("hold", "not_enough_evidence")
