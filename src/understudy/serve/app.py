"""The ASGI application: starlette's router over plain callables, with one way to answer and one way to refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import perf_counter

import structlog
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.core.errors import UnderstudyError
from understudy.serve.exchange import Answer, Call, reply
from understudy.serve.refusal import Refusal, from_error, refuse
from understudy.serve.routes import PAGES, ROUTES, Route
from understudy.serve.worker import Worker

_log = structlog.get_logger("understudy.serve")


class Endpoint:
    """One path: its methods, and everything around a handler that every request needs."""

    def __init__(self, worker: Worker, path: str, routes: Sequence[Route]) -> None:
        self._worker, self._path = worker, path
        self._methods = {route.method: route for route in routes}
        self._work = any(route.work for route in routes)
        if "GET" in self._methods:
            self._methods["HEAD"] = self._methods["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        begun, worker = perf_counter(), self._worker
        if self._work and worker.in_flight >= worker.most:
            await worker.shed()
            worker.board.answered(self._path, 503, perf_counter() - begun)
            await reply(send, worker.busy, last=worker.draining)
            return
        call = Call(scope, receive, worker.reading, worker.room)
        try:
            answer = await self._answer(call)
        except Refusal as refusal:
            answer = Answer(refusal.body, refusal.status, headers=refusal.headers)
        except TimeoutError:
            refusal = refuse(408, "the body did not arrive in time")
            answer = Answer(refusal.body, 408)
        except UnderstudyError as error:
            refusal = from_error(error)
            answer = Answer(refusal.body, refusal.status, headers=refusal.headers)
        except Exception:
            _log.exception("fault", path=self._path, method=scope["method"])
            answer = Answer(refuse(500, "a fault of the service", "Its log on standard error says more.").body, 500)
        finally:
            call.let_go()
        worker.board.answered(self._path, answer.status, perf_counter() - begun)
        await reply(send, answer, last=worker.draining)

    async def _answer(self, call: Call) -> Answer:
        route = self._methods.get(call.scope["method"])
        if route is None:
            refusal = refuse(405, f"{self._path} does not know {call.scope['method'][:20]}")
            refusal.headers += ((b"allow", ", ".join(sorted(self._methods)).encode()),)
            raise refusal
        worker = self._worker
        call.caller = worker.guard.admit(call, route.scope)
        if not route.work:
            return await route.handler(worker, call)
        worker.guard.pace(call.caller)
        worker.in_flight += 1
        try:
            return await route.handler(worker, call)
        finally:
            worker.in_flight -= 1


class Door:
    """A path that is known by heart goes straight to its endpoint; the router sees to the rest."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._known = {route.path: route.app for route in router.routes if isinstance(route, Path)}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        app = self._known.get(scope["path"], self._router) if scope["type"] == "http" else self._router
        return app(scope, receive, send)


def make_app(worker: Worker) -> Door:
    """The application of one worker; the process starts and ends it."""
    grouped: dict[str, list[Route]] = {}
    for route in (*ROUTES, *PAGES):
        grouped.setdefault(route.path, []).append(route)
    paths = [Path(path, Endpoint(worker, path, routes)) for path, routes in grouped.items()]
    return Door(Router(paths, redirect_slashes=False, default=_nowhere(worker)))


def _nowhere(worker: Worker) -> ASGIApp:
    async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = refuse(404, f"there is no {scope['path'][:80]!r}", "GET /openapi.json lists the paths.")
        worker.board.answered("other", 404, 0.0)
        await reply(send, Answer(refusal.body, 404), last=worker.draining)

    return nowhere
