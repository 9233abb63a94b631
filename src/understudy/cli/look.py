"""Verbs that look: describe, show, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Home, Json, Seed, app
from understudy.cli.output import Said, say, working


@app.command()
def describe(
    data: Annotated[Path, typer.Argument(help="Dataset artifact, made by join.")],
    *,
    target: Annotated[str, typer.Option(help="Policy artifact whose overlap with the log to show.")] = "",
    behavior: Annotated[str, typer.Option(help="Policy artifact that produced the log, to recompute from.")] = "",
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Counts, rewards, overlap, and the audit: what is wrong with this log, and how to cure it.

    Example: understudy describe data
    """
    from understudy.runs.describe import describe

    with working("auditing"):
        told = describe(data, target=target or None, behavior=behavior or None, home=home)
    say(Said(told.lines, told.data), json=json)


@app.command()
def show(
    artifact: Annotated[str, typer.Argument(help="An artifact's folder, its id, or an alias.")],
    *,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Print any artifact with its lineage.

    Example: understudy show runs/trees
    """
    from understudy.runs.describe import show

    told = show(artifact, home=home)
    say(Said(told.lines, told.data), json=json)


@app.command()
def demo(
    *,
    to: Annotated[Path, typer.Option("--to", help="Folder for everything the demo makes.")] = Path("demo-output"),
    shuttle: Annotated[Path | None, typer.Option(help="Path of shuttle.trn, to use that data.")] = None,
    decisions: Annotated[int, typer.Option(help="How many decisions to log.")] = 20_000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """From a log to a proven policy, with pictures: the whole chain on data whose truth is known.

    Example: understudy demo --to demo-output
    """
    from understudy.runs.demo import demo

    shown = demo(to=to, shuttle=shuttle, decisions=decisions, seed=seed, say=None if json else print)
    say(Said([], shown.as_dict(), str(shown.report)), json=json)
