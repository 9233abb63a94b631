"""The whole chain, from a raw log to a promoted policy, judged against the known truth."""

from pathlib import Path

import pytest

from understudy.core.errors import ConfigError
from understudy.data.artifact import verify_artifact
from understudy.runs.demo import BAD, GOOD, Shown, demo
from understudy.runs.describe import show
from understudy.runs.home import Home


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return demo(to=tmp_path_factory.mktemp("demo"), decisions=12_000, seed=1, say=None)


def place(shown: Shown) -> Path:
    return shown.report.parent.parent


def test_the_good_candidate_ships_and_the_bad_one_is_held_with_reasons(shown: Shown) -> None:
    """The verdicts agree with the truth, and each says why."""
    assert shown.truths[GOOD] > shown.truths["logged"] > shown.truths[BAD]
    assert shown.verdicts[GOOD].outcome == "ship"
    assert shown.verdicts[BAD].outcome != "ship"
    for verdict in shown.verdicts.values():
        assert verdict.reason and all(check.why for check in verdict.checks)


def test_every_estimate_has_an_interval_or_a_reason(shown: Shown) -> None:
    """No bare numbers: bounds around the value, or a refusal that says why."""
    assert len(shown.estimates) == 3 * 3 * 2 + 3  # three candidates and their differences, and the log's own policy
    for e in shown.estimates:
        if e.low is None or e.high is None:
            assert e.notes
        else:
            assert e.low <= e.value <= e.high


def test_the_report_stands_alone(shown: Shown) -> None:
    """One page that needs nothing from outside and names every candidate."""
    page = shown.report.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page
    assert all(name in page for name in shown.truths)


def test_the_winner_is_promoted_and_its_lineage_reaches_the_log(shown: Shown) -> None:
    """production points at the good policy; policy ← dataset ← log, every file intact."""
    home = place(shown) / "home"
    kept = Home(home).current("production")
    assert kept is not None
    manifest = verify_artifact(kept)
    assert manifest.id == verify_artifact(place(shown) / "runs" / GOOD).id
    kinds = [kind for _, kind, _, _ in show("production", home=home).data["lineage"]]
    assert kinds == ["dataset", "log"]


def test_every_look_is_in_the_ledger(shown: Shown) -> None:
    """Three candidates, three looks, each closed with its verdict, each with its own share of α."""
    looks = Home(place(shown) / "home").ledger.looks()
    assert [look.k for look in looks] == [1, 2, 3]
    assert [look.outcome for look in looks] == [verdict.outcome for verdict in shown.verdicts.values()]


def test_the_demo_does_not_delete_what_it_did_not_make(tmp_path: Path) -> None:
    """A folder with somebody's files is refused."""
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(ConfigError, match="no demo made"):
        demo(to=tmp_path, say=None)
    assert (tmp_path / "thesis.txt").exists()


def test_the_second_act_learns_from_guessing(shown: Shown) -> None:
    """500 episodes that fell after 22 steps or so become a policy that stays up; every epoch has its estimates."""
    second = shown.second
    assert second is not None
    assert 18 < second.random < 27 and second.trained >= 180
    assert len(second.truths) == len(second.curves.points) == 10
    assert all(point.estimates for point in second.curves.points)
    verify_artifact(place(shown) / "episodes" / "runs" / "bcq")
    page = second.page.read_text()
    assert page.count("<svg") == 4 and "<script" not in page and f"Epoch {second.chosen} became" in page
