"""A real PostgreSQL for tests: Debian's, in a temporary folder, on a socket of its own. Skips, visibly, without it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

_PATIENCE = 30  # seconds for the server to start or to stop


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a server's database ``postgres``, of a server that lives as long as the context.

    Raises: pytest.skip where PostgreSQL is not installed, or may not be run.
    """
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to be root
        if shutil.which("setpriv") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    with contextlib.ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="understudy-pg-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        if user:
            shutil.chown(home, "postgres")
        log = stack.enter_context((home / "server.txt").open("wb"))
        make = [programs / "initdb", "-D", home / "data", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]
        made = subprocess.run([*user, *make], capture_output=True, text=True, cwd=home)
        if made.returncode:
            pytest.skip(f"PostgreSQL could not make a database here: {made.stderr.strip()}")
        settings = {"listen_addresses": "", "unix_socket_directories": home, "max_connections": 60}
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        serve = [*user, programs / "postgres", "-D", home / "data", *options]
        server = subprocess.Popen(serve, stdout=log, stderr=log, cwd=home)
        stack.callback(_stop, server)
        url = f"postgresql+psycopg://postgres@/postgres?host={home}"
        _await(url, server, home)
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running server: one per test process, started when first asked for."""
    with postgresql() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty place on it."""
    return fresh_schema(postgres_server)


def fresh_schema(url: str) -> str:
    """The URL of a new, empty schema on the same server: as good as a database, and made in no time."""
    name = f"t{uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(sa.text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    place = sa.make_url(url).update_query_dict({"options": f"-csearch_path={name}"})
    return place.render_as_string(hide_password=False)


def _await(url: str, server: subprocess.Popen, home: Path) -> None:
    engine, until = sa.create_engine(url, poolclass=sa.NullPool), time.monotonic() + _PATIENCE
    while True:
        try:
            with engine.connect():
                return
        except sa.exc.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                pytest.skip(f"PostgreSQL did not start: {(home / 'server.txt').read_text()[-500:]}")
            time.sleep(0.05)


def _stop(server: subprocess.Popen) -> None:
    """Fast shutdown: open transactions are rolled back, connections closed."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
