"""The service's border: what is asked, what is answered, what is written down before the answer leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import msgspec

from understudy.core.events import Decision, Scalar

Mode = Literal["live", "canary", "shadow", "apprentice", "logging"]

# Ids come from strangers: short, and of letters that neither a log nor a file name nor a terminal minds.
# The look-ahead is for Python, whose $ stands before a final line break too.
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}(?!\n)$")]


class DecideRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for one decision.

    Args:
        context: feature name → value, as in the log.
        allowed: names of the actions that may be taken now; None is all.
        decision_id: the caller's own id makes a repeated request harmless: same answer, one log line. None: made here.
        episode_id, t, unit_id: as in Decision.
        baseline: what the caller would have done without us; acted on in apprentice and logging mode, and whenever
            the policy fails.
        propensity: in logging mode, the probability with which the caller chose ``baseline``; None is 1.
        deferred: the action may never be carried out; the decision counts only once it has been activated.
        time: seconds since 1970 UTC or ISO 8601; refused unless the service runs a simulation with client times.
    """

    context: dict[str, Scalar]
    allowed: tuple[str, ...] | None = None
    decision_id: Id | None = None
    episode_id: Id | None = None
    t: int = 0
    unit_id: Id | None = None
    baseline: str | None = None
    propensity: float | None = None
    deferred: bool = False
    time: float | str | None = None


class DecideReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision, as it stands in the durable log.

    Args:
        action: to carry out.
        propensity: the probability with which exactly this action was chosen.
        propensities: of every action, in the problem's order.
        policy_id: who chose: an id; ``<incumbent>+<candidate>@<share>`` of a canary; ``baseline`` if it was that.
        fallback: why the baseline answered although a policy should have; None normally.
    """

    decision_id: str
    action: str
    propensity: float
    propensities: tuple[float, ...]
    policy_id: str
    fallback: str | None = None


class RewardRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Report an outcome of a decision; late, early, again and out of order are all welcome.

    ``outcome_id`` makes a re-sent outcome count once; without it (decision_id, name, value) does, so that a retry
    cannot count twice: two outcomes that really are equal need ids of their own.
    """

    decision_id: Id
    value: float
    name: str = "reward"
    outcome_id: Id | None = None
    time: float | str | None = None


class ActivateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say that a deferred decision has been carried out."""

    decision_id: Id
    time: float | str | None = None


class Shadow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What another policy would have done, written down and not acted on."""

    policy_id: str
    action: str
    propensities: tuple[float, ...]


class Logged(Decision, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Decision as the service writes it down: with all that is needed to make it again.

    Args:
        application: whose randomness: u = hash(application, decision_id), so that two applications are independent.
        mode: how traffic was directed at that moment.
        baseline: the caller's own choice, if it sent one.
        fallback: why the baseline acted; None if a policy did.
        shadow: what the other policy would have done.
        deferred: counts only once it has been activated.
    """

    application: str
    mode: Mode = "live"
    baseline: str | None = None
    fallback: str | None = None
    shadow: Shadow | None = None
    deferred: bool = False


def canary_id(incumbent: str, candidate: str, share: float) -> str:
    """The policy_id of an exact mixture: (1 − share)·incumbent + share·candidate.

    >>> canary_id("aa", "bb", 0.2)
    'aa+bb@0.2'
    """
    return f"{incumbent}+{candidate}@{share!r}"


def parse_canary(policy_id: str) -> tuple[str, str, float] | None:
    """The parts of a canary's policy_id; None if it is a single policy's.

    >>> parse_canary("aa+bb@0.2")
    ('aa', 'bb', 0.2)
    """
    incumbent, plus, rest = policy_id.partition("+")
    candidate, at, share = rest.rpartition("@")
    return (incumbent, candidate, float(share)) if plus and at else None


@runtime_checkable
class Service(Protocol):
    """A decision service, over HTTP or in this process: the same promises, so a loop need not know which.

    What is returned has been written down durably first. Raises: DataError for a request that is wrong,
    ExecutorError where the service cannot be reached or cannot write (``retry_after`` seconds in its hint).
    """

    def decide(self, request: DecideRequest) -> DecideReply: ...

    def decide_batch(self, requests: Sequence[DecideRequest]) -> Sequence[DecideReply]: ...

    def reward(self, request: RewardRequest) -> None: ...

    def reward_batch(self, requests: Sequence[RewardRequest]) -> None: ...

    def activate(self, request: ActivateRequest) -> None: ...

    def status(self) -> dict[str, Any]:
        """Who acts: ``policy_id``, ``mode``, ``version`` = [promotion, traffic] as numbered by the ledger, counts."""
        ...
