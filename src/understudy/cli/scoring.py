"""Verbs that use a policy without a service: predict, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Home, Json, app
from understudy.cli.output import Said, counting, say, working

File = Annotated[Path, typer.Option("--to", help="File to write.")]
Replace = Annotated[bool, typer.Option("--replace", help="Put it in the place of what lies there.")]


@app.command()
def predict(
    states: Annotated[Path, typer.Argument(help="States to decide on: .jsonl, .csv or .parquet.")],
    *,
    policy: Annotated[str, typer.Option(help="Policy artifact: its folder, its id, or an alias.")],
    to: File,
    application: Annotated[str, typer.Option(help="Whose draws; default: the alias, or the policy's id.")] = "",
    seed: Annotated[int, typer.Option(help="Draws of rows that have no id of their own.")] = 0,
    time: Annotated[str, typer.Option(help="Time of rows that have none: now, none, seconds, or ISO 8601.")] = "now",
    quarantine: Annotated[Path | None, typer.Option(help="File for rows that cannot be decided on.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Rows may have been decided already.")] = False,
    replace: Replace = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Decide on every state of a file and write it with action, propensity and probabilities: the next log.

    Example: understudy predict states.jsonl --policy runs/trees --to decisions.jsonl
    """
    from understudy.runs.predict import moment, predict

    made = predict(
        states, policy=policy, to=to, home=home, application=application or None, seed=seed, time=moment(time),
        quarantine=quarantine, overwrite=overwrite, replace=replace, told=counting("decided"),
    )  # fmt: skip
    say(Said(made.lines(), made.as_dict(), str(made.path)), json=json)


@app.command()
def export(
    policy: Annotated[str, typer.Argument(help="Policy artifact: its folder, its id, an alias; or a study.")],
    *,
    to: File,
    replace: Replace = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Write a policy as one ONNX file: features, model, mask, exploration and draw; or a study as one nested JSON.

    Example: understudy export runs/trees --to policy.onnx
    """
    from understudy.runs.export import export, is_study, nested

    if is_study(policy):
        return say(Said([f"study {policy}, as one nested JSON"], path=str(nested(policy, to))), json=json)
    with working("exporting"):
        made = export(policy, to=to, home=home, replace=replace)
    lines = [f"policy {made.policy_id} in {made.size:,} bytes, ONNX opset {made.opset}"]
    told = {"policy_id": made.policy_id, "bytes": made.size, "opset": made.opset}
    return say(Said(lines, told, str(made.path)), json=json)
