"""One decision: context in, action and its exact probability out. No I/O, no clock, no random state."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Literal

import numpy as np
from msgspec.structs import replace

from understudy.core.errors import DataError
from understudy.core.problem import Problem
from understudy.core.service import DecideRequest, Logged, Shadow, parse_canary
from understudy.data.context import Coder
from understudy.ops.explore import TOLERANCE
from understudy.serve.breaker import Breaker
from understudy.serve.deployment import UNIFORM, Actor, Deployment
from understudy.serve.randomness import new_id, uniform

BASELINE = "baseline"  # the policy_id of a decision that was the caller's own, or its stand-in
SMALLEST = 1e-100  # a propensity below it would be set aside by ingest
Fault = Literal["raised", "not_a_pmf", "slow", "resting"]  # why the baseline answered; "resting": the breaker is open


class NotAPmf(ValueError):
    """A policy's answer that no propensity can be taken from."""


class Engine:
    """Decides for one application; its only state is what it has counted and whether the policy rests after faults.

    Args:
        application: whose randomness; the alias that is served.
        clock: seconds of a clock that never goes back, for the breaker alone.
    """

    def __init__(
        self, application: str, *, clock: Callable[[], float] = time.monotonic, faults: int = 5, rest: float = 5.0
    ) -> None:
        self.application, self._clock, self._faults, self._rest = application, clock, faults, rest
        self.renew()
        self.asked = self.breaker  # of who was asked last, whoever acts by now: its fault, if no answer comes
        self.faults: Counter[str] = Counter()  # decisions that the baseline took, by reason
        self.missed: Counter[str] = Counter()  # answers of whoever is only asked that never came
        self.last_fault = ""

    def renew(self) -> None:
        """Forget the faults: other policies act from now on."""
        self.breaker = Breaker(self._clock, self._faults, self._rest)  # of whoever acts
        self.beside = Breaker(self._clock, self._faults, self._rest)  # of whoever is only asked

    def decide(self, request: DecideRequest, deployment: Deployment, now: float, fault: Fault | None = None) -> Logged:
        """The decision as it is to be written down.

        Args:
            now: seconds since 1970 UTC; the request's own time, if it has one, goes before it.
            fault: ask no policy, and answer by the baseline for this reason.
        Raises: DataError if the request breaks a rule of the problem.
        """
        coder, mode, shadow, policy_id = deployment.coder, deployment.mode, None, BASELINE
        row = coder.row(request.context)
        allowed = None if request.allowed is None else coder.allowed(request.allowed)
        if coder.sequential or request.t:
            coder.check_place(request.episode_id, request.t, request.unit_id)
        own = _baseline(request, coder)
        id = request.decision_id or new_id(now)
        u = uniform(self.application, id)
        if mode != "apprentice" and mode != "logging":
            p, fault = self._ask(deployment, row, allowed, fault)
            if p is None:
                p, at, propensity = _stand_in(request, own, allowed, u, len(coder.names))
            else:
                at = draw(p, u)
                propensity, policy_id = p[at], deployment.policy_id
        else:
            p, at, propensity = _callers(request, own, allowed, len(coder.names), mode)
        if mode == "shadow" or mode == "apprentice":
            shadow = self._shadow(deployment, row, allowed, u, fault)
        if mode == "apprentice" or mode == "logging":
            fault = None  # the baseline was to act anyway
        return Logged(
            decision_id=id,
            time=now if request.time is None else request.time,
            context=request.context,
            action=coder.names[at],
            propensity=propensity,
            propensities=p,
            allowed=None if request.allowed is None else list(request.allowed),
            episode_id=request.episode_id,
            t=request.t,
            unit_id=request.unit_id,
            policy_id=policy_id,
            application=self.application,
            mode=mode,
            baseline=request.baseline,
            fallback=fault,
            shadow=shadow,
            deferred=request.deferred,
        )

    def _ask(
        self, deployment: Deployment, row: np.ndarray, allowed: np.ndarray | None, fault: Fault | None
    ) -> tuple[list[float] | None, Fault | None]:
        """The pmf of whoever acts, or why there is none."""
        if fault is None and self.breaker.tripped and not self.breaker.closed():
            fault = "resting"
        if fault is not None:
            self.faults[fault] += 1
            return None, fault
        self.asked = self.breaker
        try:
            p = mixture(deployment, row, allowed)
        except Exception as error:  # whatever a policy may raise, the request is answered
            fault = self._failed(deployment.policy_id, error, self.breaker)
            self.faults[fault] += 1
            return None, fault
        self.breaker.fine()
        return p, None

    def _shadow(
        self, deployment: Deployment, row: np.ndarray, allowed: np.ndarray | None, u: float, fault: Fault | None
    ) -> Shadow | None:
        """What the other policy would have done; None if it fails, which is counted and harms nobody."""
        if fault is not None or not self.beside.closed():
            return None
        actor, names = deployment.candidate or deployment.incumbent, deployment.coder.names
        self.asked = self.beside
        try:
            p = checked(actor.probs(row, allowed), allowed, len(names))
        except Exception as error:
            self.missed[self._failed(actor.id, error, self.beside)] += 1
            return None
        self.beside.fine()
        return Shadow(policy_id=actor.id, action=names[draw(p, u)], propensities=tuple(p))

    def _failed(self, policy_id: str, error: Exception, breaker: Breaker) -> Fault:
        fault: Fault = "not_a_pmf" if isinstance(error, NotAPmf) else "raised"
        self.last_fault = f"{policy_id}: {type(error).__name__}: {error}"[:500]
        breaker.fault()
        return fault


def mixture(deployment: Deployment, row: np.ndarray, allowed: np.ndarray | None) -> list[float]:
    """(1 − share)·incumbent + share·candidate, k floats; the incumbent alone where nobody is tried. Raises: NotAPmf."""
    k = len(deployment.coder.names)
    p = checked(deployment.incumbent.probs(row, allowed), allowed, k)
    if deployment.candidate is None or not deployment.share:
        return p
    q = checked(deployment.candidate.probs(row, allowed), allowed, k)
    share = deployment.share
    rest = 1 - share
    return [rest * a + share * b for a, b in zip(p, q)]


def checked(p: list[float], allowed: np.ndarray | None, k: int) -> list[float]:
    """``p`` itself if it is a pmf over what is allowed, by the rules of ``ops.explore.check_pmf``. Raises: NotAPmf."""
    total = sum(p)
    if len(p) != k or not abs(total - 1.0) <= TOLERANCE or not min(p) >= 0.0:  # a NaN anywhere is in the total
        raise NotAPmf(f"{k} probabilities ≥ 0 must sum to 1; got {p[:8]}, sum {total}")
    if allowed is not None and any(x and not ok for x, ok in zip(p, allowed[0].tolist())):
        raise NotAPmf(f"an action that is not allowed has a probability: {p[:8]}")
    return p if total <= 1.0 else [min(x, 1.0) for x in p]


def draw(p: list[float], u: float) -> int:
    """Inverse CDF, as ``ops.explore.draw``: the action at u in [0, 1), never one with p = 0."""
    cdf = list(accumulate(p))
    at = bisect_right(cdf, u * cdf[-1])
    return at if at < len(p) else max(i for i, x in enumerate(p) if x > 0)


Choice = tuple[list[float] | None, int, float]  # pmf where it is known, place of the action, its probability


def _stand_in(request: DecideRequest, own: int | None, allowed: np.ndarray | None, u: float, k: int) -> Choice:
    """The caller's baseline where it may act, else any allowed action alike."""
    if own is not None and (allowed is None or allowed[0, own]):
        return _own(own, request.propensity, k)
    may = [True] * k if allowed is None else allowed[0].tolist()
    each = 1.0 / sum(may)
    p = [each if ok else 0.0 for ok in may]
    at = draw(p, u)
    return p, at, p[at]


def _callers(request: DecideRequest, own: int | None, allowed: np.ndarray | None, k: int, mode: str) -> Choice:
    if own is None or (allowed is not None and not allowed[0, own]):
        fault = "no baseline" if own is None else f"baseline {request.baseline!r} is not allowed"
        raise DataError(f"{fault}: in {mode} mode it is the caller's own choice that acts", field="baseline")
    return _own(own, request.propensity, k)


def _baseline(request: DecideRequest, coder: Coder) -> int | None:
    """The place of the caller's own action. A propensity that is none is refused also where nobody will read it."""
    if request.propensity is not None and not SMALLEST <= request.propensity <= 1:
        raise DataError(f"propensity={request.propensity:g} is not in (0, 1]", field="propensity")
    return None if request.baseline is None else coder.action(request.baseline, "baseline")


def _own(own: int, propensity: float | None, k: int) -> Choice:
    """The caller's choice is certain once it has made it; unless it says with what probability it did."""
    if propensity is not None and propensity < 1:
        return None, own, propensity  # how the rest was shared is not known
    p = [0.0] * k
    p[own] = 1.0
    return p, own, 1.0


def replay(logged: Logged, policy_of: Callable[[str], Actor], coder: Coder | Problem) -> Logged:
    """The same decision made again from what was written down: equal bit for bit, or something was changed.

    Args:
        policy_of: id → policy; asked for nobody that did not act.
    Raises: whatever a policy raises; NotAPmf.
    """
    coder = coder if isinstance(coder, Coder) else Coder(coder)
    k, row = len(coder.names), coder.row(logged.context)
    allowed = None if logged.allowed is None else coder.allowed(logged.allowed)
    u = uniform(logged.application, logged.decision_id)
    own = None if logged.baseline is None else coder.action(logged.baseline, "baseline")
    shadow = logged.shadow
    if shadow is not None:
        q = checked(policy_of(shadow.policy_id).probs(row, allowed), allowed, k)
        shadow = Shadow(policy_id=shadow.policy_id, action=coder.names[draw(q, u)], propensities=tuple(q))
    if logged.policy_id == BASELINE:
        asked = DecideRequest(
            context=logged.context, baseline=logged.baseline,
            propensity=logged.propensity if logged.propensities is None else None,
        )  # fmt: skip
        p, at, propensity = _stand_in(asked, own, allowed, u, k)
    else:
        p = mixture(_deployment(logged, policy_of, coder), row, allowed)
        at = draw(p, u)
        propensity = p[at]
    return replace(logged, action=coder.names[at], propensity=propensity, propensities=p, shadow=shadow)


def _deployment(logged: Logged, policy_of: Callable[[str], Actor], coder: Coder) -> Deployment:
    id = logged.policy_id or ""
    parts = parse_canary(id)
    if parts is None:
        return Deployment(coder, _actor(id, policy_of, coder))
    incumbent, candidate, share = parts
    both = _actor(incumbent, policy_of, coder), _actor(candidate, policy_of, coder)
    return Deployment(coder, *both, mode="canary", share=share)


def _actor(id: str, policy_of: Callable[[str], Actor], coder: Coder) -> Actor:
    from understudy.models.policies import Uniform

    return Actor(UNIFORM, Uniform(len(coder.names))) if id == UNIFORM else policy_of(id)
