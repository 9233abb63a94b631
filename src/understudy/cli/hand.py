"""Verbs that take either their usual arguments or an experiment: the loop by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.cli.output import Said, say, working
from understudy.core.errors import ConfigError


def need(**given: Any) -> tuple[Any, ...]:
    """The usual arguments, all of them. Raises: ConfigError names what is missing."""
    missing = [_shown(name) for name, value in given.items() if value in (None, "", [])]
    if missing:
        raise ConfigError(
            f"missing: {', '.join(missing)}", hint="Give them, or --experiment ID for an experiment's next step."
        )
    return tuple(given.values())


def refuse(experiment: str, **given: Any) -> None:
    """An experiment knows its own. Raises: ConfigError for an argument that it would silently ignore."""
    extra = [_shown(name) for name, value in given.items() if value]
    if extra:
        raise ConfigError(
            f"{', '.join(extra)} cannot be given with --experiment {experiment}",
            "Its settings were fixed when it was started.",
            "Leave one of the two out.",
            field="experiment",
        )


def by_hand(verb: str, experiment: str, home: Path, json: bool, **options: Any) -> None:
    """Take one step of an experiment and say what is next."""
    import msgspec

    from understudy.runs import experiment as steps
    from understudy.runs.course import open_course

    with working(verb):
        change = getattr(steps, verb)(home, experiment, **options)
    course = open_course(home, experiment)
    lines = [f"{verb} of turn {change.body['turn']}: {change.state.lower()}", *_told(change.body)]
    following = course.next
    lines.append(f"next: {following.verb} of turn {following.turn}" if following else "nothing is left to do")
    data = {"experiment": experiment, "job": msgspec.to_builtins(change), "next": following.verb if following else ""}
    say(Said(lines, data, str(course.folder)), json=json)


def _told(body: dict[str, Any]) -> list[str]:
    """What a person wants to know of a step's results."""
    if "mean_reward" in body:
        lines = [f"{body['decisions']} decisions, mean reward {body['mean_reward']:.4f}"]
        if body.get("pending"):
            lines.append(f"{body['pending']} more whose window is still open: they belong to the next turn")
        guard = body.get("guard")
        return [*lines, "GUARDRAIL: the live policy was rolled back"] if guard and guard["breached"] else lines
    if "rows" in body:
        return [f"policy {body['policy']} from {body['rows']} decisions"]
    if "outcome" in body:
        return [f"{body['outcome'].replace('_', ' ').upper()}: {body['reason']}"]
    return [f"live: {body['live']}"] if "live" in body else []


def _shown(name: str) -> str:
    return name if name.isupper() else f"--{name.replace('_', '-')}"
