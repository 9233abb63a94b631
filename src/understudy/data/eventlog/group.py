"""Many requests, one commit: a writer thread takes whatever waits and makes it durable at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from understudy.core.errors import UnderstudyError
from understudy.data.eventlog.errors import Busy, LogDown
from understudy.data.eventlog.records import EventLog, Kind, Record

_LONGEST = 0.001  # seconds that a commit waits for company
Answer = list[bytes | None] | BaseException
Agree = Callable[[Record, bytes], Any]  # raises UnderstudyError if a record denies what stands under its key


class Request(NamedTuple):
    """Records that are written together, the future that waits for them, and what they must not deny."""

    records: Sequence[Record]
    future: Any
    agree: Agree | None


class GroupCommit:
    """The only writer of a log: requests wait in a bounded queue and share commits.

    Args:
        max_waiting: records that may wait; more are refused with Busy, so that memory and delay stay bounded.
        max_batch: records in one commit.
    """

    def __init__(self, log: EventLog, *, max_waiting: int = 10_000, max_batch: int = 2_000) -> None:
        self._log, self._max_waiting, self._max_batch = log, max_waiting, max_batch
        self._queue: SimpleQueue[list[Request] | None] = SimpleQueue()
        self._gathered: list[Request] = []  # of coroutines, until their loop has run all that is ready
        self._lock, self._closed = Lock(), False
        self._taken_in = self._settled = self._batches = self._largest = self._failed = 0
        self._thread = Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, records: Sequence[Record], agree: Agree | None = None) -> Future[list[bytes | None]]:
        """Hand in records from any thread. The future holds what ``EventLog.append`` returns, once it is durable.

        Args:
            agree: asked, before anything is written, of each of several records whose key stands in the log already;
                what it raises is the answer, and none of these records is written. A single record needs no asking:
                where its key stands already nothing is written anyway.
        Raises: Busy.
        """
        future: Future[list[bytes | None]] = Future()
        with self._lock:
            self._take_in(records)
            self._queue.put([Request(records, future, agree)])
        return future

    def write(self, records: Sequence[Record], agree: Agree | None = None) -> asyncio.Future[list[bytes | None]]:
        """The same for a coroutine: to be awaited in the running loop, which is woken once per commit.

        What one pass of the loop brings is handed in together: a commit of the first alone would keep the rest waiting.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            self._take_in(records)
            self._gathered.append(Request(records, future, agree))
            if len(self._gathered) == 1:
                loop.call_soon(self._hand_in)
        return future

    def counts(self) -> dict[str, int]:
        """Records ``waiting``, ``batches`` committed, the ``largest`` of them, and batches ``failed``."""
        waiting = self._taken_in - self._settled
        return {"waiting": waiting, "batches": self._batches, "largest": self._largest, "failed": self._failed}

    def close(self) -> None:
        """Write what waits, then stop. The log stays open."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(self._gathered)
                self._queue.put(None)
                self._gathered = []
        self._thread.join()

    def _take_in(self, records: Sequence[Record]) -> None:
        """Count them as waiting; the lock is held. Raises: Busy, LogDown."""
        waiting = self._taken_in - self._settled
        if self._closed:
            raise LogDown("the event log is closing", hint="Ask another worker, or this one once it is back.")
        if waiting and waiting + len(records) > self._max_waiting:
            raise Busy(
                f"{waiting:,} events wait to be written; the most is {self._max_waiting:,}",
                "Requests come faster than the disk confirms them.",
                "Ask again in a second.",
            )
        self._taken_in += len(records)

    def _hand_in(self) -> None:
        with self._lock:
            if self._gathered:
                self._queue.put(self._gathered)
                self._gathered = []

    def _write(self) -> None:
        going, expected, pause = True, 0, 0.0
        while going:
            batch: list[Request] = []
            size, requests = 0, self._queue.get()
            if requests is not None and len(requests) < expected:
                time.sleep(pause)  # as many as last time are on their way: together they cost one commit
            while requests is not None:
                batch += requests
                size += sum(len(request.records) for request in requests)
                if size >= self._max_batch or self._queue.empty():
                    break
                requests = self._queue.get()
            going = requests is not None
            if batch:
                begun = time.monotonic()
                answers = self._append(batch)
                expected, pause = len(batch), min(_LONGEST, (time.monotonic() - begun) / 2)
                self._settled += size
                self._largest = max(self._largest, size)
                _deliver(batch, answers)

    def _append(self, batch: list[Request]) -> list[Answer]:
        try:
            refused = self._refused(batch)
            kept = [request for i, request in enumerate(batch) if i not in refused]
            stored = iter(self._log.append([record for request in kept for record in request.records]))
            self._batches += 1
            return [
                refused[i] if i in refused else list(islice(stored, len(request.records)))
                for i, request in enumerate(batch)
            ]
        except BaseException as error:  # whatever it was, those who wait for this batch must hear of it
            self._failed += 1
            return [error] * len(batch)

    def _refused(self, batch: list[Request]) -> dict[int, UnderstudyError]:
        """Place in the batch → why these records may not be written, because one denies what stands already.

        Nobody else writes this worker's file, so between this look and the commit nothing can come in. Another worker
        may still write one of the keys at that very moment, in its own file; then what is new here stands although the
        caller is told of the conflict, and the join counts it as a decision whose reward has not come.
        """
        asked: dict[Kind, list[str]] = {}
        for request in batch:
            if request.agree is not None and len(request.records) > 1:
                for record in request.records:
                    asked.setdefault(record.kind, []).append(record.key)
        stands: dict[tuple[Kind, str], bytes] = {}
        for kind, keys in asked.items():
            for copy in self._log.copies(kind, keys):
                stands.setdefault((kind, copy.key), copy.body)
        refused: dict[int, UnderstudyError] = {}
        for i, request in enumerate(batch if asked else ()):
            try:
                stands |= _said(request, stands)
            except UnderstudyError as error:
                refused[i] = error
        return refused


def _said(request: Request, stands: Mapping[tuple[Kind, str], bytes]) -> dict[tuple[Kind, str], bytes]:
    """What a request adds to what stands. Raises: what its ``agree`` does."""
    new: dict[tuple[Kind, str], bytes] = {}
    for record in request.records:
        name = record.kind, record.key
        before = stands.get(name, new.get(name))
        if before is None:
            new[name] = record.body
        elif request.agree is not None and len(request.records) > 1:
            request.agree(record, before)
    return new


def _deliver(batch: list[Request], answers: list[Answer]) -> None:
    """Settle every future; those of a loop together, for waking a loop costs more than settling a future."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Any, Answer]]] = {}
    for (_, future, _), answer in zip(batch, answers):
        if isinstance(future, Future):
            if future.set_running_or_notify_cancel():
                _settle([(future, answer)])
        else:
            loops.setdefault(future.get_loop(), []).append((future, answer))
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_settle, answered)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _settle(answered: list[tuple[Any, Answer]]) -> None:
    for future, answer in answered:
        if future.done():  # a coroutine that was cancelled while it waited
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
