"""What a newcomer stumbled over in the loop's verbs: a wrong word, a missing name, a reason left out."""

import json
from pathlib import Path

import pytest
from tests.looping import serving, small

from understudy.cli import main
from understudy.cli.serving import loop_service
from understudy.core.errors import ConfigError, StoreError
from understudy.core.events import Scalar
from understudy.core.evidence import Estimate
from understudy.core.service import DecideRequest
from understudy.data.home import Home
from understudy.data.ledger import Promotion
from understudy.data.traffic import kept_beside
from understudy.runs import experiment as steps
from understudy.runs.loop import run_loop
from understudy.runs.prove import rollback
from understudy.runs.standing import only_experiment, status_lines
from understudy.runs.trace import trace_lines, why


def change(version: int, kind: str, policy: str) -> Promotion:
    return Promotion(alias="a", version=version, policy=policy, look=None, time=version, kind=kind, reason="")


def test_who_keeps_a_share_after_its_place_was_taken_is_not_on_trial() -> None:
    """Only whom the live one replaced; a policy that was rolled back and is tried again is on trial."""
    history = [change(1, "install", "one"), change(2, "promote", "two")]
    assert kept_beside(history, "two", "one") and not kept_beside(history, "two", "three")
    assert not kept_beside(history[:1], "one", "two") and not kept_beside((), "one", "two")
    assert not kept_beside([*history, change(3, "rollback", "one")], "one", "two")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loop whose guardrail keeps the previous policy beside the new one."""
    home = tmp_path_factory.mktemp("done")
    told = small()
    with serving(home, told) as service:
        run_loop(told, home=home, service=service)
    return home


def test_why_names_policies_by_id_and_says_why_there_is_no_interval(done: Path) -> None:
    """Estimates call the incumbent by its alias; a person asks for an id."""
    trace = why("small-440", home=done, alias="production")
    lines = trace_lines(trace)
    assert not any("refused]" in line or line.strip().startswith("production,") for line in lines), lines
    judged = [one for actor in trace.actors for one in actor.judged if one.estimates]
    assert any(e.target == "production" for one in judged for e in one.estimates)
    assert any(one.incumbent in line for one in judged for line in lines if ", dr: " in line)
    none = Estimate(
        target="x", estimator="snips", value=0.5, std_error=None, low=None, high=None, level=0.95, method="jackknife",
        n_episodes=2, n_units=2, ess=1.0, max_weight_share=1.0, matched=1, notes=("one decision carries it all",),
    )  # fmt: skip
    from understudy.runs.trace import _interval

    assert _interval(none) == "0.5000, no interval: one decision carries it all"


def test_an_unknown_alias_lists_those_there_are(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For why, and for replay of one decision or all."""
    for words in (["why", "small-1"], ["replay", "small-1"], ["replay", "--all"]):
        assert main([*words, "--for", "prod", "--home", str(done)]) == 1
        assert "Aliases: production" in capsys.readouterr().err
    with pytest.raises(StoreError):
        why("small-1", home=done / "nowhere", alias="production")
    assert not (done / "nowhere").exists()


def test_the_only_experiment_need_not_be_named(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None and several are told apart, and several are listed."""
    assert main(["status", "--home", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["experiment"] == "small"
    assert main(["clean", "--dry-run", "--home", str(done)]) == 0
    with pytest.raises(ConfigError, match="no experiment"):
        only_experiment(tmp_path, "")
    for name in ("spring", "autumn"):
        steps.start(small(experiment=name, alias=name), home=tmp_path)
    with pytest.raises(ConfigError, match="2 experiments") as several:
        only_experiment(tmp_path, "")
    assert "autumn" in several.value.hint and "spring" in several.value.hint
    assert only_experiment(tmp_path, "spring") == "spring"


def test_a_rollback_by_hand_stands_in_the_status(tmp_path: Path) -> None:
    """The loop's own changes do not."""
    told = small(gate="off", loops=2)
    with serving(tmp_path, told) as service:
        run_loop(told, home=tmp_path, service=service)
    assert steps.status(tmp_path, "small").by_hand == ()
    rollback("production", why="complaints", home=tmp_path)
    at = steps.status(tmp_path, "small")
    assert [(one["kind"], one["reason"]) for one in at.by_hand] == [("rollback", "complaints")]
    assert any(line.startswith("by hand: rollback to") and "complaints" in line for line in status_lines(at))


def test_a_loop_refuses_the_service_of_another_alias_before_it_enters_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the experiment stands in the ledger and waits for a version that never comes."""
    monkeypatch.setattr("understudy.serve.client.Client.status", lambda self: {"alias": "staging", "version": [0, 0]})
    with (
        pytest.raises(ConfigError, match="serves 'staging'"),
        loop_service(small(), tmp_path, "http://127.0.0.1:1", ""),
    ):
        raise AssertionError("not reached")
    assert not Home(tmp_path).exists


def test_a_join_by_hand_says_how_many_windows_are_still_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty decisions whose window has closed, and twenty that belong to the next turn."""
    problem = tmp_path / "problem.yaml"
    assert main(["drive", "digits", "--problem-to", str(problem)]) == 0
    told = small(loops=1, size=20, client=None, window="1m", problem=str(problem), gate="off")
    with serving(tmp_path, told) as service:
        steps.start(told, home=tmp_path, service=service)
        context: dict[str, Scalar] = dict.fromkeys(service.desk.problem.feature_names, 0.0)
        for i in range(40):
            time = 1_000.0 + i + 1_000 * (i // 20)
            service.decide(DecideRequest(context=context, decision_id=f"d-{i}", time=time))
    assert main(["join", "--experiment", "small", "--home", str(tmp_path)]) == 0
    assert "20 more whose window is still open" in capsys.readouterr().out
