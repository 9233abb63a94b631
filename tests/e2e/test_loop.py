"""The loop, whole: by hand and unattended, in this process and over HTTP, on every design; and what it leaves."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.looping import said, serving, small

from understudy.cli import main
from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.core.events import Scalar
from understudy.core.manifest import Manifest
from understudy.core.service import DecideRequest, RewardRequest
from understudy.data.artifact import verify_artifact
from understudy.data.dataset import decision_hashes, open_dataset
from understudy.data.home import Home
from understudy.data.traffic import Traffic
from understudy.models.policies import Fixed
from understudy.models.policy_file import encode_policy
from understudy.runs import experiment as steps
from understudy.runs.course import Course, Step, open_course
from understudy.runs.loop import LoopResult, run_loop, simulation
from understudy.runs.loop_settings import LoopSettings, problem_of
from understudy.runs.simulate import simulate
from understudy.serve.client import Client
from understudy.serve.local import LocalService


def looped(home: Path, told: LoopSettings) -> LoopResult:
    with serving(home, told) as service:
        return run_loop(told, home=home, service=service)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoopResult]:
    """A home in which the small loop has run."""
    home = tmp_path_factory.mktemp("loop") / "home"
    return home, looped(home, small())


@contextmanager
def over_http(place: Path) -> Iterator[Client]:
    """A client of a real ``understudy serve`` in a process of its own, on a free port of loopback."""
    code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["--home", str(place / "home"), "--problem", str(place / "problem.yaml"), "--client-times", "--port", "0"]
    process = subprocess.Popen([sys.executable, "-c", code, "serve", "production", *options], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and select.select([process.stdout], [], [], 60)[0]
        told = process.stdout.readline().decode()
        assert told.startswith("ready: "), told
        client = Client(told.split()[1], timeout=60)
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait(20)


def by_hand(home: Path, told: LoopSettings) -> None:
    """Every step one call, as a person would make them after looking at ``status``."""
    with serving(home, told) as service:
        steps.start(told, home=home, service=service)
        client = simulation(told)
        assert client is not None
        while at := steps.status(home, told.id).next:
            if at == "join":
                turn = steps.status(home, told.id).turn
                as_of = client.play(service, first=(turn - 1) * told.size, n=told.size)
                steps.join(home, told.id, as_of=as_of, service=service)
            elif at == "train":
                steps.train(home, told.id, service=service)
            elif at == "evaluate":
                steps.evaluate(home, told.id)
            else:
                steps.promote(home, told.id, service=service)


def test_the_loop_learns_and_proves_what_it_promotes(done: tuple[Path, LoopResult]) -> None:
    """Every promotion after the first policy rests on a look that shipped; the reward rises from turn to turn."""
    home, result = done
    assert [row.decisions for row in result.rows] == [150, 150, 150]
    assert result.rows[-1].mean_reward > result.rows[0].mean_reward + 0.2
    ledger = Home(home).ledger
    outcomes = {look.id: look.outcome for look in ledger.looks("production")}
    history = ledger.history("production")
    assert history[0].kind == "install" and len(history) > 1
    assert all(change.kind == "promote" and outcomes[change.look or 0] == "ship" for change in history[1:])
    assert Traffic(ledger).current("production").mode == "live"  # nobody is left on trial


def test_by_hand_and_unattended_reach_the_same_ledger(done: tuple[Path, LoopResult], tmp_path: Path) -> None:
    """Jobs, promotions, directions, verdicts, and the ids of logs, datasets and policies: all equal."""
    home, _ = done
    by_hand(tmp_path / "hand", small())
    assert said(tmp_path / "hand", small()) == said(home, small())


def test_run_again_it_does_nothing(done: tuple[Path, LoopResult]) -> None:
    """The same settings are the same experiment, which is at its end."""
    home, result = done
    before = said(home, small())
    again = looped(home, small())
    assert said(home, small()) == before and again.rows == result.rows and not again.driven


def test_consecutive_datasets_share_no_decision_and_nothing_is_lost(done: tuple[Path, LoopResult]) -> None:
    """Turn by turn, and all of them together are the cumulative one."""
    home, _ = done
    folder = open_course(home, "small").folder / "data"
    turns = [set(decision_hashes(open_dataset(folder / str(turn))).tolist()) for turn in (1, 2, 3)]
    whole = set(decision_hashes(open_dataset(folder / "all-3")).tolist())
    assert sum(map(len, turns)) == len(whole) == 450 and set.union(*turns) == whole


def test_a_candidate_is_judged_on_nothing_it_learned_from(done: tuple[Path, LoopResult]) -> None:
    """Every verdict's lineage check passed."""
    home, _ = done
    ledger = Home(home).ledger
    verdicts = [ledger.verdict(look) for look in ledger.looks("production")]
    assert len(verdicts) == 3
    for verdict in verdicts:
        assert verdict is not None and next(c for c in verdict.checks if c.name == "lineage").passed


def test_over_http_everything_is_identical(done: tuple[Path, LoopResult], tmp_path: Path) -> None:
    """Same seeds, same client times: the same decisions, datasets, policies and verdicts, to the id."""
    home, result = done
    told = small()
    assert main(["drive", "digits", "--problem-to", str(tmp_path / "problem.yaml")]) == 0
    with over_http(tmp_path) as service:
        served = run_loop(told, home=tmp_path / "home", service=service)
    assert said(tmp_path / "home", told) == said(home, told)
    for mine, theirs in zip(result.driven, served.driven, strict=True):
        assert mine.propensity.tolist() == theirs.propensity.tolist() and mine.policy == theirs.policy
        assert mine.action.tolist() == theirs.action.tolist()


@pytest.mark.parametrize(
    "changes",
    [{"design": "holdout", "size": 400, "train_share": 0.6}, {"gate": "off"}],
    ids=str,
)
def test_other_designs(changes: dict[str, Any], tmp_path: Path) -> None:
    """Hold-out, no gate, and a previous policy that keeps a share while the new one is watched."""
    told = small(**changes)
    result = looped(tmp_path, told)
    history = Home(tmp_path).ledger.history("production")
    assert len(result.rows) == 3 and result.promoted >= 1
    if "design" in changes:
        assert all(row.share == 0 for row in result.rows)
    if "gate" in changes:
        assert [change.kind for change in history] == ["install", "override", "override", "override"]
        assert all(change.reason == "gate off" for change in history[1:])


def test_after_a_promotion_the_previous_policy_keeps_a_share(tmp_path: Path) -> None:
    """For one turn it acts beside the new one, to be compared with; nobody else is on trial in that turn."""
    told = small(size=500, loops=4, alpha=0.4)
    rows = looped(tmp_path, told).rows
    first = Home(tmp_path).ledger.history("production")[0].policy
    watched = [row.loop for row in rows[:-1] if row.promoted and row.hosted != first]
    assert watched, "nobody was promoted over a trained policy"
    course = open_course(tmp_path, told.id)
    for turn in watched:
        following = rows[turn]  # of turn + 1
        assert (following.candidate, following.outcome, following.share) == ("", "", told.guardrail.share)
        joined = course.done("joining", turn + 1)
        assert joined is not None and joined.body["candidate"] == rows[turn - 1].hosted
        assert joined.body["guard"] is not None and not joined.body["guard"]["breached"]


def test_whoever_goes_live_in_between_is_not_replaced_unproven(tmp_path: Path) -> None:
    """An operator's override after the verdict: the candidate is dropped, with the reason, and the loop goes on."""
    told = small(loops=2, size=500)

    def meddle(course: Course, step: Step) -> None:
        if step.verb == "evaluate" and step.turn == 1:
            assert course.next is not None and course.next.verb == "promote"
            made = course.home.put(Manifest(kind="policy", problem_hash=course.problem.hash, config={"by": "hand"}),
                                   encode_policy(Fixed(10, 3), problem=course.problem))  # fmt: skip
            course.home.ledger.override(course.alias, made.id, time=1, reason="an operator")

    with serving(tmp_path, told) as service:
        result = run_loop(told, home=tmp_path, service=service, after=meddle)
    assert len(result.rows) == 2 and not result.rows[0].promoted and "an operator" in result.rows[0].reason


def test_a_warm_start_goes_live_only_if_it_is_proven(tmp_path: Path) -> None:
    """Historical data with probabilities: a good policy from it is promoted against the log's own, before turn 1."""
    raw = tmp_path / "raw"
    simulate("digits", {}, behavior="uniform", n=2_000, seed=3, to=raw)
    assert main(["drive", "digits", "--problem-to", str(tmp_path / "problem.yaml")]) == 0
    files = [str(raw / name) for name in ("decisions.jsonl", "outcomes.jsonl")]
    options = ["--problem", str(tmp_path / "problem.yaml"), "--complete", "--home", str(tmp_path / "home")]
    assert main(["ingest", *files, *options, "--to", str(tmp_path / "logs")]) == 0
    told = small(warm_start=str(tmp_path / "logs"), loops=1)
    result = looped(tmp_path / "home", told)
    kinds = [change.kind for change in Home(tmp_path / "home").ledger.history("production")]
    assert kinds[:2] == ["install", "promote"]
    assert result.rows[0].decisions == 150 and result.rows[0].mean_reward > 0.5
    whole = open_course(tmp_path / "home", told.id).done("joining", 1)
    assert whole is not None and whole.body["all"] != whole.body["dataset"]  # history is learned from, not judged on


def test_live_traffic_by_the_clock(tmp_path: Path) -> None:
    """No client: others ask the service, the loop waits for enough of them and for their windows to close."""
    told = small(loops=1, size=60, window="1s", backward="1s", problem=str(tmp_path / "problem.yaml"), client=None)
    assert main(["drive", "digits", "--problem-to", str(tmp_path / "problem.yaml")]) == 0
    home = tmp_path / "home"
    with LocalService(home, "production", problem=problem_of(told), poll=0.01) as service:
        asking = threading.Thread(target=_ask, args=(service, 60))
        asking.start()
        heard: list[str] = []
        result = run_loop(told, home=home, service=service, tell=heard.append)
        asking.join()
    assert result.rows[0].decisions == 60 and result.rows[0].mean_reward == 1.0
    assert heard[0].startswith("turn 1: waiting for 60 decisions") and heard[1].endswith("waiting 1s for their rewards")


def _ask(service: LocalService, n: int) -> None:
    context: dict[str, Scalar] = {f"pixel_{i}_{j}": 0.0 for i in range(8) for j in range(8)}
    for i in range(n):
        id = service.decide(DecideRequest(context=context, decision_id=f"live-{i}")).decision_id
        service.reward(RewardRequest(decision_id=id, value=1.0))


def test_experiments_side_by_side_never_mix(done: tuple[Path, LoopResult], tmp_path: Path) -> None:
    """A second one on another alias of the same home comes out as it does alone."""
    home, _ = done
    other = small(experiment="other", alias="banner", seed=5)
    alone = tmp_path / "alone"
    looped(alone, other)
    before = said(home, small())
    looped(home, other)
    both, single = said(home, other), said(alone, other)
    assert {key: both[key] for key in both if key != "artifacts"} == {
        key: single[key] for key in single if key != "artifacts"
    }
    after = said(home, small())
    assert {key: after[key] for key in ("jobs", "promotions", "traffic", "verdicts")} == {
        key: before[key] for key in ("jobs", "promotions", "traffic", "verdicts")
    }


def test_a_step_out_of_turn_names_the_next(tmp_path: Path) -> None:
    """No step runs before the one it rests on; no unproven promotion; no executor that does not exist."""
    told = small()
    steps.start(told, home=tmp_path)
    for wrong in (steps.train, steps.evaluate, steps.promote):
        with pytest.raises(StoreError, match="next is join"):
            wrong(tmp_path, told.id)
    with serving(tmp_path, told) as service:
        client = simulation(told)
        assert client is not None
        as_of = client.play(service, first=0, n=150)
        steps.join(tmp_path, told.id, as_of=as_of, service=service)
        with pytest.raises(ConfigError, match="executor 'cluster'"):
            steps.train(tmp_path, told.id, at="cluster")
        steps.train(tmp_path, told.id, service=service)
        judged = steps.evaluate(tmp_path, told.id)
        if judged.body["outcome"] != "ship":
            with pytest.raises(EvidenceError, match="may not be promoted"):
                steps.promote(tmp_path, told.id)


def test_why_and_replay(done: tuple[Path, LoopResult], capsys: pytest.CaptureFixture[str]) -> None:
    """A late decision leads to verdict and verified rows; every decision is made again bit for bit."""
    home, _ = done
    assert main(["replay", "--all", "--home", str(home)]) == 0
    assert "450 decisions made again, 0 different" in capsys.readouterr().out
    assert main(["why", "small-449", "--home", str(home)]) == 0
    told = capsys.readouterr().out
    assert "verified, every file and every row" in told and ": ship" in told and "experiment small" in told


def test_why_notices_a_changed_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One byte more in the rows a policy was trained on, and the trace says so."""
    told = small(loops=2, gate="off")
    looped(tmp_path, told)
    trained = open_course(tmp_path, told.id).done("training", 1, "next")
    assert trained is not None
    place = Home(tmp_path).known(trained.body["on"]["id"])
    assert place is not None
    path = place / "steps.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    assert main(["why", "small-299", "--home", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "was changed" in out and "verified" not in out


def test_clean_says_what_it_does(tmp_path: Path) -> None:
    """A dry run deletes nothing; clean deletes the turns' folders, ends the trial and keeps every policy."""
    told = small(loops=2, size=60)
    looped(tmp_path, told)
    folder = open_course(tmp_path, told.id).folder
    planned = steps.clean(tmp_path, told.id, dry_run=True)
    assert (folder / "data").exists() and steps.clean(tmp_path, told.id) == planned
    assert not any((folder / name).exists() for name in ("segments", "data", "runs"))
    for policy in (tmp_path / "policies").iterdir():
        verify_artifact(policy)
    assert steps.status(tmp_path, told.id).state == "CLEANED" and steps.status(tmp_path, told.id).next == ""
