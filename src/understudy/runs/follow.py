"""The process that learns per event: it follows the event log of a service and makes what it learned live at once.

The gate is off here: every policy goes live by an override, with its reason in the ledger. The service holds no
training code; it reads policies from the home, as always.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import ConfigError, StoreError
from understudy.core.hashing import canonical
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.core.protocols import OnlineLearner
from understudy.data.eventlog import EventLog, Watermark
from understudy.data.eventlog.records import ALL, within
from understudy.data.home import Home, now
from understudy.models.policy_file import encode_policy
from understudy.models.state_file import read_state, write_state
from understudy.runs.pairing import Pair, Pairing
from understudy.runs.settings import learner as named

AT_ONCE = 1_000  # events in one read
SOON, SELDOM = 0.001, 0.05  # seconds between looks at the log while events come, and once none has come for a while
AWAKE = 1.0  # seconds
SAVED = "learned.state"


@dataclass(frozen=True)
class Lesson:
    """What is learned, and how often it goes live.

    Args:
        learner: name of a registered learner that learns online, with its ``settings``.
        every: decisions between two policies, at least; 1 is one per event. A backlog is learned through first.
        checkpoint: decisions between two saved states; after a crash the rest is learned again, to the same state.
    """

    learner: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    every: int = 1
    checkpoint: int = 1_000

    def __post_init__(self) -> None:
        if self.every < 1 or self.checkpoint < 1:
            raise ConfigError("every and checkpoint count decisions: at least 1", field="every")

    def made(self) -> OnlineLearner:
        """The learner. Raises: ConfigError if it is unknown, or cannot learn online."""
        found = named(self.learner, self.settings)
        if not isinstance(found, OnlineLearner):
            raise ConfigError(
                f"{self.learner!r} learns from whole datasets only",
                "Whoever follows a log takes decisions as they come.",
                "These do: online_linear, online_neural.",
                field="learner",
            )
        return found


class Follower:
    """Reads the log behind a watermark, learns, publishes. What it knows is a file, so kill -9 costs time only.

    Every policy goes live by an override, with its reason in the ledger: there is no gate here. The service holds no
    training code; it takes policies from the home, as always. After n decisions of one worker's log, learned in their
    order, the policy is the same however often this process was stopped in between.

    Args:
        alias: whose log is read, and under what name policies go live.
        log: open for reading.
        tell: called after each publication, so that a service hears of it before it looks by itself.
    Raises: StoreError if another process follows this alias, or another lesson was begun there.
    """

    def __init__(
        self,
        lesson: Lesson,
        problem: Problem,
        home: Home,
        alias: str,
        log: EventLog,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self.lesson, self.problem, self.home, self.alias, self.log, self.tell = lesson, problem, home, alias, log, tell
        self.learner = lesson.made()
        self.recipe = {"learner": lesson.learner, "settings": asdict(self.learner)}  # pyright: ignore
        self.folder = Path(home.folder) / "learn" / alias
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _claim(self.folder / "lock", alias)
        self.pairing, self.mark, self.learned = Pairing(problem), Watermark(), Watermark()
        self.learning = self.learner.init(problem, seed=lesson.seed)
        self.published = self.saved = 0  # decisions behind the policy that is live, and behind the saved state
        current = home.ledger.current(alias)
        self.version, self.live = (0, None) if current is None else (current.version, current.policy)
        if (self.folder / SAVED).exists():
            try:
                self._resume()
            except BaseException:
                os.close(self._lock)
                raise

    @property
    def seen(self) -> int:
        """Decisions learned from."""
        return self.learning.seen

    def step(self) -> int:
        """Read what has come, learn from it, make it live. Returns how many events were read."""
        entries, behind = self.log.read(self.mark, AT_ONCE)
        for entry in entries:
            pair = self.pairing.take(entry)
            self.mark[ALL if ALL in behind else str(entry.worker)] = entry.seq
            if pair is not None:
                self.learning = self.learner.update(self.learning, pair.steps())
                self.learned = Watermark(self.mark)
        if len(entries) < AT_ONCE and self.seen // self.lesson.every > self.published // self.lesson.every:
            self.publish()
        if self.seen - self.saved >= self.lesson.checkpoint:
            self.save()
        return len(entries)

    def publish(self) -> str:
        """Make what is known now live. Returns the policy's id.

        Raises: StoreError if somebody else has changed who is live: whoever did had a reason.
        """
        files = encode_policy(self.learner.policy(self.learning), problem=self.problem)
        made = Manifest(
            kind="policy",
            problem_hash=self.problem.hash,
            config=self.recipe | {"log": self.alias, "learned": self.learned},
            counts={"decisions": self.seen},
            seed=self.lesson.seed,
            code_version=__version__,
        )
        id = self.home.put(made, files).id
        if id != self.live:
            reason = f"per-event learning: {self.lesson.learner} after {self.seen} decisions"
            live = self.home.ledger.override(self.alias, id, time=now(), reason=reason, after=self.version)
            self.version = live.version
            self.live = id
            if self.tell is not None:
                self.tell()
        self.published = self.seen
        return id

    def save(self) -> None:
        """Write down all that is known, in one piece."""
        extra = self.recipe | {
            "seed": self.lesson.seed,
            "problem": self.problem.hash,
            "mark": self.mark,
            "learned": self.learned,
        }
        write_state(self.folder / SAVED, self.learning.state(), extra)
        self.saved = self.seen

    def lines(self) -> list[str]:
        """For a person."""
        left = {"rewards out of range": self.pairing.out_of_range, "given up": self.pairing.given_up}
        notes = "".join(f"; {count} {what}" for what, count in left.items() if count)
        return [f"{self.seen} decisions learned{notes}", f"live: {self.live} (version {self.version})"]

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "decisions": self.seen,
            "policy": self.live,
            "version": self.version,
            "out_of_range": self.pairing.out_of_range,
            "given_up": self.pairing.given_up,
        }

    def close(self) -> None:
        """Save, and let another process follow."""
        self.save()
        os.close(self._lock)

    def _resume(self) -> None:
        """Go on from the saved state; open decisions are found by reading the log again up to its watermark."""
        path = self.folder / SAVED
        state, head = read_state(path)
        mine = msgspec.json.decode(canonical(self.recipe | {"seed": self.lesson.seed, "problem": self.problem.hash}))
        if {key: head[key] for key in mine} != mine:
            raise StoreError(
                f"{self.folder} holds what another lesson has learned: {head['learner']} {head['settings']}",
                "Its state does not fit other settings, another seed or another problem.",
                f"Use the same, or delete {path} to learn from the start of the log.",
                field="learner",
            )
        self.learning = self.learner.resume(self.problem, state)
        self.mark, self.learned, self.saved = head["mark"], head["learned"], self.seen
        for _ in pairs_until(self.mark, self.log, self.pairing):
            continue


def pairs_until(mark: Watermark, log: EventLog, pairing: Pairing) -> Iterator[Pair]:
    """The pairs that a log gives up to a watermark: with a policy's, exactly the decisions it was learned from."""
    at = Watermark()
    while True:
        entries, at = log.read(at)
        for entry in entries:
            if within(entry, mark):
                pair = pairing.take(entry)
                if pair is not None:
                    yield pair
        if not entries or all(at.get(worker, 0) >= seq for worker, seq in mark.items()):
            return


def follow(follower: Follower, *, stop: Callable[[], bool], once: bool = False) -> None:
    """Learn until ``stop`` says so, or (``once``) until nothing is left to read; then save."""
    last = time.monotonic()
    try:
        while not stop():
            if follower.step():
                last = time.monotonic()
            elif once:
                return
            else:
                time.sleep(SOON if time.monotonic() - last < AWAKE else SELDOM)
    finally:
        follower.close()


def _claim(path: Path, alias: str) -> int:
    """The right to follow, held until closed or dead. Raises: StoreError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreError(
            f"another process follows {alias!r} already", "Two learners would take turns undoing each other.",
            field=alias,
        ) from None  # fmt: skip
    return handle
