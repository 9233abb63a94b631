"""Processes of the service: one that listens, or several under one that watches them. SIGTERM ends either cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any

import msgspec
import structlog

from understudy.core.errors import ConfigError, ExecutorError, UnderstudyError
from understudy.serve.guard import LOOPBACK
from understudy.serve.keys import read_keys
from understudy.serve.metrics import WIDTH
from understudy.serve.restarts import QUICK, Restarts
from understudy.serve.worker import Settings

_log = structlog.get_logger("understudy.serve")

_DRAIN = 0.3  # seconds in which answers ask clients to leave, before nobody new is taken
_FINISH = 6.0  # seconds for requests in flight after that
_PATIENCE = 30.0  # seconds for a worker to become ready
_READY = b"ready"


def serve(settings: Settings, *, announce: Any = print) -> int:
    """Serve until SIGTERM or SIGINT. ``announce`` is told the address once requests are answered. → exit code.

    Raises: ConfigError for an address in use, a problem nobody knows, or an open bind without keys.
    """
    check_bind(settings)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), processors=_PROCESSORS)
    held, port = _hold(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, port=port)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    ready = f"ready: http://{shown}:{port}"
    with held, _board(settings.workers) as board:
        if settings.workers == 1:
            return run_worker(settings, 0, board, lambda: announce(ready, flush=True))
        return _Supervisor(settings, board.fileno()).run(lambda: announce(ready, flush=True))


_PROCESSORS = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    structlog.processors.JSONRenderer(),
]


def check_bind(settings: Settings) -> None:
    """Raises: ConfigError for an address beyond this machine while there are no keys."""
    if settings.host not in LOOPBACK and not read_keys(settings.home).by_name:
        raise ConfigError(
            f"{settings.host} can be reached from other machines, and there are no keys",
            "Anybody there could take decisions and report rewards.",
            f"understudy key add --scope decide --scope reward --home {settings.home}",
            field="host",
        )


def _hold(host: str, port: int) -> tuple[socket.socket, int]:
    """Keep the address for as long as this runs. Workers share it, so a second service would go unnoticed otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}",
            hint="Another process may have it; --port 0 takes any free one.",
            field="port",
        ) from error
    return held, held.getsockname()[1]


def _board(workers: int) -> IO[bytes]:
    """A file without a name for the figures of all workers."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.truncate(8 * WIDTH * workers)
    return file


def run_worker(settings: Settings, index: int, board: IO[bytes], ready: Any) -> int:
    """Be one worker until told to stop, then leave without waiting for what cannot answer anybody any more.

    Raises: ConfigError, StoreError if it cannot begin.
    """
    from understudy.serve.app import make_app
    from understudy.serve.worker import Worker

    check_bind(settings)  # again: the keys may have gone since, and a worker that is started anew would let in anybody
    shared = mmap.mmap(board.fileno(), 8 * WIDTH * settings.workers)  # for as long as the process lives
    worker = Worker(settings, index, memoryview(shared))
    try:
        asyncio.run(_listen(worker, make_app(worker), ready))
    except UnderstudyError as error:
        _log.error("stopped", reason=str(error))
        return 1
    # Everything is on the disk. The server's own threads may abort the process while Python takes itself apart,
    # so that is not waited for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _listen(worker: Any, app: Any, ready: Any) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await worker.start()
    server = Server(
        app,
        address=worker.settings.host,
        port=worker.settings.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=2_048,
        backpressure=worker.settings.connections,
    )
    serving = asyncio.create_task(server.serve())
    try:
        await _reached(worker.settings, serving)
        ready()
        _log.info("ready", worker=worker.index, **worker.said())
        await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        worker.draining = True
        await asyncio.sleep(_DRAIN)
        server.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(serving, _FINISH)
    finally:
        await worker.close()
        _log.info("stopped", worker=worker.index)


async def _reached(settings: Settings, serving: asyncio.Task[None]) -> None:
    """Return once the address answers."""
    end = time.monotonic() + _PATIENCE
    while not serving.done() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(settings.host, settings.port)
            writer.close()
            return
        await asyncio.sleep(0.01)
    raise ExecutorError(f"nothing listens on {settings.host}:{settings.port}")


class _Supervisor:
    """Starts the workers, starts again those that die, and ends them all; if it dies, they end by themselves.

    One that dies again and again is given up, and the others go on; with the last one the service ends.
    """

    def __init__(self, settings: Settings, board: int) -> None:
        self._settings, self._board = settings, board
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()

    def run(self, ready: Any) -> int:
        """Until SIGTERM or SIGINT. → exit code. Raises: ExecutorError if every worker had to be given up."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self._stopping.set())
        try:
            self._workers = [self._start(i) for i in range(self._settings.workers)]
            for worker in self._workers:
                self._await(worker)
            ready()
            restarts = [Restarts(time.monotonic()) for _ in self._workers]
            while not self._stopping.wait(0.2):
                for i, restart in enumerate(restarts):
                    self._mend(i, restart)
                if all(restart.given_up for restart in restarts):
                    raise ExecutorError(
                        f"every worker died {restarts[0].quick} times in a row within {QUICK:g} s of its start",
                        "There is nobody left who could answer.",
                        "The log on standard error says what each died of.",
                    )
        finally:
            code = self._end()
        return code

    def _mend(self, index: int, restart: Restarts) -> None:
        """Look after one worker, dead or alive."""
        now, worker = time.monotonic(), self._workers[index]
        if restart.start(now):
            self._workers[index] = self._start(index)
        elif restart.due is None and not restart.given_up and worker.poll() is not None:
            restart.died(now)
            _log.error("worker died", worker=index, code=worker.returncode, quick_deaths=restart.quick)
            if restart.given_up:
                _log.error("worker given up; the others go on", worker=index, quick_deaths=restart.quick)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        told = msgspec.json.encode((self._settings, index, self._board)).decode()
        return subprocess.Popen(
            [sys.executable, "-m", "understudy.serve.server", told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._board,),
        )

    def _await(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdout is not None
        if worker.stdout.readline().strip() != _READY and not self._stopping.is_set():
            raise ExecutorError("a worker did not start", hint="Its log on standard error says why.")

    def _end(self) -> int:
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        end = time.monotonic() + _DRAIN + _FINISH + 2
        for worker in self._workers:
            try:
                worker.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        # A worker that was only just being started again ends by the signal itself.
        return 0 if all(worker.returncode in (0, -signal.SIGTERM) for worker in self._workers) else 1


def main(told: str) -> int:
    """A worker as a process of its own."""
    settings, index, board = msgspec.json.decode(told, type=tuple[Settings, int, int])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), processors=_PROCESSORS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with os.fdopen(board, "r+b") as file:
        try:
            return run_worker(settings, index, file, lambda: print(_READY.decode(), flush=True))
        except UnderstudyError as error:
            _log.error("not started", reason=str(error))
            return 1


def _end_with_parent() -> None:
    """Standard input ends when the supervisor does, however it ended."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
