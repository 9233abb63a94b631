"""The two paths of the dashboard. Figures are made in a thread of their own, and nothing is loaded before one looks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from understudy.serve.dashboard.page import HEADERS, PAGE
from understudy.serve.exchange import Answer, Call

if TYPE_CHECKING:
    from understudy.serve.dashboard.board import Board
    from understudy.serve.worker import Worker

_boards: WeakKeyDictionary[Worker, Board] = WeakKeyDictionary()  # one per worker, made when somebody first looks


async def page(worker: Worker, call: Call) -> Answer:
    """GET /"""
    return Answer(PAGE, content_type=b"text/html; charset=utf-8", headers=HEADERS)


async def data(worker: Worker, call: Call) -> Answer:
    """GET /dashboard/data.json"""
    return Answer(await asyncio.to_thread(_body, worker))


def _body(worker: Worker) -> bytes:
    from understudy.serve.dashboard.board import Board

    if worker not in _boards:
        settings = worker.settings
        _boards[worker] = Board(settings.home, settings.alias, lambda: worker.desk.problem, log=settings.log)
    return _boards[worker].body()
