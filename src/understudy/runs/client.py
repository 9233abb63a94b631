"""A simulated application: it asks a real service for decisions and reports what came of them, late and in disorder."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from understudy.core.errors import ConfigError, ExecutorError
from understudy.core.problem import Problem
from understudy.core.protocols import Environment, View
from understudy.core.service import DecideReply, DecideRequest, RewardRequest, Service
from understudy.data.events import contexts
from understudy.data.times import MICRO

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in microseconds; simulated time, so that equal seeds are equal
INTERVAL = 10_000_000  # microseconds between decisions
WINDOW = 100  # decisions in the rolling curve
_LOOK = 0.001  # seconds between questions whether a learner is done
_TOGETHER = 256  # rewards in one request
SPREADS = ("fixed", "exponential", "lognormal")


@dataclass(frozen=True)
class Delivery:
    """How outcomes find their way back, in simulated time.

    Args:
        delay: seconds from a decision to its outcome, on average.
        spread: ``fixed``; ``exponential``; ``lognormal`` (σ = 1: a few come very late).
        duplicates: share of outcomes that are sent once more, after another such delay.
        orphans: outcomes of decisions that nobody made, per decision.
        lost: share of outcomes that are never sent.
    """

    delay: float = 0.0
    spread: str = "exponential"
    duplicates: float = 0.0
    orphans: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        if self.spread not in SPREADS:
            raise ConfigError(f"unknown spread {self.spread!r}", hint=f"One of: {', '.join(SPREADS)}", field="spread")
        if not 0 <= self.delay < 1e9:
            raise ConfigError(f"delay must be seconds, from 0 to 1e9; got {self.delay}", field="delay")
        for name in ("duplicates", "orphans", "lost"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share, from 0 to 1; got {getattr(self, name)}", field=name)

    def delays(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n delays in microseconds, i64[n]."""
        if self.spread == "fixed":
            drawn = np.full(n, self.delay)
        elif self.spread == "exponential":
            drawn = rng.exponential(1.0, n) * self.delay
        else:
            drawn = np.exp(rng.standard_normal(n) - 0.5) * self.delay
        return np.rint(drawn * MICRO).astype(np.int64)


class Parcel(NamedTuple):
    """A reward on its way; ordered by when it is due."""

    due: int  # microseconds since 1970 UTC
    order: int  # of sending off: settles which of those due at the same moment comes first
    request: RewardRequest
    completes: bool  # whether its decision's reward is known once this has arrived


@dataclass(frozen=True)
class Driven:
    """What a stretch of simulated traffic earned, beside what could have been earned on the same contexts.

    ``oracle`` and ``constant`` are expected rewards (of the best action; of every single action), NaN where the world
    does not tell them.
    """

    names: tuple[str, ...]  # of the actions
    action: np.ndarray  # i32[n]
    propensity: np.ndarray  # f64[n]
    reward: np.ndarray  # f64[n] what the world paid, whether or not the service was told
    oracle: np.ndarray  # f64[n]
    constant: np.ndarray  # f64[n, k] of every action, whatever the context
    policy: tuple[str, ...]  # who chose, per decision
    sent: dict[str, int] = field(default_factory=dict)  # outcomes, duplicates, orphans; lost are those not sent
    waiting: tuple[Parcel, ...] = ()  # rewards that were not yet due at the end

    @property
    def n(self) -> int:
        return len(self.reward)

    @property
    def best_constant(self) -> tuple[str, float]:
        """The single action that would have earned most on these contexts, and how much."""
        means = self.constant.mean(0)
        best = int(np.argmax(means))
        return self.names[best], float(means[best])

    def rolling(self, window: int = WINDOW) -> np.ndarray:
        """Mean reward of the last ``window`` decisions at every decision; of all there are at the start. f64[n]."""
        total = np.concatenate([[0.0], np.cumsum(self.reward)])
        end = np.arange(1, self.n + 1)
        start = np.maximum(end - window, 0)
        return (total[end] - total[start]) / (end - start)

    def lines(self) -> list[str]:
        """For a person."""
        name, constant = self.best_constant
        sent = ", ".join(f"{count} {what}" for what, count in self.sent.items())
        told = [f"{self.n} decisions, mean reward {self.reward.mean():.4f}", f"sent: {sent}"]
        if not np.isnan(self.oracle).any():
            told.insert(1, f"always the best action {self.oracle.mean():.4f}; always {name!r} {constant:.4f}")
        return told

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        name, constant = self.best_constant
        known = not np.isnan(self.oracle).any()
        return {
            "decisions": self.n,
            "mean_reward": float(self.reward.mean()),
            "oracle": float(self.oracle.mean()) if known else None,
            "best_constant": {"action": name, "mean_reward": constant} if known else None,
            "rolling": {"window": WINDOW, "reward": self.rolling()[WINDOW - 1 :: WINDOW].tolist()},
            "sent": self.sent,
            "policies": list(dict.fromkeys(self.policy)),
        }


def joined(parts: Sequence[Driven]) -> Driven:
    """Consecutive stretches as one."""
    sent = {what: sum(part.sent[what] for part in parts) for what in parts[0].sent}
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("action", "propensity", "reward", "oracle", "constant")
    }
    policy = tuple(id for part in parts for id in part.policy)
    return Driven(names=parts[0].names, policy=policy, sent=sent, waiting=parts[-1].waiting, **columns)


def drive(
    env: Environment,
    service: Service,
    n: int,
    *,
    seed: int,
    first: int = 0,
    prefix: str = "d",
    start_time: int = START,
    interval: int = INTERVAL,
    delivery: Delivery = Delivery(),
    batch: int = 1,
    client_times: bool = True,
    waiting: Iterable[Parcel] = (),
    flush: bool = True,
    after: Callable[[int, int], None] | None = None,
) -> Driven:
    """Ask ``service`` for n decisions in ``env``, a bandit, and report their rewards when they are due.

    Equal arguments ask for equal decisions under equal ids, ``<prefix>-<i>``: whoever was interrupted may begin again.
    The service draws the actions, so over HTTP and in this process they are the same.

    Args:
        first: number of the first decision; together with ``waiting`` a run goes on where another one ended.
        start_time, interval: microseconds; decision i is made at ``start_time + i · interval``.
        batch: decisions per request; a world is asked for as many contexts at once.
        client_times: stamp requests with simulated time, which the service must be running with; otherwise only the
            order of events is simulated.
        flush: send what is not yet due at the end, with the time at which it will be; otherwise it is returned.
        after: is told after every request how many decisions were made, and of how many the reward has been reported;
            may wait, as ``patience`` does.
    """
    if not env.problem.bandit:
        raise ConfigError("drive asks for decisions of bandits; this problem's horizon is not 1", field="horizon")
    if n < 1 or batch < 1:
        raise ConfigError(f"at least one decision and one per request are needed; got {n} and {batch}", field="n")
    world, chance = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, first]).spawn(2))
    post = _Post(env.problem, delivery, chance, prefix, client_times, list(waiting))
    seen, asked, view = _Seen(env), 0, env.reset(world, min(batch, n))
    if first and hasattr(env, "skip"):
        env.skip(first)  # pyright: ignore[reportAttributeAccessIssue]
    while asked < n:
        numbers = np.arange(first + asked, first + min(asked + len(view.context), n))
        times = start_time + interval * numbers
        replies = _ask(service, _requests(env.problem, view, prefix, numbers, times if client_times else None))
        view, outcomes = seen.step(view, replies)
        asked += len(replies)
        post.accept(numbers, times, outcomes)
        post.deliver(service, int(times[-1]) + interval)
        if after is not None:
            after(asked, post.told)
    if flush:
        post.deliver(service, None)
    return seen.driven(post)


def patience(service: Service, seconds: float = 30.0) -> Callable[[int, int], None]:
    """An ``after`` that waits, whenever rewards were reported, until a learner has made another policy live.

    Raises: ExecutorError if none has within ``seconds``.
    """
    last, known, usual = _version(service), 0, 0.0

    def wait(asked: int, told: int) -> None:
        nonlocal last, known, usual
        if told == known:
            return
        start = time.monotonic()
        time.sleep(usual)  # asking while the learner works would only slow it down
        while (version := _version(service)) <= last:
            waited = time.monotonic() - start
            if waited > seconds:
                raise ExecutorError(
                    f"nobody has learned from {told - known} rewards within {seconds:g} s",
                    hint="Does one follow this log? understudy learn LEARNER, with the same home and alias.",
                )
            time.sleep(max(_LOOK, waited / 8))
        last, known = version, told
        usual = min(0.9 * usual + 0.1 * 0.6 * (time.monotonic() - start), 0.1)

    return wait


def _version(service: Service) -> int:
    return service.status()["version"][0]


def _ask(service: Service, requests: list[DecideRequest]) -> Sequence[DecideReply]:
    return [service.decide(requests[0])] if len(requests) == 1 else service.decide_batch(requests)


def _requests(
    problem: Problem, view: View, prefix: str, numbers: np.ndarray, times: np.ndarray | None
) -> list[DecideRequest]:
    names = problem.actions.names
    allowed: list[tuple[str, ...] | None] = [None] * len(numbers)
    if view.allowed is not None:
        allowed = [tuple(name for name, may in zip(names, row) if may) for row in view.allowed.tolist()]
    stamps = [None] * len(numbers) if times is None else (times / MICRO).tolist()
    return [
        DecideRequest(context=context, allowed=may, decision_id=f"{prefix}-{i}", time=stamp)
        for context, may, i, stamp in zip(contexts(problem, view.context), allowed, numbers.tolist(), stamps)
    ]


class _Seen:
    """What was asked, answered and paid so far."""

    def __init__(self, env: Environment) -> None:
        self.env, self.index = env, {name: a for a, name in enumerate(env.problem.actions.names)}
        self.replies: list[DecideReply] = []
        self.columns: list[tuple[np.ndarray, ...]] = []  # action, reward, oracle, constant

    def step(self, view: View, replies: Sequence[DecideReply]) -> tuple[View, np.ndarray]:
        """Carry the actions out. Returns what is on show next, and the outcomes f64[w, o]."""
        w, action = len(replies), np.zeros(len(view.context), np.int32)  # a world steps all its w episodes at once
        action[:w] = [self.index[reply.action] for reply in replies]
        oracle, constant = _known(self.env, view)
        following, feedback = self.env.step(action)
        self.replies += replies
        self.columns.append((action[:w], feedback.reward[:w], oracle[:w], constant[:w]))
        return following, feedback.outcomes[:w]

    def driven(self, post: _Post) -> Driven:
        """All of it, as columns."""
        action, reward, oracle, constant = (np.concatenate(column) for column in zip(*self.columns))
        propensity = np.array([reply.propensity for reply in self.replies])
        policy = tuple(reply.policy_id for reply in self.replies)
        names, waiting = self.env.problem.actions.names, tuple(sorted(post.parcels))
        return Driven(names, action, propensity, reward, oracle, constant, policy, post.sent, waiting)


def _known(env: Environment, view: View) -> tuple[np.ndarray, np.ndarray]:
    """What the best action f64[w] and every single one f64[w, k] are worth on show; NaN where nobody knows.

    Where an action is not allowed, whoever insists on it takes any allowed one alike, as the policy Fixed does.
    """
    expected = getattr(env, "expected", None)
    if expected is None:
        unknown = np.full((len(view.context), env.problem.actions.k), np.nan)
        return unknown[:, 0], unknown
    means = expected()
    ok = np.ones(means.shape, bool) if view.allowed is None else view.allowed
    instead = (means * ok).sum(1) / ok.sum(1)
    return np.where(ok, means, -np.inf).max(1), np.where(ok, means, instead[:, None])


class _Post:
    """Rewards on their way, the one due first on top."""

    def __init__(
        self,
        problem: Problem,
        delivery: Delivery,
        chance: np.random.Generator,
        prefix: str,
        client_times: bool,
        parcels: list[Parcel],
    ) -> None:
        self.names, self.delivery, self.chance, self.prefix = problem.outcome_names, delivery, chance, prefix
        self.client_times, self.parcels, self.told = client_times, parcels, 0
        self.sent = {"outcomes": 0, "duplicates": 0, "orphans": 0, "lost": 0}
        self.order = 1 + max((parcel.order for parcel in parcels), default=-1)
        heapq.heapify(self.parcels)

    def accept(self, numbers: np.ndarray, times: np.ndarray, outcomes: np.ndarray) -> None:
        """Take in the outcomes f64[w, o] of decisions; what is lost, sent twice or nobody's is drawn here."""
        w, how = len(numbers), self.delivery
        due = [times + how.delays(w, self.chance) for _ in range(3)]  # of the outcome, its duplicate, an orphan
        lost, again, orphan = self.chance.random((3, w)) < np.array([[how.lost], [how.duplicates], [how.orphans]])
        for j, number in enumerate(numbers.tolist()):
            id, values = f"{self.prefix}-{number}", outcomes[j]
            self._send("lost" if lost[j] else "outcomes", int(due[0][j]), id, values)
            if again[j] and not lost[j]:
                self._send("duplicates", int(max(due[0][j], due[1][j])), id, values)
            if orphan[j]:
                self._send("orphans", int(due[2][j]), f"{self.prefix}-nobody-{number}", values)

    def _send(self, what: str, due: int, id: str, values: np.ndarray) -> None:
        measured = [(name, value) for name, value in zip(self.names, values.tolist()) if value == value]  # not NaN
        for left, (name, value) in enumerate(measured, start=1 - len(measured)):
            self.sent[what] += 1
            if what != "lost":
                stamp = due / MICRO if self.client_times else None
                request = RewardRequest(decision_id=id, value=value, name=name, time=stamp)
                completes = what == "outcomes" and left == 0 and len(measured) == len(self.names)
                heapq.heappush(self.parcels, Parcel(due, self.order, request, completes))
                self.order += 1

    def deliver(self, service: Service, until: int | None) -> None:
        """Hand over what is due before ``until`` (None: all), the earliest first."""
        ready: list[RewardRequest] = []
        while self.parcels and (until is None or self.parcels[0].due < until):
            parcel = heapq.heappop(self.parcels)
            ready.append(parcel.request)
            self.told += parcel.completes
        if len(ready) == 1:
            service.reward(ready[0])
        elif ready:
            for start in range(0, len(ready), _TOGETHER):
                service.reward_batch(ready[start : start + _TOGETHER])
