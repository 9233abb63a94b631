"""The verb for what jobs need where they run: cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import DryRun, Json, app
from understudy.cli.output import Said, say, working


@app.command()
def cluster(
    action: Annotated[str, typer.Argument(help="setup.")],
    file: Annotated[Path, typer.Argument(help="Cluster file, YAML: kind, and the settings of that executor.")],
    *,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make ready what jobs need where they run: an environment on a cluster, a queue at AWS. The same line mends it.

    Example: understudy cluster setup aws.yaml --dry-run
    """
    from understudy.runs.executors.build import set_up

    with working("setting up"):
        lines = set_up(action, file, dry_run=dry_run)
    say(Said(lines, {"done": [] if dry_run else lines, "would": lines if dry_run else []}), json=json)
