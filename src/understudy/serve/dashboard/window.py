"""The last decisions of an event log, kept in columns of fixed length: what each poll adds costs what was new."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import msgspec
import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.hashing import text_hash
from understudy.core.problem import Problem
from understudy.data.times import MICRO, instant
from understudy.serve.dashboard.rewards import Arrival, Rewards

MOST_CELLS = 2_000_000  # decisions × actions that the window may hold: 16 MB of probabilities
MOST_EARLY = 1_000  # decisions whose outcomes may be read before they are


class _Decision(msgspec.Struct):
    """What a figure needs of a Logged; contexts are skipped unread."""

    decision_id: str
    time: float | str
    action: str
    propensity: float | None = None
    propensities: list[float] | None = None
    unit_id: str | None = None
    policy_id: str | None = None
    mode: str = "live"
    fallback: str | None = None
    deferred: bool = False


class _Outcome(msgspec.Struct):
    decision_id: str
    time: float | str
    value: float
    name: str = "reward"
    outcome_id: str | None = None


class _Activation(msgspec.Struct):
    decision_id: str


class _Timed(msgspec.Struct):
    time: float | str | None = None


_READ = {kind: msgspec.json.Decoder(made) for kind, made in
         (("decision", _Decision), ("outcome", _Outcome), ("activation", _Activation))}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """The window's decisions that count, oldest first. NaN: no reward yet, no propensity logged."""

    time: np.ndarray  # i64[n] microseconds since 1970 UTC
    action: np.ndarray  # i32[n]
    propensity: np.ndarray  # f64[n]
    probs: np.ndarray  # f64[n, k] of every action
    reward: np.ndarray  # f64[n]
    unit: np.ndarray  # u64[n] hash of the independent unit
    policy: tuple[str, ...]  # n ids: who acted
    fallback: np.ndarray  # bool[n] the baseline acted because the policy failed

    @property
    def n(self) -> int:
        return len(self.time)


class Window:
    """A ring of the newest decisions with what has arrived for them since.

    Args:
        limit: decisions kept; fewer where there are so many actions that the window would not fit in memory.
        closes: seconds after which an outcome that has not come counts as its declared default; None = never.
    """

    def __init__(self, problem: Problem, *, limit: int = 10_000, closes: float | None = None) -> None:
        k = problem.actions.k
        if not k:
            raise ConfigError("the dashboard shows discrete actions only", field="actions")
        self.problem, self.rewards = problem, Rewards(problem)
        self.limit = max(100, min(limit, MOST_CELLS // k))
        self.closes = None if closes is None else round(closes * MICRO)
        self.strays = 0  # outcomes and activations of decisions that the window does not hold (any more)
        self.reasons: Counter[str] = Counter()  # of the window's fallbacks
        self._index = {name: i for i, name in enumerate(problem.actions.names)}
        self._slot: dict[str, int] = {}  # decision id → its place in the ring
        self._ids: list[str] = [""] * self.limit
        self._arrived: list[dict[str, list[Arrival]]] = [{} for _ in range(self.limit)]
        self._once: list[set[object]] = [set() for _ in range(self.limit)]
        self._why: list[str | None] = [None] * self.limit
        self._early: dict[str, list[_Outcome | _Activation]] = {}  # read before their decision: another worker's file
        self._who: list[str] = [""] * self.limit
        self._next = 0
        self._time = np.zeros(self.limit, np.int64)
        self._action = np.full(self.limit, -1, np.int32)
        self._p = np.full(self.limit, np.nan)
        self._probs = np.full((self.limit, k), np.nan)
        self._reward = np.full(self.limit, np.nan)
        self._unit = np.zeros(self.limit, np.uint64)
        self._settled = np.zeros(self.limit, bool)  # the window has closed, defaults stand
        self._counts = np.zeros(self.limit, bool)

    def add(self, kind: str, raw: bytes) -> None:
        """Take in one event of the log, as the service wrote it."""
        body = _READ[kind].decode(raw)
        if isinstance(body, _Decision):
            self._decide(body)
            for early in self._early.pop(body.decision_id, ()):
                self.strays -= 1
                self._follow(early)
        else:
            self._follow(body)

    @staticmethod
    def moment(raw: bytes) -> int | None:
        """When an event says that it happened; None if it does not say."""
        time = msgspec.json.decode(raw, type=_Timed).time
        return None if time is None else instant(time)

    def columns(self, now: int) -> Columns:
        """Copies of the decisions that count, in order of time; at ``now`` closed windows get their defaults."""
        self._close(now)
        rows = np.flatnonzero(self._counts)
        rows = rows[np.argsort(self._time[rows], kind="stable")]
        fallback = np.fromiter((self._why[i] is not None for i in rows), bool, len(rows))
        return Columns(
            self._time[rows], self._action[rows], self._p[rows], self._probs[rows], self._reward[rows],
            self._unit[rows], tuple(self._who[i] for i in rows), fallback,
        )  # fmt: skip

    @property
    def deferred(self) -> int:
        """Decisions in the window that have not been activated (yet)."""
        return len(self._slot) - int(self._counts.sum())

    def _decide(self, d: _Decision) -> None:
        if d.decision_id in self._slot or d.action not in self._index:
            return
        i = self._next
        self._next = (i + 1) % self.limit
        self._forget(i)
        self._slot[d.decision_id], self._ids[i] = i, d.decision_id
        self._arrived[i], self._once[i], self._why[i] = {}, set(), d.fallback
        if d.fallback is not None:
            self.reasons[d.fallback] += 1
        unit = d.unit_id if self.problem.unit == "unit" and d.unit_id is not None else d.decision_id
        self._time[i], self._action[i] = instant(d.time), self._index[d.action]
        self._p[i] = math.nan if d.propensity is None else d.propensity
        self._probs[i] = math.nan if d.propensities is None else d.propensities
        self._reward[i], self._unit[i], self._who[i] = math.nan, text_hash(unit), d.policy_id or ""
        self._counts[i], self._settled[i] = not d.deferred, False

    def _forget(self, i: int) -> None:
        old, why = self._ids[i], self._why[i]
        self._slot.pop(old, None)
        if why is not None:
            self.reasons[why] -= 1

    def _follow(self, body: _Outcome | _Activation) -> None:
        """What comes after a decision: an outcome, or the word that it was carried out."""
        slot = self._slot.get(body.decision_id)
        if slot is None:
            self.strays += 1
            self._early.setdefault(body.decision_id, []).append(body)
            if len(self._early) > MOST_EARLY:
                del self._early[next(iter(self._early))]
        elif isinstance(body, _Activation):
            self._counts[slot] = True
        else:
            self._outcome(slot, body)

    def _outcome(self, slot: int, o: _Outcome) -> None:
        key = o.outcome_id if o.outcome_id is not None else (o.name, o.value)
        moment = instant(o.time)
        late = self.closes is not None and moment >= self._time[slot] + self.closes
        if key in self._once[slot] or late:
            return
        self._once[slot].add(key)
        self._arrived[slot].setdefault(o.name, []).append((moment, o.value))
        self._reward[slot] = self.rewards.of(self._arrived[slot], closed=bool(self._settled[slot]))

    def _close(self, now: int) -> None:
        if self.closes is None:
            return
        for i in np.flatnonzero(self._counts & ~self._settled & (self._time + self.closes <= now)):
            self._settled[i] = True
            self._reward[i] = self.rewards.of(self._arrived[i], closed=True)
