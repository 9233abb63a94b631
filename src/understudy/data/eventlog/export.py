"""What the service wrote down → segments of a log: validated like any other events, each event in one segment."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from understudy import __version__
from understudy.core.events import Decision
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.data.artifact import read_manifest, write_artifact
from understudy.data.eventlog import open_event_log
from understudy.data.eventlog.records import KINDS, Entry, EventLog, Kind, Watermark, within
from understudy.data.ingest import fill
from understudy.data.log import Log
from understudy.data.sources import Source

# A Logged's fields that are a Decision's, each left as the JSON it is; ``deferred`` alone is looked at.
_FIELDS = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in Decision.__struct_fields__]
_KEPT = msgspec.defstruct("_KEPT", _FIELDS)
_KEEP = msgspec.json.Decoder(_KEPT)


def export(
    source: str | Path | EventLog,
    *,
    problem: Problem,
    to: str | Path,
    after: Watermark | None = None,
    replace: bool = False,
) -> Log:
    """Write the events behind a watermark as a log artifact: a segment, which may hold outcomes only, or nothing.

    A decision is in the segment in which it is first seen, whichever worker wrote it; a deferred one in the segment
    in which both it and its activation have been seen. The cost is that of the new events.

    Args:
        source: an event log, or where one lies.
        problem: what a valid event is.
        to: folder of the artifact.
        after: ``config["to"]`` of the segment before this one; None starts at the beginning.
        replace: put the segment in the place of another one.

    Returns:
        The log. Its config holds the watermarks ``from`` and ``to``; its counts, beside those of any log,
        ``events.<kind>`` read, ``repeated`` (stored by another worker as well), ``deferred`` (not activated so far)
        and ``activated`` (decisions of earlier segments). The same watermark and events give the same id.
    """
    start, folder = dict(after or {}), Path(to)
    with ExitStack() as stack:
        if isinstance(source, (str, Path)):
            log = stack.enter_context(_closing(open_event_log(source, worker=None)))
        else:
            log = source
        end = log.end()
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-")))
        segment = _Segment(log, start, end)
        sources = _spool(segment, scratch)
        manifest = Manifest(
            kind="log",
            problem_hash=problem.hash,
            config={
                "sources": [[item.name, item.sha256] for item in sources],
                "complete": False,
                "from": start,
                "to": end,
            },
            counts=dict(segment.counts),
            code_version=__version__,
        )
        made = write_artifact(folder, manifest, lambda part: fill(part, sources, problem, hollow=True), replace=replace)
    return Log(folder, made)


def is_segment(folder: str | Path) -> bool:
    """Whether a log artifact was exported from an event log: ingest leaves no watermarks."""
    return {"from", "to"} <= set(read_manifest(folder).config)


def lag(log: EventLog, after: Watermark) -> int:
    """How many events lie behind a watermark."""
    end = log.end()
    return sum(end.values()) - sum(min(after.get(worker, 0), last) for worker, last in end.items())


class _Held(msgspec.Struct):
    deferred: bool = False


class _closing:
    """An event log that is closed behind its use."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def __enter__(self) -> EventLog:
        return self._log

    def __exit__(self, *_: Any) -> None:
        self._log.close()


class _Segment:
    """The events between two watermarks, and what is to be exported of them."""

    def __init__(self, log: EventLog, start: Watermark, end: Watermark) -> None:
        self._log, self._start, self._end = log, start, end
        self._alone = len(end) == 1  # nobody else can have stored the same key
        self.counts: Counter[str] = Counter(repeated=0, deferred=0, activated=0)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(worker, line of JSON) of every event to be exported; per worker in order."""
        mark = dict(self._start)
        while any(mark.get(worker, 0) < last for worker, last in self._end.items()):
            entries, mark = self._log.read(mark)
            entries = [entry for entry in entries if within(entry, self._end)]
            self.counts.update(f"events.{entry.kind}" for entry in entries)
            kept = self._once(entries)
            of: dict[str, list[Entry]] = {"decision": [], "outcome": [], "activation": []}
            for entry in kept:
                of[entry.kind].append(entry)
            yield from ((entry.worker, entry.body) for entry in of["outcome"])
            yield from self._decided(of["decision"])
            yield from self._activated(of["activation"])

    def _once(self, entries: Sequence[Entry]) -> list[Entry]:
        """Without those that another worker stored as well: in an earlier segment, or in this one and before it."""
        if self._alone:
            return list(entries)
        first: dict[tuple[str, str], Entry] = {}
        for kind in KINDS:
            for copy in self._copies(kind, [entry.key for entry in entries if entry.kind == kind]):
                name = copy.kind, copy.key
                first[name] = min(first.get(name, copy), copy, key=self._rank)
        kept = [entry for entry in entries if first[entry.kind, entry.key].worker == entry.worker]
        self.counts["repeated"] += len(entries) - len(kept)
        return kept

    def _rank(self, entry: Entry) -> tuple[bool, int]:
        """Of copies the one exported already comes first, then the one of the lowest worker."""
        return not within(entry, self._start), entry.worker

    def _copies(self, kind: Kind, keys: Sequence[str]) -> list[Entry]:
        return [entry for entry in self._log.copies(kind, keys) if within(entry, self._end)] if keys else []

    def _decided(self, entries: Sequence[Entry]) -> Iterator[tuple[int, bytes]]:
        """Decisions of this segment, the deferred ones only if their activation has been seen."""
        held = {entry.key for entry in entries if _deferred(entry.body)}
        seen = {entry.key for entry in self._copies("activation", sorted(held))}
        for entry in entries:
            if entry.key in held and entry.key not in seen:
                self.counts["deferred"] += 1
            else:
                yield entry.worker, _decision(entry.body)

    def _activated(self, entries: Sequence[Entry]) -> Iterator[tuple[int, bytes]]:
        """Deferred decisions of earlier segments whose activation is in this one."""
        earlier: dict[str, Entry] = {}
        for entry in self._copies("decision", [entry.key for entry in entries]):
            if within(entry, self._start) and _deferred(entry.body):
                earlier[entry.key] = min(earlier.get(entry.key, entry), entry, key=lambda copy: copy.worker)
        for entry in entries:
            if entry.key in earlier:
                self.counts["activated"] += 1
                yield entry.worker, _decision(earlier[entry.key].body)


def _spool(segment: _Segment, folder: Path) -> list[Source]:
    """One file of JSON lines per worker: what came in between from another worker does not change their order."""
    files: dict[int, BinaryIO] = {}
    digests: dict[int, Any] = defaultdict(hashlib.sha256)
    with ExitStack() as stack:
        for worker, line in segment.lines():
            if worker not in files:
                files[worker] = stack.enter_context(_path(folder, worker).open("wb"))
            line = _one_line(line)
            files[worker].write(line)
            digests[worker].update(line)
    return [
        Source(f"worker-{worker}", "jsonl", path=_path(folder, worker), sha256=digests[worker].hexdigest())
        for worker in sorted(files)
    ]


def _path(folder: Path, worker: int) -> Path:
    return folder / f"worker-{worker}.jsonl"


def _one_line(body: bytes) -> bytes:
    return (body if b"\n" not in body else b" ".join(body.split(b"\n"))) + b"\n"


def _deferred(body: bytes) -> bool:
    try:
        return b'"deferred"' in body and msgspec.json.decode(body, type=_Held).deferred
    except msgspec.MsgspecError:
        return False


def _decision(body: bytes) -> bytes:
    """A Logged as a Decision. What cannot be read is handed on as it is, to be set aside with its reason."""
    try:
        return msgspec.json.encode(_KEEP.decode(body))
    except msgspec.MsgspecError:
        return body
