"""The stages of a turn that work on data: train a candidate, judge it; and how the first policy comes about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from understudy import __version__
from understudy.core.errors import ConfigError
from understudy.core.manifest import Manifest
from understudy.data.artifact import MANIFEST, read_manifest
from understudy.data.home import LOGGED
from understudy.data.join import join
from understudy.data.journal import Change
from understudy.models.policies import Uniform
from understudy.models.policy_file import encode_policy
from understudy.runs.assess import Assessment, assess
from understudy.runs.course import Course, Step
from understudy.runs.prove import Proof, promote, prove
from understudy.runs.train import ROWS, goes_on, open_policy, train

ESTIMATORS = ("snips", "dr")


def candidate(course: Course, turn: int) -> str:
    """The id of the policy that is judged in a turn."""
    tried = course.done("hosting", turn - 1, "canary")
    if course.settings.gate != "off" and course.settings.design == "prospective" and tried is not None:
        return tried.body["policy"]
    made = course.done("training", turn, "next" if course.settings.gate == "off" else "first")
    if made is None:
        raise ConfigError(f"turn {turn} of {course.id} has no candidate", field="experiment")
    return made.body["policy"]


def trained(course: Course, step: Step) -> Change:
    """The candidate of a step, as an artifact, kept where a service finds it."""
    s, joined = course.settings, course.done("joining", step.turn)
    assert joined is not None  # the step before this one
    slice = f"train@{joined.body['train_share']:g}" if step.role == "first" else "all"
    to = course.folder / "runs" / f"{step.turn}-{step.role}"

    def inputs() -> dict[str, Any]:
        return {"on": joined.body["all"], "slice": slice, "start": _older(course)}

    def work(body: dict[str, Any]) -> dict[str, Any]:
        older = course.home.kept(body["start"]) if body["start"] else None
        on = course.folder / body["on"]["path"]
        made = train(s.learner.name, on=on, to=to, settings=s.learner.settings, slice=slice, seed=s.seed + step.turn,
                     explore=s.explore, start=older, home=course.home.folder)  # fmt: skip
        course.home.keep(to)
        return {"policy": made.id, "path": f"runs/{to.name}", "rows": made.counts["decisions"]}

    return course.work("training", step, inputs, work)


def _older(course: Course) -> str | None:
    """Whom the learner goes on from: who is live; or, if asked for, whoever was trained last."""
    s, live = course.settings, course.home.ledger.current(course.alias)
    made = [job.body["policy"] for job in course.jobs if job.workflow == "training" and job.done]
    id = (made[-1] if made else None) if s.train_from == "trained" else live.policy if live else None
    if id is None or id == LOGGED or not (course.home.kept(id) / MANIFEST).exists():
        return None
    return id if goes_on(s.learner.name, s.learner.settings, open_policy(course.home.kept(id))) else None


def judged(course: Course, step: Step) -> Change:
    """The verdict on the turn's candidate against who is live, and the estimates of both on the same events."""
    joined = course.done("joining", step.turn)
    assert joined is not None  # the step before this one
    policy = candidate(course, step.turn)
    held_out = course.done("training", step.turn, "first") is not None
    slice = f"eval@{joined.body['train_share']:g}" if held_out else "all"

    def inputs() -> dict[str, Any]:
        live = course.home.ledger.current(course.alias)
        return {"candidate": policy, "incumbent": live.policy if live else LOGGED, "slice": slice,
                "on": joined.body["dataset"]}  # fmt: skip

    return course.work("evaluation", step, inputs, lambda body: _judge(course, body))


def _judge(course: Course, body: dict[str, Any]) -> dict[str, Any]:
    s, home, run = course.settings, course.home.folder, course.home.kept(body["candidate"])
    on = course.folder / body["on"]["path"]
    look = _answered(course, body)
    if look is None:
        rules = s.gate_rules
        prove(run, on=on, how=Proof(alias=s.alias, settings=rules, slice=body["slice"], seed=s.seed), home=home)
        look = _answered(course, body)
    assert look is not None
    verdict = course.home.ledger.verdict(look)
    assert verdict is not None
    against = LOGGED if body["incumbent"] == LOGGED else s.alias
    how = Assessment(ESTIMATORS, against=against, slice=body["slice"], seed=s.seed)
    estimates, _ = assess([run], on=on, how=how, home=home)
    return {"outcome": verdict.outcome, "reason": verdict.reason, "look": look, "needed": verdict.needed,
            "estimates": estimates}  # fmt: skip


def _answered(course: Course, body: dict[str, Any]) -> int | None:
    """The look that has answered this very question, if there is one."""
    asked = (body["candidate"], body["incumbent"], f"{body['on']['id']}/{body['slice']}")
    for look in reversed(course.home.ledger.looks(course.alias)):
        if look.outcome is not None and (look.candidate, look.incumbent, look.dataset) == asked:
            return look.id
    return None


def first_policy(course: Course) -> tuple[str, str]:
    """Who acts before anything was learned here, and why he does."""
    return _historical(course) if course.settings.warm_start else (_uniform(course), "nobody has learned anything yet")


def _uniform(course: Course) -> str:
    """The policy that knows nothing, as an artifact: so that candidates can be compared with it by name."""
    made = Manifest(
        kind="policy", problem_hash=course.problem.hash, counts={"decisions": 0}, code_version=__version__,
        config={"learner": "uniform", "settings": {}},
    )  # fmt: skip
    files = encode_policy(Uniform(course.problem.actions.k), problem=course.problem)
    id = course.home.put(made, {**files, ROWS: save({"decisions": np.empty(0, np.uint64)})}).id
    course.home.record(course.home.kept(id))
    return id


def _historical(course: Course) -> tuple[str, str]:
    """A policy from historical data; it goes live if that proves it better than whoever made the data."""
    s, source, step = course.settings, Path(course.settings.warm_start), Step("start", 0, "first")

    def work(body: dict[str, Any]) -> dict[str, Any]:
        manifest, to = read_manifest(source), course.folder / "data/0"
        is_log = manifest.kind == "log"
        data = join(source, window=s.window, backward=s.backward, to=to) if is_log else None
        path = str(source.absolute()) if data is None else "data/0"
        made = {"path": path, "id": manifest.id if data is None else data.manifest.id}
        if data is not None:
            course.home.record(to)
        return {"dataset": made, "all": made, "segment": str(source.absolute()) if is_log else "", "upto": {},
                "as_of": None, "train_share": s.train_share, "decisions": manifest.counts.get("steps", 0)}  # fmt: skip

    course.work("joining", Step("join", 0), dict, work)
    policy = trained(course, step).body["policy"]
    if s.gate == "off":
        return policy, "gate off: trained on historical data"
    outcome = judged(course, Step("evaluate", 0)).body["outcome"]
    if outcome != "ship":
        return _uniform(course), f"the policy of the historical data is not proven: {outcome}"
    promote(course.home.kept(policy), alias=s.alias, home=course.home.folder)
    return policy, "proven on historical data"
