"""``s3://`` wherever a verb takes a folder or a file: one wrapper around all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from understudy.cli.app import HOME
from understudy.core.errors import ConfigError

WRITES = ("to", "gif", "quarantine", "problem_to", "tensorboard")  # every other option of a verb is only read
HERE = ("home", "log")  # databases: they have to lie on this machine
SHARES = ("sweep", "tune", "run")  # verbs whose --to many write to, as they go
_running: list[Any] = []  # the errand of the verb that runs now


def placed(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The verb with places fetched before it, and what it wrote brought to its place after it."""

    @wraps(verb)
    def run(**given: Any) -> Any:
        if given.get("engine") == "spark" or not any(_far(value) for value in given.values()):
            return verb(**given)
        from understudy.data.places import Errand

        errand = Errand(Path(given.get("home") or HOME) / "fetched")
        _running.append(errand)
        try:
            verb(**{name: _near(errand, verb.__name__, name, value) for name, value in given.items()})
            errand.finish()
        finally:
            _running.remove(errand)
            errand.close()

    return run


def delivered(text: str) -> str:
    """Text to print, once everything it speaks of is at its place; local copies are called by their places."""
    if not _running:
        return text
    from understudy.data.places import spoken

    _running[-1].finish()
    return spoken(text)


def called(text: str) -> str:
    """A line of progress, in which local copies are called by their places."""
    if not _running:
        return text
    from understudy.data.places import spoken

    return spoken(text)


def _far(value: Any) -> bool:
    from understudy.data.store import remote

    if isinstance(value, list):
        return any(_far(item) for item in value)
    return isinstance(value, str | Path) and ":/" in str(value) and bool(remote(value))


def _near(errand: Any, verb: str, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_near(errand, verb, name, item) for item in value]
    if not _far(value):
        return value
    if name in HERE:
        raise ConfigError(
            f"--{name} {value} is not on this machine",
            "It holds databases, which a bucket cannot.",
            "Give a local folder; artifacts themselves may lie in the bucket.",
            field=name,
        )
    if name == "to" and verb in SHARES:
        return type(value)(errand.share(value))
    return type(value)(errand.write(value) if name in WRITES else errand.read(value))
