"""Figures of the service in Prometheus' text form. All workers write into one board, so any of them can answer."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

# The endpoints that are counted by name; everything else counts as "other".
PATHS = ("/decide", "/decide/batch", "/reward", "/reward/batch", "/activate", "other")
STATUSES = (200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 507)
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
PLAIN = {
    "decisions": ("counter", "Decisions acknowledged."),
    "outcomes": ("counter", "Outcomes acknowledged."),
    "activations": ("counter", "Activations acknowledged."),
    "repeated": ("counter", "Requests that had been answered before and were answered the same again."),
    "fallbacks": ("counter", "Decisions taken by the baseline because a policy failed."),
    "shed": ("counter", "Requests refused because too many were being worked on."),
    "swaps": ("counter", "Changes of deployment taken over."),
    "in_flight": ("gauge", "Requests being worked on."),
    "undecided": ("gauge", "Requests that wait to be decided."),
    "log_waiting": ("gauge", "Events that wait for the next commit of the event log."),
    "log_commits": ("counter", "Commits of the event log."),
    "log_failures": ("counter", "Commits of the event log that failed."),
    "log_torn_bytes": ("counter", "Bytes behind the last commit that a crash had left and the start cut off."),
}
_NAMES = tuple(PLAIN)
_AT_STATUS = len(_NAMES)
_AT_TIME = _AT_STATUS + len(PATHS) * len(STATUSES)
WIDTH = _AT_TIME + len(BOUNDS) + 2  # … the last bucket is +Inf, and then the sum
_PATH = {path: i for i, path in enumerate(PATHS)}
_STATUS = {status: i for i, status in enumerate(STATUSES)}


@dataclass(frozen=True)
class Board:
    """One row of WIDTH numbers per worker in shared memory; each worker writes its own row only."""

    cells: memoryview[float]  # f64[workers · WIDTH]
    worker: int = 0

    @property
    def _row(self) -> int:
        return self.worker * WIDTH

    def add(self, name: str, by: float = 1.0) -> None:
        """Count one of PLAIN."""
        self.cells[self._row + _NAMES.index(name)] += by

    def set(self, name: str, value: float) -> None:
        """State one of PLAIN."""
        self.cells[self._row + _NAMES.index(name)] = value

    def clear(self) -> None:
        """Gauges of a worker that was here before are not ours; its counts go on."""
        for name, (kind, _) in PLAIN.items():
            if kind == "gauge":
                self.set(name, 0.0)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer, with its latency."""
        cells, row = self.cells, self._row
        path_at = _PATH.get(path, len(PATHS) - 1)
        cells[row + _AT_STATUS + path_at * len(STATUSES) + _STATUS.get(status, _STATUS[500])] += 1
        if path_at < len(PATHS) - 1:
            cells[row + _AT_TIME + bisect_left(BOUNDS, seconds)] += 1
            cells[row + WIDTH - 1] += seconds

    def totals(self) -> list[float]:
        """Summed over the workers. → WIDTH numbers."""
        cells = self.cells.tolist()
        return [sum(cells[i::WIDTH]) for i in range(WIDTH)]


def board(buffer: bytearray | memoryview | None = None, worker: int = 0) -> Board:
    """A board in ``buffer``, or in this process's own memory."""
    return Board(memoryview(buffer if buffer is not None else bytearray(8 * WIDTH)).cast("d"), worker)


def render(totals: list[float], *, version: tuple[int, int], share: float, ready: bool) -> bytes:
    """The text that Prometheus reads (format 0.0.4)."""
    lines: list[str] = []
    for name, value in zip(_NAMES, totals):
        kind, said = PLAIN[name]
        _one(lines, f"understudy_{name}{'_total' if kind == 'counter' else ''}", kind, said, value)
    _one(lines, "understudy_ready", "gauge", "Whether decisions can be taken and written down.", float(ready))
    _one(lines, "understudy_promotion_version", "gauge", "Number of the promotion that is served.", version[0])
    _one(lines, "understudy_traffic_version", "gauge", "Number of the traffic direction that is served.", version[1])
    _one(lines, "understudy_canary_share", "gauge", "Share of the candidate in the mixture; 0 = none.", share)
    _head(lines, "understudy_requests_total", "counter", "Answers by path and status.")
    for p, path in enumerate(PATHS):
        for s, status in enumerate(STATUSES):
            count = totals[_AT_STATUS + p * len(STATUSES) + s]
            if count or status == 200:
                lines.append(f'understudy_requests_total{{path="{path}",status="{status}"}} {_number(count)}')
    _histogram(lines, totals[_AT_TIME:])
    return ("\n".join(lines) + "\n").encode()


def _histogram(lines: list[str], cells: list[float]) -> None:
    name = "understudy_request_seconds"
    _head(lines, name, "histogram", "Time from the request's arrival to its answer, event log included.")
    running = 0.0
    for bound, count in zip((*BOUNDS, "+Inf"), cells):
        running += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {_number(running)}')
    lines.append(f"{name}_sum {_number(cells[-1])}")
    lines.append(f"{name}_count {_number(running)}")


def _one(lines: list[str], name: str, kind: str, said: str, value: float) -> None:
    _head(lines, name, kind, said)
    lines.append(f"{name} {_number(value)}")


def _head(lines: list[str], name: str, kind: str, said: str) -> None:
    lines.append(f"# HELP {name} {said}")
    lines.append(f"# TYPE {name} {kind}")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
