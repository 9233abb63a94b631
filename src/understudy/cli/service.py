"""Verbs of the service: serve, key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Home, Json, app
from understudy.cli.output import Said, say

Alias = Annotated[str, typer.Argument(help="The alias to serve.")]
Place = Annotated[str | None, typer.Option("--log", help="Event log: a folder, or postgresql+psycopg://…")]
ProblemFile = Annotated[Path | None, typer.Option(help="Problem that is served; default: the live policy's.")]


@app.command()
def serve(
    alias: Alias = "production",
    *,
    home: Home = HOME,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(help="Processes, each with its own file of the log.", min=1, max=64)] = 1,
    log: Place = None,
    problem: ProblemFile = None,
    client_times: Annotated[bool, typer.Option("--client-times", help="A simulation: requests bring times.")] = False,
    rate: Annotated[float, typer.Option(help="Requests a second of one key, per worker; 0 = any.", min=0)] = 0.0,
) -> None:
    """Answer decisions and take rewards over HTTP, until SIGTERM. Prints "ready: URL" once it does.

    Example: understudy serve production --port 8080
    """
    from understudy.serve.server import serve
    from understudy.serve.worker import Settings

    code = serve(Settings(home=str(home), alias=alias, host=host, port=port, workers=workers, log=log,
                          problem=str(problem) if problem else None, client_times=client_times, rate=rate))  # fmt: skip
    raise SystemExit(code)


@app.command()
def key(
    action: Annotated[str, typer.Argument(help="add, list or revoke.")],
    name: Annotated[str, typer.Argument(help="The key to revoke, or its name.")] = "",
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="decide, reward, read, admin; several with commas or --scope again.")
    ] = None,
    expires: Annotated[str, typer.Option(help="When a new key ends: 90d, 12h or 30m; default: never.")] = "",
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Make, list or end keys of the service. A new key is shown once and stored only as a hash.

    Example: understudy key add --scope decide --scope reward --expires 90d
    """
    from understudy.data.home import now
    from understudy.serve.keys import key_lines

    lines, data = key_lines(action, name, home=home, scopes=scope or [], expires=expires, now=now())
    say(Said(lines, data), json=json)
