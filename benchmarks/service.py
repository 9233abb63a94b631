"""What the fault and speed benchmarks of the service share: a home with policies, and a server to hurt.

Only processes that were started here are ended, by their id; servers listen on loopback.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.manifest import Manifest
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data.artifact import write_artifact
from understudy.data.home import Home, now
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Explore
from understudy.models.policy_file import save_policy
from understudy.models.ridge import LinearModel

ALIAS, FEATURES, ACTIONS = "production", 20, 10
PROBLEM = Problem(
    features=tuple(Feature(name=f"x{j}") for j in range(FEATURES)),
    actions=ActionSpace(names=tuple(f"a{i}" for i in range(ACTIONS))),
)
RUN = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def linear(seed: int, rule: str = "epsilon_greedy", amount: float = 0.1) -> Explore:
    """A linear policy of 20 standardised numbers and 10 actions, different for every seed."""
    rng = np.random.default_rng(seed)
    columns = tuple(
        FittedFeature(kind="number", source=j, name=f"x{j}", location=0.1 * j / FEATURES, scale=1.0 + 0.01 * j)
        for j in range(FEATURES)
    )
    coef = rng.normal(0, 0.1, (ACTIONS, FEATURES))
    return Explore(LinearModel(FeatureMap(columns), coef, rng.uniform(0.3, 0.6, ACTIONS)), rule, amount)


def keep(home: Path, policy: Any, name: str, problem: Problem = PROBLEM) -> str:
    """Write a policy artifact and keep it in the home. Returns its id."""
    manifest = Manifest(kind="policy", problem_hash=problem.hash, config={"learner": name})

    def fill(folder: Path) -> dict[str, int]:
        save_policy(policy, folder, problem=problem)
        return {}

    write_artifact(home / "made" / name, manifest, fill)
    Home(home).record(home / "made" / name)
    return Home(home).keep(home / "made" / name).name


def make_home(folder: Path, policies: int = 1) -> list[str]:
    """A home with linear policies kept in it, the first of them live. Returns their ids."""
    ids = [keep(folder, linear(seed), f"linear{seed}") for seed in range(policies)]
    Home(folder).ledger.install(ALIAS, ids[0], time=now(), reason="the first of a benchmark")
    return ids


def scratch() -> Path:
    """Where homes of benchmarks lie: on the disk of the repository, for another may need no time to sync."""
    folder = Path(__file__).resolve().parents[1] / ".understudy"
    folder.mkdir(exist_ok=True)
    return folder


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`understudy serve` (or another command) as a process group of its own, which can be killed and started again.

    Args:
        command: what to run instead, ``{port}`` filled in.
        wrap: a command in front, such as ``taskset -c 0``.
    """

    def __init__(
        self, home: Path, *, command: Sequence[str] = (), wrap: Sequence[str] = (), options: Sequence[str] = (),
        env: dict[str, str] | None = None, port: int | None = None, ready_path: str = "/ready",
    ) -> None:  # fmt: skip
        self.port, self.home, self.ready_path = port or free_port(), Path(home), ready_path
        own = [sys.executable, "-c", RUN, "serve", ALIAS, "--home", str(home), "--port", "{port}", *options]
        self._command = [*wrap, *(part.replace("{port}", str(self.port)) for part in (command or own))]
        self._env = os.environ | ONE_THREAD | (env or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._family: list[int] = []
        self.said = self.home / f"server-{self.port}.log"

    def start(self) -> Server:
        """Start it; ready or not."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.said.open("ab") as out:
            self.process = subprocess.Popen(
                self._command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env
            )
        self.begun = time.monotonic()
        return self

    def wait_ready(self, limit: float = 30.0) -> float:
        """Seconds from start until it says that it is ready."""
        assert self.process is not None
        while time.monotonic() - self.begun < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.words()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(self.ready_path)[0] == 200:
                    self.pids()
                    return time.monotonic() - self.begun
            time.sleep(0.01)
        raise RuntimeError(f"the server was not ready within {limit} s: {self.words()}")

    def get(self, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
        """Status and body of one GET."""
        return self.ask("GET", path, None, timeout)[:2]

    def ask(self, method: str, path: str, body: bytes | None, timeout: float = 15.0) -> tuple[int, bytes, dict]:
        """Status, body and headers (lower case) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            reply = connection.getresponse()
            return reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()}
        finally:
            connection.close()

    def pids(self) -> list[int]:
        """The processes of the group now."""
        assert self.process is not None
        self._family = [pid for pid in _family(self.process.pid) if _alive(pid)]
        return self._family

    def worker(self) -> int:
        """The process that answers: the one that listens and has the most threads."""
        return max(self.pids(), key=lambda pid: len(os.listdir(f"/proc/{pid}/task")))

    def cpu(self) -> float:
        """CPU seconds, user and system, of all its processes so far."""
        return sum(_cpu(pid) for pid in self.pids())

    def rss(self) -> float:
        """MiB that its processes hold."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids()]
        return sum(pages) * PAGE / 2**20

    def kill(self) -> None:
        """SIGKILL to the whole group; returns when none of it lives."""
        assert self.process is not None
        family = self.pids() if self.process.poll() is None else self._family
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        end = time.monotonic() + 10
        while any(_alive(pid) for pid in family) and time.monotonic() < end:
            time.sleep(0.002)

    def terminate(self, limit: float = 30.0) -> tuple[float, int]:
        """SIGTERM; (seconds until it had ended, its exit status)."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit)
        return time.monotonic() - begun, code

    def words(self) -> str:
        """The end of what it said."""
        return self.said.read_text(errors="replace")[-2000:] if self.said.exists() else ""

    def __enter__(self) -> Server:
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found += [int(child) for child in Path(f"/proc/{one}/task/{task}/children").read_text().split()]
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[at]) for at in (11, 12)) / TICKS
    return 0.0
