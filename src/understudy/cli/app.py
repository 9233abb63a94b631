"""The app, and the options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy import __version__

app = typer.Typer(
    name="understudy",
    help="Turns a log of past decisions into a better policy, and proves that it is better before it goes live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
To = Annotated[Path, typer.Option("--to", help="Folder of the artifact to write.")]
On = Annotated[Path, typer.Option("--on", help="Dataset artifact, made by join.")]
Home = Annotated[Path, typer.Option("--home", help="Folder of the ledger and of promoted policies.")]
Settings = Annotated[list[str] | None, typer.Argument(help="Settings, each key=value.", show_default=False)]
Experiment = Annotated[
    str, typer.Option(help="Take the next step of this experiment, in place of the usual arguments.")
]
Engine = Annotated[str, typer.Option(help="What runs the query: duckdb, or spark (extra spark, and Java 17).")]
Master = Annotated[str, typer.Option(help="With --engine spark: where Spark runs.")]
At = Annotated[str, typer.Option(help="With --experiment: which executor runs the stage.")]

HOME = Path(".understudy")
MASTER = "local[2]"


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Turns a log of past decisions into a better policy, and proves that it is better before it goes live."""
