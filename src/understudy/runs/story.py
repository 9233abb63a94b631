"""What loops earned, told for a report: rolling rewards with bands, every turn, and what nobody could have beaten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from understudy import __version__
from understudy.core.errors import ConfigError, StoreError
from understudy.core.service import ActivateRequest, DecideReply, DecideRequest, RewardRequest
from understudy.data.artifact import MANIFEST, read_manifest
from understudy.data.dataset import open_dataset
from understudy.data.home import Home, now
from understudy.ops.intervals import clopper_pearson, jackknife_interval
from understudy.report.loop import write_loop_report
from understudy.report.loop_model import Arm, Change, Curve, LoopRow, LoopStory, Role
from understudy.report.words import level
from understudy.runs.client import WINDOW, Driven, joined
from understudy.runs.course import Course, open_course
from understudy.runs.loop import simulation
from understudy.runs.standing import rows as turns

POINTS = 200  # of a curve
LEVEL = 0.95
SPREAD = (0.1, 0.9)  # of seeds, between which a band lies
LAST = 1_000  # decisions that "at the end" means


def curve(name: str, role: Role, rewards: Sequence[np.ndarray], *, window: int = WINDOW) -> Curve:
    """Rolling mean over ``window`` decisions, of one seed or averaged over several.

    The band of one seed is its pointwise 95 % interval (exact binomial for 0/1 rewards, jackknife otherwise), that of
    several the range from the 10th to the 90th percentile of the seeds.

    Args:
        rewards: f64[n] of each seed, in the order of decisions; longer ones are cut to the shortest.
    """
    n = min((len(one) for one in rewards), default=0)
    size = min(window, n)
    if not size:
        return Curve(name, role, (), ())
    ends = np.unique(np.linspace(size, n, POINTS).astype(int))  # i64[p]
    table = np.stack([one[:n] for one in rewards])  # f64[seeds, n]
    total = np.concatenate([np.zeros((len(table), 1)), table.cumsum(1)], axis=1)
    means = (total[:, ends] - total[:, ends - size]) / size  # f64[seeds, p]
    low, high = _interval(table[0], ends, size) if len(table) == 1 else np.quantile(means, SPREAD, axis=0)
    band = (low, high) if role == "arm" else ((), ())
    return Curve(name, role, tuple(ends.tolist()), tuple(means.mean(0).tolist()), *(tuple(map(float, b)) for b in band),
                 overall=float(table.mean()))  # fmt: skip


def _interval(reward: np.ndarray, ends: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    if np.isin(reward, (0.0, 1.0)).all():
        total = np.concatenate([[0.0], reward.cumsum()])
        return clopper_pearson(np.rint(total[ends] - total[ends - size]), size, LEVEL)
    rolled = np.stack([reward[end - size : end] for end in ends])  # f64[p, size]
    whole = rolled.sum(1)
    bounds = jackknife_interval(whole / size, (whole[:, None] - rolled) / (size - 1), np.ones_like(rolled), LEVEL)
    return np.asarray(bounds.low), np.asarray(bounds.high)


def arm(
    name: str,
    rewards: Sequence[np.ndarray],
    *,
    window: int = WINDOW,
    rows: tuple[LoopRow, ...] = (),
    changes: tuple[Change, ...] = (),
    description: str = "",
) -> Arm:
    """One way of running the loop, from the rewards of each of its seeds; ``rows`` and ``changes`` are the first's."""
    n = min((len(one) for one in rewards), default=0)
    if not n:
        raise ConfigError(f"{name} made no decision that has a reward", "There is nothing to draw.", field=name)
    table = np.stack([one[:n] for one in rewards])
    last = min(LAST, n)
    return Arm(
        name, curve(name, "arm", rewards, window=window), n, float(table.mean()), float(table[:, -last:].mean()), last,
        len(table), description, rows, changes,
    )  # fmt: skip


def story(home: str | Path | Home, experiments: Sequence[str], *, window: int = WINDOW) -> LoopStory:
    """The story of experiments, an arm each, from the ledger and the datasets that their turns joined.

    Raises: StoreError if one was never started, or cleaned; ConfigError if nothing has been joined yet, or two of them
        do not serve the same problem.
    """
    courses = [open_course(home, id) for id in experiments]
    if not courses:
        raise ConfigError("a story needs an experiment", hint="--experiment ID", field="experiment")
    if len({course.record.problem_hash for course in courses}) > 1:
        raise ConfigError("these experiments serve different problems", "Their rewards cannot be compared.",
                          field="experiment")  # fmt: skip
    arms = tuple(
        arm(course.id, [earned(course)], window=window, rows=turns(course), changes=_changes(course),
            description=_said(course))
        for course in courses
    )  # fmt: skip
    first = courses[0]
    commands = tuple(f"understudy loop {course.folder / 'loop.json'} --home {course.home.folder}" for course in courses)
    return LoopStory(
        title=f"The loop on {first.alias}", problem=first.problem, arms=arms, generated=now(), window=window,
        marks=world_marks(first, arms[0].decisions, window=window),
        names={id: name for course in courses for id, name in _names(course).items()},
        subtitle=f"{len(turns(first))} turns of {first.settings.size:,} decisions", commands=commands,
        band="95 % intervals at each point", code_version=__version__, seed=first.settings.seed,
    )  # fmt: skip


def write_story(home: str | Path | Home, experiments: Sequence[str], *, to: str | Path) -> Path:
    """Write the report of experiments into ``to``; returns the page. Raises: StoreError if an artifact lies there."""
    if (Path(to) / MANIFEST).exists():
        raise StoreError(f"{to} holds a {read_manifest(to).kind}", "A report beside it would mix with its files.",
                         "Give another folder.", field="to")  # fmt: skip
    return write_loop_report(story(home, experiments), Path(to))


def earned(course: Course) -> np.ndarray:
    """Rewards of every decision that an experiment's turns joined, in order of time. f64[n]."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for job in course.jobs:
        if job.workflow != "joining" or not job.done or not job.body["turn"]:
            continue
        folder = course.folder / job.body["dataset"]["path"]
        if not (folder / MANIFEST).exists():
            raise StoreError(
                f"the datasets of experiment {course.id!r} are gone: {folder}",
                "What its decisions earned can no longer be read.",
                "A report is written before an experiment is cleaned.",
                field="experiment",
            )
        found += [(steps.time, steps.reward) for steps in open_dataset(folder).scan()]
    if not found:
        raise ConfigError(f"experiment {course.id!r} has joined nothing yet", hint=f"understudy status --experiment "
                          f"{course.id}", field="experiment")  # fmt: skip
    time, reward = (np.concatenate(column) for column in zip(*found))
    return reward[np.argsort(time, kind="stable")]


def world_marks(course: Course, n: int, *, window: int = WINDOW) -> tuple[Curve, ...]:
    """What the best action of each context and the best single action would have earned, where a simulation knows."""
    size, rail = course.settings.size, course.settings.guardrail
    client = simulation(course.settings)
    if client is None:
        return ()
    for first, stretch in stretches(n, size, rail.every if rail.on and rail.every else size):
        client.play(_Anybody(course.problem.actions.names), first=first, n=stretch)
    seen = joined(client.driven)
    if np.isnan(seen.oracle).any():
        return ()
    return marks([seen], window=window)


def marks(seen: Sequence[Driven], *, window: int = WINDOW) -> tuple[Curve, ...]:
    """Curves of the oracle and of the best constant, of what clients saw."""
    best = [one.constant[:, int(one.constant.mean(0).argmax())] for one in seen]
    named = {one.best_constant[0] for one in seen}
    which = f"always {named.pop()}" if len(named) == 1 else "best constant"
    constant = curve(which, "constant", best, window=len(best[0]))  # a line: its mean over everything
    return curve("oracle", "oracle", [one.oracle for one in seen], window=window), constant


def stretches(n: int, size: int, every: int) -> list[tuple[int, int]]:
    """(first, n) of the stretches in which a loop plays its n decisions: turns, cut where the guardrail is read."""
    found = []
    for turn in range(0, n, size):
        found += [(first, min(every, min(turn + size, n) - first)) for first in range(turn, min(turn + size, n), every)]
    return found


class _Anybody:
    """A service that answers at once: the contexts of a bandit do not depend on what is done."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def decide(self, request: DecideRequest) -> DecideReply:
        action = (request.allowed or self._names)[0]
        sure = tuple(float(name == action) for name in self._names)
        return DecideReply(decision_id=request.decision_id or "", action=action, propensity=1.0, propensities=sure,
                           policy_id="anybody")  # fmt: skip

    def decide_batch(self, requests: Sequence[DecideRequest]) -> list[DecideReply]:
        return [self.decide(request) for request in requests]

    def reward(self, request: RewardRequest) -> None:
        return

    def reward_batch(self, requests: Sequence[RewardRequest]) -> None:
        return

    def activate(self, request: ActivateRequest) -> None:
        return

    def status(self) -> dict[str, object]:
        return {}


def _said(course: Course) -> str:
    s = course.settings
    return f"{s.learner.name}, gate {'off' if s.gate == 'off' else 'on'}, explores {level(s.explore)}"


def _changes(course: Course) -> tuple[Change, ...]:
    """Changes of who is live under the alias since the experiment was started."""
    since = course.record.time
    history = course.home.ledger.history(course.alias)
    return tuple(Change(p.time, p.kind, p.policy, p.reason) for p in history if p.time >= since)


def _names(course: Course) -> dict[str, str]:
    """Policy id → its learner and the turn it was trained in; also of how much of it, where that was a part."""
    s, found = course.settings, {}
    for job in course.jobs:
        if job.workflow == "training" and job.done:
            part = f", from {level(s.train_share)}" if job.body["role"] == "first" else ""
            found[job.body["policy"]] = f"{s.learner.name} {job.body['turn']}{part}"
    first = course.done("hosting", 0, "first")
    return found if first is None else {first.body["policy"]: "the first policy"} | found
