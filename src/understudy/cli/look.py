"""Verbs that look: describe, show, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Home, Json, Seed, Settings, app
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
def features(
    data: Annotated[Path, typer.Argument(help="Dataset artifact.")],
    settings: Settings = None,
    *,
    kind: Annotated[list[str] | None, typer.Option(help="feature=kind, where the rules should not decide.")] = None,
    slice: Annotated[str, typer.Option(help="Which slice to look at.")] = "train",
    read: Annotated[Path | None, typer.Option(help="Normalization JSON to take in place of what is fitted.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another dataset of this problem: what moved.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Write the map as a normalization JSON.")] = None,
    json: Json = False,
) -> None:
    """What kind of number each feature is, as learners with features=identify will take it.

    Example: understudy features data --kind x0=quantile --to features.json
    """
    from understudy.runs.features import identify_options, look
    from understudy.runs.settings import parse_overrides

    options = identify_options(parse_overrides(kind or []), parse_overrides(settings or []))
    with working("identifying"):
        seen = look(data, options, slice=slice, read=read, against=against, to=to)
    say(Said(seen.lines, seen.data, seen.path), json=json)


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
