"""Where the loop meets the service: runs and serve stand on one floor, so only here are they brought together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError
from understudy.core.service import Logged, Service


@contextmanager
def loop_service(settings: Any, home: Path, url: str, key: str) -> Iterator[Service]:
    """The service a loop acts through: at a URL, or in this process."""
    if url:
        from understudy.serve.client import Client

        client = Client(url, key or None)
        served = client.status()["alias"]
        if served != settings.alias:  # asked before anything is entered in the ledger
            raise ConfigError(
                f"the service at {url} serves {served!r}; the experiment is on {settings.alias!r}",
                "Its decisions would be another alias's, and no promotion would ever reach it.",
                f"Say alias={served}, or give the service of {settings.alias!r}.",
                field="alias",
            )
        yield client
        return
    if settings.client is None:
        raise ConfigError(
            "a loop on live traffic needs to know its service",
            hint="Start one with: understudy serve; then: understudy loop loop.yaml --service http://127.0.0.1:8080",
            field="service",
        )
    from understudy.runs.loop_settings import problem_of
    from understudy.serve.local import LocalService

    problem, log, times = problem_of(settings), settings.log or None, settings.client.client_times
    with LocalService(home, settings.alias, log=log, problem=problem, client_times=times, poll=0.02) as service:
        yield service


def replayed(
    decision_id: str, *, every: bool, home: Path, alias: str, log: str | None
) -> tuple[list[str], dict[str, Any], int]:
    """Lines, data and exit code of decisions made again: 0 if all are equal bit for bit, else 1."""
    from understudy.data.context import Coder
    from understudy.runs.trace import decisions, served_problem, why
    from understudy.serve.deployment import policy_of

    if every == bool(decision_id):
        raise ConfigError("replay takes one decision's id, or --all", field="decision")
    find, coder = policy_of(home), Coder(served_problem(home, alias))
    asked = decisions(home=home, alias=alias, log=log) if every else [_one(why, decision_id, home, alias, log)]
    compared, different = 0, []
    for logged in asked:
        compared += 1
        again = _again(logged, find, coder)
        if isinstance(again, str) or again != logged:
            different.append((logged, again))
    lines = [f"{compared} decisions made again, {len(different)} different"]
    lines += [f"  {logged.decision_id}: {_difference(logged, again)}" for logged, again in different[:10]]
    if not every and not different:
        (logged,) = asked  # type: ignore[misc]
        lines = [f"{logged.decision_id}: {logged.action} with probability {logged.propensity}, equal bit for bit"]
    data = {"decisions": compared, "different": [logged.decision_id for logged, _ in different]}
    return lines, data, int(bool(different))


def _one(why: Any, decision_id: str, home: Path, alias: str, log: str | None) -> Logged:
    return why(decision_id, home=home, alias=alias, log=log).decision


def _again(logged: Logged, find: Any, coder: Any) -> Logged | str:
    """The decision made again in the same shape as it was written; what stopped it, if anything did."""
    import msgspec

    from understudy.core.errors import UnderstudyError
    from understudy.serve.engine import replay

    try:
        return msgspec.json.decode(msgspec.json.encode(replay(logged, find, coder)), type=Logged)
    except (UnderstudyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _difference(logged: Logged, again: Logged | str) -> str:
    if isinstance(again, str):
        return again
    names = ("action", "propensity", "propensities", "shadow")
    was, now = ({name: getattr(one, name) for name in names} for one in (logged, again))
    return "; ".join(f"{name} {was[name]} became {now[name]}" for name in names if was[name] != now[name])
