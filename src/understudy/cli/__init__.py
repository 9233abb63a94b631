"""The command line: thin verbs over ``runs``. One sentence in two voices, library and shell."""

from __future__ import annotations

import os
import sys

from understudy.cli import (  # noqa: F401 - each module adds its verbs to the app
    chain,
    client,
    clusters,
    compare,
    events,
    look,
    loop,
    proof,
    scoring,
    sequences,
    service,
    sweeps,
)
from understudy.cli.app import app
from understudy.cli.errand import placed
from understudy.cli.output import fail
from understudy.core.errors import ConfigError, StoreError, UnderstudyError

__all__ = ["app", "main"]

# The order of --help: first the chain, then what looks and plans.
VERBS = [
    "demo",
    "simulate",
    "identify",
    "ingest",
    "join",
    "timeline",
    "describe",
    "features",
    "train",
    "evaluate",
    "gate",
    "promote",
    "rollback",
    "predict",
    "export",
    "report",
    "show",
    "plan",
    "serve",
    "key",
    "start",
    "loop",
    "status",
    "clean",
    "why",
    "replay",
    "drive",
    "learn",
    "init",
    "sweep",
    "tune",
    "run",
    "logs",
    "cancel",
    "compare",
    "cluster",
]
app.registered_commands.sort(key=lambda command: VERBS.index(getattr(command.callback, "__name__", "")))
for _command in app.registered_commands:
    _command.callback = placed(_command.callback)  # pyright: ignore[reportArgumentType]


def main(argv: list[str] | None = None) -> int:
    """Run one verb. 0 ok · 1 failure · 2 usage · 3 hold · 4 not enough evidence · 5 refused."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = app(arguments, prog_name="understudy", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UnderstudyError as error:
        return fail(error, json="--json" in arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a folder that may not be written: the machine's faults in the one shape
        return fail(_machine(error), json="--json" in arguments)
    except Exception as error:  # click's usage errors, whichever click typer brings along
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        verb = next((word for word in arguments[:1] if word in VERBS), "")
        more = f"understudy {verb} --help shows an example." if verb else "understudy --help lists the verbs."
        if "--json" in arguments:
            return fail(ConfigError(said(), hint=more), json=True)
        print(f"usage: {said()}\n  {more}", file=sys.stderr)
        return 2


def _machine(error: OSError) -> StoreError:
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
    return StoreError(
        f"{where}: {error.strerror}" if where and error.strerror else str(error),
        "No artifact was left half-written; what was finished before stands.",
        "Check that the path can be written and the disk has room, then run the same line again.",
        field=where,
    )


def run() -> None:
    """Entry point of the ``understudy`` script."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # "| head" has read enough; what is left to say goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    raise SystemExit(code)
