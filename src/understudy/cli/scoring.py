"""Verbs that use a policy without a service: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Home, Json, app
from understudy.cli.output import Said, say, working

File = Annotated[Path, typer.Option("--to", help="File to write.")]
Replace = Annotated[bool, typer.Option("--replace", help="Put it in the place of what lies there.")]


@app.command()
def export(
    policy: Annotated[str, typer.Argument(help="Policy artifact: its folder, its id, or an alias.")],
    *,
    to: File,
    replace: Replace = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Write a policy as one ONNX file: features, model, mask, exploration and draw, for any runtime.

    Example: understudy export runs/trees --to policy.onnx
    """
    from understudy.runs.export import export

    with working("exporting"):
        made = export(policy, to=to, home=home, replace=replace)
    lines = [f"policy {made.policy_id} in {made.size:,} bytes, ONNX opset {made.opset}"]
    told = {"policy_id": made.policy_id, "bytes": made.size, "opset": made.opset}
    say(Said(lines, told, str(made.path)), json=json)
