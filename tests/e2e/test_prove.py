"""The gate at work on artifacts: what counts as one comparison, what is refused, what promotion needs."""

from pathlib import Path

import pytest

from understudy.core.errors import ConfigError, DataError, EvidenceError, StoreError
from understudy.data.traffic import Direction, Traffic
from understudy.runs.assess import Assessment, assess
from understudy.runs.bring import bring, bring_together, draft
from understudy.runs.home import Home
from understudy.runs.prove import Proof, promote, prove, rollback
from understudy.runs.simulate import simulate
from understudy.runs.train import train


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8,000 logged decisions, joined twice: as the log stood at noon of the first day, and whole."""
    place = tmp_path_factory.mktemp("prove")
    simulate("digits", {}, behavior="warm", n=8_000, seed=5, to=place / "raw")
    files = [place / "raw" / "decisions.jsonl", place / "raw" / "outcomes.jsonl"]
    draft(files, place / "problem.yaml")
    bring(files, layout="events", problem=place / "problem.yaml", options={}, to=place / "logs", home=place / "home")
    for name, as_of in (("early", "2026-01-01T12:00:00Z"), ("data", None)):
        bring_together(place / "logs", window="2h", backward="2m", as_of=as_of, to=place / name, home=place / "home")
    train("direct", on=place / "data", to=place / "ridge", settings={})
    train("fixed", on=place / "data", to=place / "nine", settings={"action": "9"})
    return place


def last_look(home: Path):
    return Home(home).ledger.looks()[-1]


def test_a_second_look_at_the_same_data_is_the_same_comparison(raw: Path, tmp_path: Path) -> None:
    """Looking again spends nothing more; another candidate is the next comparison."""
    verdicts = [prove(raw / run, on=raw / "data", how=Proof(), home=tmp_path)[0] for run in ("ridge", "ridge", "nine")]
    assert [look.k for look in Home(tmp_path).ledger.looks()] == [1, 1, 2]
    assert verdicts[0] == verdicts[1]


def test_a_log_that_grew_goes_on_with_its_comparison_under_one_name(raw: Path, tmp_path: Path) -> None:
    """With a stream both datasets are one comparison; without, the grown one is a new one."""
    for name in ("early", "data"):
        prove(raw / "ridge", on=raw / name, how=Proof(stream="site"), home=tmp_path)
    assert [look.k for look in Home(tmp_path).ledger.looks()] == [1, 1]
    prove(raw / "ridge", on=raw / "data", how=Proof(), home=tmp_path)
    assert last_look(tmp_path).k == 2


def test_a_stream_that_was_rewritten_is_an_error(raw: Path, tmp_path: Path) -> None:
    """What an earlier look saw must stand at the beginning of what a later look sees."""
    prove(raw / "ridge", on=raw / "data", how=Proof(stream="site"), home=tmp_path)
    with pytest.raises(EvidenceError, match="rewritten"):
        prove(raw / "ridge", on=raw / "early", how=Proof(stream="site"), home=tmp_path)


def test_proving_on_the_training_slice_is_refused(raw: Path, tmp_path: Path) -> None:
    """The verdict says how many decisions were used twice."""
    verdict, _ = prove(raw / "ridge", on=raw / "data", how=Proof(slice="train"), home=tmp_path)
    assert verdict.outcome == "refused" and "training and gate share" in verdict.reason


def test_proving_on_what_was_chosen_by_is_refused(raw: Path, tmp_path: Path) -> None:
    """Whoever looked at the figures of the gate slice may have chosen by them."""
    assess([raw / "ridge"], on=raw / "data", how=Assessment(("snips",), slice="gate"), home=tmp_path)
    verdict, _ = prove(raw / "ridge", on=raw / "data", how=Proof(), home=tmp_path)
    assert verdict.outcome == "refused" and "selection and gate share" in verdict.reason


def test_evaluating_on_the_training_slice_is_an_error(raw: Path, tmp_path: Path) -> None:
    """No estimate is made of a policy on the rows it was fitted to."""
    with pytest.raises(DataError, match="trained on"):
        assess([raw / "ridge"], on=raw / "data", how=Assessment(("snips",), slice="train"), home=tmp_path)


def test_promotion_needs_the_verdict_and_rollback_undoes_it(raw: Path, tmp_path: Path) -> None:
    """No ship, no promotion; after a rollback the log's own policy acts again; the copy outlives the run's folder."""
    with pytest.raises(EvidenceError):
        promote(raw / "nine", alias="production", home=tmp_path)
    verdict, _ = prove(raw / "ridge", on=raw / "data", how=Proof(), home=tmp_path)
    assert verdict.outcome == "ship"
    promote(raw / "ridge", alias="production", home=tmp_path)
    kept = Home(tmp_path).current("production")
    assert kept is not None and kept.is_relative_to(tmp_path)
    rollback("production", why="a test", home=tmp_path)
    assert Home(tmp_path).current("production") is None
    with pytest.raises(StoreError):
        rollback("production", why="once more", home=tmp_path)


def test_a_rollback_ends_the_trial_beside_it(tmp_path: Path) -> None:
    """Whoever was on a share of the traffic was judged against the policy that is gone."""
    ledger = Home(tmp_path).ledger
    ledger.install("app", "first", time=1, reason="a start")
    ledger.override("app", "second", time=2, reason="a test")
    Traffic(ledger).direct(Direction(alias="app", mode="canary", candidate="third", share=0.3, time=3))
    rollback("app", why="complaints", home=tmp_path)
    now = Traffic(ledger).current("app")
    assert (now.mode, now.candidate, now.share) == ("live", None, 0.0)
    assert len(Traffic(ledger).history("app")) == 2, "one trial, one end"


def test_after_a_rollback_only_a_newer_look_promotes(raw: Path, tmp_path: Path) -> None:
    """Whoever rolled back had a reason: the old verdict is spent, a look taken since then is not."""
    prove(raw / "ridge", on=raw / "data", how=Proof(), home=tmp_path)
    promote(raw / "ridge", alias="production", home=tmp_path)
    rollback("production", why="complaints", home=tmp_path)
    with pytest.raises(EvidenceError):
        promote(raw / "ridge", alias="production", home=tmp_path)
    prove(raw / "ridge", on=raw / "data", how=Proof(), home=tmp_path)
    assert promote(raw / "ridge", alias="production", home=tmp_path)["version"] == 4


def test_a_failed_promotion_names_nobody(raw: Path, tmp_path: Path) -> None:
    """A misspelt alias does not come into being by being refused, and nothing is copied."""
    with pytest.raises(EvidenceError):
        promote(raw / "nine", alias="prodction", home=tmp_path)
    assert not Home(tmp_path).ledger.history("prodction") and not (tmp_path / "policies").exists()


def test_two_aliases_for_one_proof_are_an_error(raw: Path, tmp_path: Path) -> None:
    """A proof counts where the candidate would go live."""
    with pytest.raises(ConfigError, match="staging"):
        prove(raw / "ridge", on=raw / "data", how=Proof(against="staging", alias="production"), home=tmp_path)


def test_a_log_without_propensities_gets_a_verdict_that_says_so(raw: Path, tmp_path: Path) -> None:
    """The look was announced, so it is answered: refused, and why."""
    lines = (raw / "raw" / "decisions.jsonl").read_text().splitlines()
    import json

    bare = [{k: v for k, v in json.loads(line).items() if not k.startswith("propensit")} for line in lines[:3000]]
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, bare)) + "\n")
    files = [tmp_path / "bare.jsonl", raw / "raw" / "outcomes.jsonl"]
    bring(files, layout="events", problem=raw / "problem.yaml", options={}, to=tmp_path / "logs", home=tmp_path)
    bring_together(tmp_path / "logs", window="2h", backward="2m", as_of=None, to=tmp_path / "data", home=tmp_path)
    train("uniform", on=tmp_path / "data", to=tmp_path / "coin")
    verdict, _ = prove(tmp_path / "coin", on=tmp_path / "data", how=Proof(), home=tmp_path)
    assert verdict.outcome == "refused"
    assert last_look(tmp_path).outcome == "refused"


def test_a_misspelt_incumbent_does_not_stand_for_the_log(raw: Path, tmp_path: Path) -> None:
    """A name that nobody ever held is an error and spends no look; an alias to be promoted to may be new."""
    with pytest.raises(StoreError, match="prodction"):
        prove(raw / "ridge", on=raw / "data", how=Proof(against="prodction"), home=tmp_path)
    with pytest.raises(StoreError, match="nobody"):
        assess([raw / "ridge"], on=raw / "data", how=Assessment(("snips",), "nobody"), home=tmp_path)
    assert not Home(tmp_path).ledger.looks()
    prove(raw / "ridge", on=raw / "data", how=Proof(alias="canary"), home=tmp_path)
    assert last_look(tmp_path).incumbent == "logged"


def test_an_incumbent_may_be_named_by_its_id(raw: Path, tmp_path: Path) -> None:
    """The id of a recorded policy is that policy, and its comparison belongs to the alias promoted to."""
    id = Home(tmp_path).record(raw / "ridge").id
    prove(raw / "nine", on=raw / "data", how=Proof(against=id), home=tmp_path)
    assert (last_look(tmp_path).incumbent, last_look(tmp_path).alias) == (id, "production")
