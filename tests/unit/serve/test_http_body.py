"""A body is read in one go, within its limits, and nobody waits for one that does not come."""

import asyncio

import pytest

from understudy.serve.exchange import MANY, ONE, PATIENCE, ROOM, Call, Room, hurry
from understudy.serve.refusal import Refusal


def call(*messages: dict, length: int | None = None, stay: bool = False, room: Room | None = None) -> Call:
    """A request whose body comes in these messages; ``stay``: and then nothing more, for ever."""
    waiting = list(messages)

    async def receive() -> dict:
        if not waiting and stay:
            await asyncio.Event().wait()
        return waiting.pop(0)

    headers = [(b"content-type", b"application/json")]
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    return Call({"type": "http", "headers": headers, "client": ("127.0.0.1", 1)}, receive, {}, room or Room())


def part(body: bytes, more: bool) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize("messages, length, stay", [
    ([part(b"abcdef", True)], 6, True),  # whole by its length, whatever the server says: not asked for more
    ([part(b"abcdef", False)], None, True),
    ([part(b"abc", True), part(b"def", False)], 6, False),
    ([part(b"abc", True), part(b"def", True), part(b"", False)], None, False),
])  # fmt: skip
def test_a_body_is_whole_once_its_length_is_there_or_no_more_comes(messages, length, stay):
    one = call(*messages, length=length, stay=stay)
    assert asyncio.run(asyncio.wait_for(one.body(100), 5)) == b"abcdef" and not one.reading


@pytest.mark.parametrize("length", [None, 6, 101])
def test_too_many_bytes_are_refused_as_they_come(length):
    one = call(part(b"x" * 60, True), part(b"x" * 60, False), length=length)
    with pytest.raises(Refusal) as refused:
        asyncio.run(one.body(100))
    assert refused.value.status == 413 and not one.reading


def test_large_bodies_share_a_room_and_small_ones_need_none():
    """As the bytes come, not as they are announced; 503 with a time to return beyond, and all of it is given back."""
    room, half, rest = Room(), part(b"x" * (MANY // 2), True), part(b"x" * (MANY // 2), False)
    held = [call(half, rest, length=MANY, room=room) for _ in range(ROOM // MANY)]
    assert all(len(asyncio.run(one.body(MANY))) == MANY for one in held) and room.free == 0
    late = [call(part(b"x" * (ONE + 1), True), room=room), call(part(b"x" * ONE, True), half, length=MANY, room=room)]
    for one in late:
        with pytest.raises(Refusal) as refused:
            asyncio.run(one.body(MANY))
        assert refused.value.status == 503
        assert {(b"retry-after", b"1"), (b"connection", b"close")} <= set(refused.value.headers)
    assert len(asyncio.run(call(part(b"x" * ONE, True), length=ONE, room=room).body(MANY))) == ONE
    for one in held + late:
        one.let_go()
    assert room.free == ROOM


def test_a_body_that_does_not_come_is_given_up_and_only_that_one():
    async def both() -> None:
        reading: dict = {}
        slow, new = call(length=6, stay=True), call(part(b"ab", True), length=6, stay=True)
        slow.reading = new.reading = reading
        tasks = [asyncio.ensure_future(one.body(100)) for one in (slow, new)]
        await asyncio.sleep(0)
        begun = reading[tasks[0]]
        reading[tasks[1]] = begun + 5.0
        hurry(reading, begun + PATIENCE + 0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tasks[0], 5)
        assert not tasks[1].done() and list(reading) == [tasks[1]]
        tasks[1].cancel()  # by somebody else, who must be told so
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert not reading

    asyncio.run(both())
