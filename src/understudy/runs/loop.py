"""The whole cycle, unattended: serve, log, join, judge, promote, train. Killed anywhere, it goes on from there."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from understudy.core.errors import ConfigError, StoreError
from understudy.core.protocols import Environment
from understudy.core.service import Service
from understudy.data.eventlog import open_event_log
from understudy.data.home import now
from understudy.data.times import MICRO, duration, iso
from understudy.report.loop_model import LoopRow
from understudy.runs import experiment as steps
from understudy.runs.client import INTERVAL, START, Delivery, Driven, drive
from understudy.runs.course import Course, Step
from understudy.runs.loop_settings import LoopSettings, environment
from understudy.runs.standing import rows

GRACE = 2 * MICRO  # how long an event may take from its time stamp into the log of a live service
POLL = 0.2  # seconds between looks at a log that has nothing new


class Client(Protocol):
    """Whoever asks the service for decisions and reports what came of them."""

    def play(self, service: Service, *, first: int, n: int) -> str | None:
        """Ask for decisions number first … first + n − 1 and report their rewards.

        Asked again for the same ones it asks the same, so that a turn that was cut short can be played again.
        Returns the moment up to which every outcome has been reported; None is the clock's, a window later.
        """
        ...


@dataclass
class Simulation:
    """A Client in a simulated world and simulated time; what it saw is kept in ``driven``, a stretch per call.

    Without delays every outcome is reported at once and counts at once. With delays the turn ends at the moment of its
    last decision: whose window is still open then belongs to the next turn.
    """

    env: Environment
    seed: int
    prefix: str
    window: str = "10m"
    delivery: Delivery = field(default_factory=Delivery)
    batch: int = 1
    client_times: bool = True
    driven: list[Driven] = field(default_factory=list)

    def play(self, service: Service, *, first: int, n: int) -> str | None:
        self.driven.append(drive(
            self.env, service, n, seed=self.seed, first=first, prefix=self.prefix, delivery=self.delivery,
            batch=self.batch, client_times=self.client_times,
        ))  # fmt: skip
        if not self.client_times:
            return None
        last = START + INTERVAL * (first + n - 1)
        return iso(last + (INTERVAL if self.delivery.delay else duration(self.window)))


@dataclass(frozen=True)
class LoopResult:
    """What a loop came to: every turn from the ledger; what the client saw, if it was this process that played."""

    experiment: str
    alias: str
    live: str
    rows: tuple[LoopRow, ...]
    driven: tuple[Driven, ...] = ()

    @property
    def decisions(self) -> int:
        return sum(row.decisions for row in self.rows)

    @property
    def mean_reward(self) -> float:
        """Over all decisions that were joined."""
        return sum(row.mean_reward * row.decisions for row in self.rows) / max(self.decisions, 1)

    @property
    def promoted(self) -> int:
        return sum(row.promoted for row in self.rows)

    def lines(self) -> list[str]:
        """For a person."""
        return [
            f"{len(self.rows)} turns, {self.decisions} decisions, mean reward {self.mean_reward:.4f}",
            f"{self.promoted} promotions; live under {self.alias} is {self.live}",
        ]


def run_loop(
    settings: LoopSettings,
    *,
    home: str | Path,
    service: Service,
    client: Client | None = None,
    after: Callable[[Course, Step], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> LoopResult:
    """Start an experiment, or go on with it wherever it was left, until its last turn is done.

    Args:
        service: who decides; it must serve the settings' alias from the same home.
        client: who asks; None is the settings' simulated one, or live traffic where they name none.
        after: is told after every step.
        tell: is told, in words, what live traffic is waited for.
    Raises: whatever a step raises; the reason is in the journal, and the same call goes on from there.
    """
    course = steps.start(settings, home=home, service=service)
    client = client or simulation(settings)
    while (step := course.next) is not None:
        _do(course, step, service, client, tell or _quiet)
        if course.next == step:
            raise StoreError(
                f"{step.verb} of turn {step.turn} was done and is still next", "The journal contradicts itself."
            )
        if after is not None:
            after(course, step)
    live = course.home.ledger.current(course.alias)
    driven = tuple(client.driven) if isinstance(client, Simulation) else ()
    return LoopResult(course.id, course.alias, live.policy if live else "", rows(course), driven)


def simulation(settings: LoopSettings) -> Simulation | None:
    """The simulated client of some settings; None where they want live traffic."""
    spec, world = settings.client, environment(settings)
    if spec is None or world is None:
        return None
    seed = settings.seed if spec.seed is None else spec.seed
    delivery = Delivery(**spec.delivery)
    return Simulation(world, seed, settings.id, settings.window, delivery, spec.batch, spec.client_times)


def _quiet(_: str) -> None:
    return


def _do(course: Course, step: Step, service: Service, client: Client | None, tell: Callable[[str], None]) -> None:
    if step.verb == "join":
        steps.join(course.home, course.id, as_of=_served(course, step, service, client, tell), service=service)
    elif step.verb == "train":
        steps.train(course.home, course.id, service=service)
    elif step.verb == "evaluate":
        steps.evaluate(course.home, course.id)
    elif step.verb == "promote":
        steps.promote(course.home, course.id, service=service)
    else:
        raise ConfigError(f"a loop knows no step {step.verb!r}")


def _served(
    course: Course, step: Step, service: Service, client: Client | None, tell: Callable[[str], None]
) -> str | None:
    """A turn's decisions are made, the guardrail read between stretches of them; returns up to when all is reported.

    A turn whose join a killed process had begun is not played again: its events are what they are.
    """
    if any(job.workflow == "joining" and job.in_flight for job in course.jobs):
        return None
    if client is None:
        return _traffic(course, step, tell)
    size, rail, as_of = course.settings.size, course.settings.guardrail, None
    first, end = (step.turn - 1) * size, step.turn * size
    while first < end:
        n = min(end - first, rail.every if rail.on and rail.every else size)
        as_of = client.play(service, first=first, n=n) or _ripe(course)
        first += n
        if first < end:
            steps.watch(course, step.turn, as_of, service)
    return as_of


def _ripe(course: Course) -> str:
    """By the clock: wait until the windows of what was decided up to now have closed."""
    until = now() + duration(course.settings.window) + GRACE
    while now() < until:
        clock.sleep(min(POLL, (until - now()) / MICRO + 0.001))
    return iso(now() - GRACE)


def _traffic(course: Course, step: Step, tell: Callable[[str], None]) -> str:
    """Wait until others have asked for a turn's decisions and their windows have closed."""
    before = course.done("joining", step.turn - 1)
    mark, seen, size = dict(before.body["upto"]) if before else {}, 0, course.settings.size
    tell(f"turn {step.turn}: waiting for {size} decisions of others in {course.log}")
    log = open_event_log(course.log, None)
    try:
        while seen < size:
            entries, mark = log.read(mark)
            seen += sum(entry.kind == "decision" for entry in entries)
            if not entries:
                clock.sleep(POLL)
    finally:
        log.close()
    tell(f"turn {step.turn}: {seen} decisions have come; waiting {course.settings.window} for their rewards")
    return _ripe(course)


def report(result: LoopResult) -> dict[str, Any]:
    """For a machine."""
    return {"experiment": result.experiment, "alias": result.alias, "live": result.live,
            "decisions": result.decisions, "mean_reward": result.mean_reward, "promotions": result.promoted,
            "turns": result.rows}  # fmt: skip
