"""Every path of the service, in one table: what it takes and gives, which scope it needs, who answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple

import msgspec

from understudy.core.service import ActivateRequest, DecideReply, DecideRequest, Mode, RewardRequest
from understudy.serve import handlers
from understudy.serve.dashboard import pages
from understudy.serve.exchange import Answer
from understudy.serve.keys import Scope
from understudy.serve.strict import MAX_BATCH

Handler = Callable[[Any, Any], Awaitable[Answer]]


class Done(msgspec.Struct, frozen=True):
    """It has been written down."""

    ok: bool


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """Decisions can be taken and written down now; otherwise the answer is 503 and says why not."""

    ready: bool


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts. Times are microseconds since 1970 UTC; ``version`` is [promotion, traffic] in the ledger."""

    alias: str
    policy_id: str
    incumbent: str
    candidate: str | None
    mode: Mode
    share: float
    version: Annotated[tuple[int, ...], msgspec.Meta(min_length=2, max_length=2)]
    since: int
    problem: str
    fault: str


class Route(NamedTuple):
    """One method of one path.

    Args:
        scope: of the key that opens it; None = nobody needs a key.
        takes, gives: types of the bodies; None = no JSON.
        work: counts towards what is worked on at once, and is paced.
    """

    path: str
    method: str
    handler: Handler
    scope: Scope | None
    takes: Any = None
    gives: Any = None
    work: bool = False


ROUTES: tuple[Route, ...] = (
    Route("/decide", "POST", handlers.decide, "decide", DecideRequest, DecideReply, work=True),
    Route("/decide/batch", "POST", handlers.decide_batch, "decide", list[DecideRequest], list[DecideReply], work=True),
    Route("/reward", "POST", handlers.reward, "reward", RewardRequest, Done, work=True),
    Route("/reward/batch", "POST", handlers.reward_batch, "reward", list[RewardRequest], Done, work=True),
    Route("/activate", "POST", handlers.activate, "decide", ActivateRequest, Done, work=True),
    Route("/health", "GET", handlers.health, None, gives=Live),
    Route("/ready", "GET", handlers.ready, "read", gives=Ready),
    Route("/metrics", "GET", handlers.figures, "read"),
    Route("/policy", "GET", handlers.policy, "read", gives=Acting),
    Route("/policy/reload", "POST", handlers.reload, "admin", gives=Acting),
    Route("/openapi.json", "GET", handlers.document, "read"),
)

PAGES: tuple[Route, ...] = (
    Route("/", "GET", pages.page, None),
    Route("/dashboard/data.json", "GET", pages.data, "read"),
)

SAID = {
    "/decide": "Take one decision.",
    "/decide/batch": f"Take up to {MAX_BATCH:,} decisions; all or none.",
    "/reward": "Report one outcome; late, early and again are welcome.",
    "/reward/batch": f"Report up to {MAX_BATCH:,} outcomes; all or none.",
    "/activate": "Say that a deferred decision has been carried out.",
    "/health": "Whether the process lives.",
    "/ready": "Whether decisions can be taken and written down.",
    "/metrics": "Figures in Prometheus' text form.",
    "/policy": "Who acts, and since when.",
    "/policy/reload": "Look into the ledger now instead of within a quarter of a second.",
    "/openapi.json": "This document.",
    "/": "The dashboard's page; its figures need a key where there are keys.",
    "/dashboard/data.json": "The dashboard's figures, made at most once a second.",
}
