"""Verbs around a running service: drive (a simulated application), learn (a process that learns per event)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.app import HOME, Home, Json, Seed, Settings, app
from understudy.cli.output import Said, say, working
from understudy.core.errors import ConfigError, ExecutorError
from understudy.core.problem import Problem

Alias = Annotated[str, typer.Option("--for", help="The alias that is served.")]
Url = Annotated[str, typer.Option(help="Address of the service, such as http://127.0.0.1:8080.")]
Key = Annotated[str, typer.Option(help="Key of the service, where it needs one.", envvar="UNDERSTUDY_KEY")]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@app.command()
def drive(
    env: Annotated[str, typer.Argument(help="A registered environment: digits, shuttle, drift, bandit, …")],
    settings: Settings = None,
    *,
    url: Url = "",
    key: Key = "",
    decisions: Annotated[int, typer.Option("--decisions", "-n", help="How many to ask for.", min=1)] = 500,
    delay: Annotated[str, typer.Option(help="Mean time from a decision to its reward: 0s, 30s, 10m.")] = "0s",
    spread: Annotated[str, typer.Option(help="Of delays: fixed, exponential or lognormal.")] = "exponential",
    duplicates: Annotated[float, typer.Option(help="Share of rewards sent twice.", min=0, max=1)] = 0.0,
    orphans: Annotated[float, typer.Option(help="Rewards of nobody's decisions, per decision.", min=0, max=1)] = 0.0,
    lost: Annotated[float, typer.Option(help="Share of rewards never sent.", min=0, max=1)] = 0.0,
    batch: Annotated[int, typer.Option(help="Decisions per request.", min=1)] = 1,
    first: Annotated[int, typer.Option(help="Number of the first decision: go on where another run ended.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a learner has made use of each reward.")] = False,
    times: Annotated[bool, typer.Option(help="Send simulated times; the service needs --client-times.")] = True,
    problem_to: Annotated[Path | None, typer.Option(help="Only write the world's problem there, and stop.")] = None,
    alias: Alias = "production",
    home: Home = HOME,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Play the application: ask for decisions, report rewards late and in disorder, say what was earned.

    Example: understudy drive digits --url http://127.0.0.1:8080 -n 500 --delay 10m --duplicates 0.1
    """
    from understudy.data.times import MICRO, duration
    from understudy.runs.client import Delivery, drive, patience
    from understudy.runs.settings import parse_overrides
    from understudy.runs.worlds import make_env

    world = make_env(env, parse_overrides(settings or []))
    if problem_to is not None:
        return _write_problem(world.problem, problem_to, json)
    how = Delivery(duration(delay, field="delay") / MICRO, spread, duplicates, orphans, lost)
    with working("driving"), _service(url, key, home, alias, world.problem) as service:
        driven = drive(world, service, decisions, seed=seed, first=first, delivery=how, batch=batch,
                       client_times=times, after=patience(service) if wait else None)  # fmt: skip
    return say(Said(driven.lines(), driven.as_dict()), json=json)


@app.command()
def learn(
    learner: Annotated[str, typer.Argument(help="A learner that takes decisions as they come: online_linear, …")],
    settings: Settings = None,
    *,
    alias: Alias = "production",
    problem: Annotated[Path | None, typer.Option(help="Problem that is served; default: the live policy's.")] = None,
    log: Annotated[str, typer.Option(help="Event log; default: the home's own.")] = "",
    url: Annotated[str, typer.Option(help="Service to tell of each new policy; else it looks by itself.")] = "",
    key: Key = "",
    every: Annotated[int, typer.Option(help="Decisions between two policies, at least.", min=1)] = 1,
    once: Annotated[bool, typer.Option("--once", help="Stop when everything in the log has been learned.")] = False,
    home: Home = HOME,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Learn per event: follow a service's log and make each new policy live at once. No gate; every step is audited.

    Example: understudy learn online_linear --url http://127.0.0.1:8080
    """
    from understudy.data.eventlog import open_event_log
    from understudy.data.home import Home as Folder
    from understudy.runs.follow import Follower, Lesson, follow
    from understudy.runs.settings import parse_overrides, text_fields

    place = Folder(home)
    lesson = Lesson(learner, parse_overrides(settings or [], text=text_fields("learners", learner)), seed, every)
    events = open_event_log(log or place.log(alias), None)
    follower = Follower(lesson, _problem(problem, place, alias), place, alias, events, _teller(url, key))
    print(f"ready: {follower.seen} decisions learned so far", file=sys.stderr, flush=True)
    with _until_told() as stop:
        follow(follower, stop=stop, once=once)
    say(Said(follower.lines(), follower.as_dict()), json=json)


@contextmanager
def _service(url: str, key: str, home: Path, alias: str, problem: Problem) -> Iterator[Any]:
    """The service at an address, or one in this process over the same home and log."""
    if url:
        from understudy.serve.client import Client

        with Client(url, key or None) as client:
            yield client
        return
    from understudy.serve.local import LocalService

    with LocalService(home, alias, problem=problem, client_times=True) as service:
        yield service


def _write_problem(problem: Problem, to: Path, json: bool) -> None:
    import msgspec

    to.write_bytes(msgspec.yaml.encode(problem))
    say(Said([], {"problem": problem}, str(to)), json=json)


def _problem(file: Path | None, home: Any, alias: str) -> Problem:
    """As given, or that of the policy that is live."""
    from understudy.core.problem import decode_problem
    from understudy.models.policy_file import read_policy

    if file is not None:
        return decode_problem(file.read_bytes(), where=str(file), yaml=True)
    live = home.current(alias)
    if live is None:
        raise ConfigError(
            f"nobody is live under {alias!r}, so what is served is not known",
            hint="Give the service's own: --problem problem.yaml",
            field="problem",
        )
    return read_policy(live).problem


def _teller(url: str, key: str) -> Callable[[], None] | None:
    """How the service hears of a new policy; if it cannot be reached it will see by itself."""
    if not url:
        return None
    from understudy.serve.client import Client

    client = Client(url, key or None, timeout=2.0)

    def tell() -> None:
        with suppress(ExecutorError):
            client.reload()

    return tell


@contextmanager
def _until_told() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT has come; what is known is saved before the process ends."""
    told: list[int] = []
    before = {name: signal.signal(name, lambda number, _: told.append(number)) for name in _SIGNALS}
    try:
        yield lambda: bool(told)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
