"""Verbs of the loop: start, loop, status, clean; and of a decision: why, replay."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from understudy.cli.app import HOME, DryRun, Home, Json, app
from understudy.cli.output import Said, say, working

Words = Annotated[
    list[str] | None, typer.Argument(help="Settings file (default: loop.yaml), then key=value.", show_default=False)
]
Experiment = Annotated[str, typer.Option(help="Id of the experiment; default: the only one there is.")]
Service = Annotated[str, typer.Option(help="URL of a running service; default: one in this process.")]
Key = Annotated[str, typer.Option(envvar="UNDERSTUDY_KEY", help="Key for the service at that URL.")]
Decision = Annotated[str, typer.Argument(help="Id of a decision.")]
Alias = Annotated[str, typer.Option("--for", help="The alias that decided.")]
Log = Annotated[str, typer.Option(help="Folder or URL of the event log; default: the home's.")]


@app.command()
def start(
    settings: Words = None,
    *,
    home: Home = HOME,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Start an experiment: enter it in the ledger and name its first policy. The steps follow one by one.

    Example: understudy start loop.yaml experiment=spring
    """
    from understudy.runs.experiment import start
    from understudy.runs.loop_settings import read_settings, resolved_lines

    told = read_settings(settings or [])
    if dry_run:
        return say(Said(resolved_lines(told), {"experiment": told.id, "settings": told}), json=json)
    with working("starting"):
        course = start(told, home=home)
    say(Said([f"experiment {course.id}"], {"experiment": course.id, "settings": told}, str(course.folder)), json=json)


@app.command()
def loop(
    settings: Words = None,
    *,
    service: Service = "",
    key: Key = "",
    home: Home = HOME,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Run the whole cycle unattended: serve, log, join, judge, promote, train. Killed, it goes on where it was.

    Example: understudy loop loop.yaml loops=3 size=200
    """
    from understudy.cli.serving import loop_service
    from understudy.runs.loop import report, run_loop
    from understudy.runs.loop_settings import read_settings, resolved_lines

    told = read_settings(settings or [])
    if dry_run:
        return say(Said(resolved_lines(told), {"experiment": told.id, "settings": told}), json=json)
    with working("looping"), loop_service(told, home, service, key) as acting:
        result = run_loop(told, home=home, service=acting, tell=lambda line: print(line, file=sys.stderr, flush=True))
    say(Said(result.lines(), report(result), str(home / "experiments" / told.id)), json=json)


@app.command()
def status(*, experiment: Experiment = "", home: Home = HOME, json: Json = False) -> None:
    """Where an experiment stands: turns, verdicts, who is live, what is next.

    Example: understudy status --experiment spring --json
    """
    from msgspec import to_builtins

    from understudy.runs.experiment import status
    from understudy.runs.standing import only_experiment, status_lines

    at = status(home, only_experiment(home, experiment))
    say(Said(status_lines(at), to_builtins(at)), json=json)


@app.command()
def clean(*, experiment: Experiment = "", home: Home = HOME, dry_run: DryRun = False, json: Json = False) -> None:
    """End an experiment and delete what its turns made; say what is deleted and what is kept.

    Example: understudy clean --experiment spring --dry-run
    """
    from understudy.runs.experiment import clean
    from understudy.runs.standing import only_experiment

    said = clean(home, only_experiment(home, experiment), dry_run=dry_run)
    deletes = [f"{'would delete' if dry_run else 'deleted'}: {line}" for line in said["deletes"]]
    say(Said([*deletes, *(f"kept: {line}" for line in said["keeps"])], dict(said)), json=json)


@app.command()
def why(
    decision: Decision, *, alias: Alias = "production", log: Log = "", home: Home = HOME, json: Json = False
) -> None:
    """From one decision back to its policy, verdict, estimates and exact training rows.

    Example: understudy why spring-1203
    """
    from msgspec import to_builtins

    from understudy.runs.trace import trace_lines, why

    trace = why(decision, home=home, alias=alias, log=log or None)
    say(Said(trace_lines(trace), to_builtins(trace)), json=json)


@app.command()
def replay(
    decision: Annotated[str, typer.Argument(help="Id of a decision; none with --all.")] = "",
    *,
    every: Annotated[bool, typer.Option("--all", help="Every decision of the log.")] = False,
    alias: Alias = "production",
    log: Log = "",
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Make a decision again from what was written down, and compare bit for bit.

    Example: understudy replay spring-1203
    """
    from understudy.cli.serving import replayed

    with working("deciding again"):
        lines, data, code = replayed(decision, every=every, home=home, alias=alias, log=log or None)
    say(Said(lines, data, code=code), json=json)
