"""Whoever asks why is not told that a changed record is the one that was written."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.core.errors import DataError
from understudy.core.manifest import Manifest
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.service import DecideRequest
from understudy.data.home import Home
from understudy.models.policies import Fixed, Uniform
from understudy.models.policy_file import encode_policy
from understudy.runs.trace import why
from understudy.serve.local import LocalService

PROBLEM = Problem(features=(Feature(name="x"),), actions=ActionSpace(names=("a", "b", "c")))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The uniform policy is live and has decided d-1 and d-2; another one is kept beside it."""
    place = Home(tmp_path)
    made = Manifest(kind="policy", problem_hash=PROBLEM.hash)
    live, _ = (place.put(made, encode_policy(policy, problem=PROBLEM)).id for policy in (Uniform(3), Fixed(3, 1)))
    place.ledger.install("app", live, time=1, reason="first")
    with LocalService(tmp_path, "app") as service:
        for id in ("d-1", "d-2"):
            service.decide(DecideRequest(context={"x": 1.0}, decision_id=id))
    return place


def replayed(home: Home) -> int:
    return main(["replay", "--all", "--home", str(home.folder), "--for", "app"])


@pytest.mark.parametrize("body", ["(SELECT body FROM events WHERE key = 'd-2')", "CAST('{}' AS BLOB)"])
def test_a_record_that_stands_for_another_is_noticed(home: Home, body: str) -> None:
    """Another decision's record makes itself again bit for bit: only its place gives it away. So does none at all."""
    assert replayed(home) == 0
    with sqlite3.connect(home.log("app") / "worker-0.db") as log:
        log.execute(f"UPDATE events SET body = {body} WHERE key = 'd-1'")
    log.close()
    with pytest.raises(DataError) as caught:
        why("d-1", home=home.folder, alias="app")
    assert caught.value.field == "d-1" and replayed(home) != 0


def test_another_policys_files_are_not_intact(home: Home) -> None:
    """Whole and unchanged, but another's."""
    (actor,) = why("d-1", home=home.folder, alias="app").actors
    assert actor.intact
    mine = home.kept(actor.id)
    (other,) = (path for path in mine.parent.iterdir() if path != mine)
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    assert not why("d-1", home=home.folder, alias="app").actors[0].intact
