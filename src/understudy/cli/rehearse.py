"""``train --in WORLD``: the half of the verb that needs no log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from understudy.cli.output import Said, already, say, watched
from understudy.core.errors import ConfigError


def refuse_log(**given: Any) -> None:
    """Raises: ConfigError for an option that is about a log."""
    if extra := _named(given):
        raise ConfigError(f"{extra} cannot be given with --in", "In a world there is no log.", field="in")


def refuse_drawing(**given: Any) -> None:
    """Raises: ConfigError for an option that is about pictures of a world."""
    if extra := _named(given):
        raise ConfigError(f"{extra} needs --in WORLD", "A log cannot be drawn.", field="in")


def _named(given: dict[str, Any]) -> str:
    return ", ".join(f"--{name.strip('_').replace('_', '-')}" for name, value in given.items() if value)


def with_best(search: Path | None, learner: str | None, settings: list[str] | None) -> list[str]:
    """The settings typed, and before them those of a search that were not typed."""
    if search is None:
        return settings or []
    import msgspec

    from understudy.runs.tuning.found import best_of

    typed = {word.partition("=")[0] for word in settings or []}
    best = best_of(search, learner or "")
    return [f"{key}={msgspec.json.encode(value).decode()}" for key, value in best.items() if key not in typed] + (
        settings or []
    )


# More than seven parameters: they are what was typed.
def rehearsed(
    name: str,
    to: Path,
    world: str,
    settings: list[str],
    choose: str,
    seed: int,
    *,
    home: Path,
    tensorboard: Path | None,
    drawn: dict[str, Any],
    dry_run: bool,
    json: bool,
) -> None:
    """Train in a world and say what came of it."""
    from understudy.runs.epochs import read_curves
    from understudy.runs.rehearsal import asked, filming, rehearse
    from understudy.runs.settings import parse_overrides, text_fields

    what = asked(name, world, parse_overrides(settings, text=text_fields("learners", name)), choose=choose, seed=seed)
    if dry_run:
        return say(Said([f"{key}: {value}" for key, value in asdict(what).items()], asdict(what)), json=json)
    done = already(to)
    with watched(tensorboard) as show:
        manifest = rehearse(what, to=to, home=home, show=show, film=filming(what, **drawn))
    curves = read_curves(to)
    lines = [*done, f"{name} learned from {manifest.counts['decisions']} decisions in {world}; {curves.why}"]
    return say(Said(lines, {"id": manifest.id, "curves": curves}, str(to)), json=json)
