"""The verb that compares studies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import Json, Seed, app
from understudy.cli.output import Said, say, working


@app.command()
def compare(
    studies: Annotated[list[Path], typer.Argument(help="Study folders, made by sweep.")],
    *,
    metric: Annotated[str, typer.Option(help="What is compared; more is better.")] = "return",
    curve: Annotated[str, typer.Option(help="The metric whose course is drawn.")] = "evaluation",
    by: Annotated[str, typer.Option(help="Fields that make a learner: learner,settings.family")] = "learner",
    select: Annotated[str, typer.Option(help="Seeds that choose each learner's setting: 0:3, or 1,5,9.")] = "",
    fresh: Annotated[str, typer.Option(help="Seeds that are reported; default: all others.")] = "",
    same_seeds: Annotated[bool, typer.Option("--same-seeds", help="Choose and report on the same, corrected.")] = False,
    statistic: Annotated[str, typer.Option(help="What ranks and is drawn: iqm, mean, median.")] = "iqm",
    level: Annotated[float, typer.Option(help="Of intervals; 1 - level is the chance of any false claim.")] = 0.95,
    failed: Annotated[str, typer.Option(help="Score of a failed run: lowest (of its task), or a number.")] = "lowest",
    scale: Annotated[list[str] | None, typer.Option(help="TASK=LOW:HIGH, scores that become 0 and 1.")] = None,
    against: Annotated[str, typer.Option(help="Only differences from this learner; fewer claims, each easier.")] = "",
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the page, its pictures and report.json.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Each learner's best setting, chosen on some seeds and reported on others, and what the differences prove.

    Example: understudy compare study --by learner --select 0:3 --to report
    """
    from understudy.runs.compare.verb import told, wanted

    asked = wanted(metric, curve, by, statistic, failed, select=select, fresh=fresh, same=same_seeds, level=level,
                   scales=scale or [], against=against, seed=seed)  # fmt: skip
    with working("comparing"):
        lines, data, page = told(studies, asked, to, sys.argv[1:])
    say(Said(lines, data, str(page or "")), json=json)
