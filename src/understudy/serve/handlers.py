"""The endpoints: a request in, an Answer out, and nothing about HTTP but that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from understudy.serve.exchange import MANY, ONE, Answer, Call
from understudy.serve.refusal import refuse
from understudy.serve.strict import read_activate, read_decide, read_decides, read_reward, read_rewards

if TYPE_CHECKING:
    from understudy.serve.worker import Worker

_encode = msgspec.json.Encoder().encode
_DONE = Answer(b'{"ok":true}')


async def decide(worker: Worker, call: Call) -> Answer:
    """POST /decide"""
    request = read_decide(await call.body(ONE))
    return Answer(_encode((await worker.desk.decide_soon((request,)))[0]))


async def decide_batch(worker: Worker, call: Call) -> Answer:
    """POST /decide/batch"""
    requests = read_decides(await call.body(MANY))
    worker.guard.pace(call.caller, len(requests) - 1)
    return Answer(_encode(await worker.desk.decide_soon(requests)))


async def reward(worker: Worker, call: Call) -> Answer:
    """POST /reward"""
    await worker.desk.reward_soon((read_reward(await call.body(ONE)),))
    return _DONE


async def reward_batch(worker: Worker, call: Call) -> Answer:
    """POST /reward/batch"""
    requests = read_rewards(await call.body(MANY))
    worker.guard.pace(call.caller, len(requests) - 1)
    await worker.desk.reward_soon(requests)
    return _DONE


async def activate(worker: Worker, call: Call) -> Answer:
    """POST /activate"""
    await worker.desk.activate_soon((read_activate(await call.body(ONE)),))
    return _DONE


async def reload(worker: Worker, call: Call) -> Answer:
    """POST /policy/reload"""
    worker.guard.refresh()
    await asyncio.to_thread(worker.desk.swap_now)
    return await policy(worker, call)


async def health(worker: Worker, call: Call) -> Answer:
    """GET /health"""
    return Answer(b'{"live":true}')


async def ready(worker: Worker, call: Call) -> Answer:
    """GET /ready"""
    reasons = await worker.reasons()
    if reasons:
        raise refuse(503, "; ".join(reasons), kind="not_ready", retry_after=1)
    return Answer(b'{"ready":true}')


async def policy(worker: Worker, call: Call) -> Answer:
    """GET /policy"""
    return Answer(_encode(await asyncio.to_thread(worker.policy)))


async def figures(worker: Worker, call: Call) -> Answer:
    """GET /metrics"""
    return Answer(await worker.figures(), content_type=b"text/plain; version=0.0.4; charset=utf-8")


async def document(worker: Worker, call: Call) -> Answer:
    """GET /openapi.json"""
    return Answer(worker.document())
