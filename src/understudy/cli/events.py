"""Verbs that bring data in: simulate, identify, ingest, join."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, MASTER, DryRun, Engine, Experiment, Home, Json, Master, Seed, Settings, To, app
from understudy.cli.hand import by_hand, need, refuse
from understudy.cli.output import Said, already, say, working

Sources = Annotated[list[Path], typer.Argument(help="Files: JSON lines, CSV or Parquet.")]


@app.command()
def simulate(
    env: Annotated[str, typer.Argument(help="digits, bandit, cartpole, pendulum, …, or an id of Gymnasium.")],
    settings: Settings = None,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="Where the log is to lie: a folder; of episodes also .csv, .parquet or .jsonl, or nowhere."
        ),
    ] = None,
    behavior: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="uniform, warm (bandits), fixed (with probs=.5,.5), or a policy artifact; runs/a@7 is its epoch 7.",
        ),
    ] = None,
    decisions: Annotated[int | None, typer.Option(help="Of a bandit: how many decisions to log; else 10000.")] = None,
    envs: Annotated[int | None, typer.Option(help="Of episodes: how many worlds side by side; else 100.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Of episodes: how many in each world; else 1.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Of episodes: cut each after so many steps.")] = None,
    gif: Annotated[Path | None, typer.Option(help="Of episodes: one of them as a moving picture.")] = None,
    render: Annotated[bool, typer.Option("--render", help="Of episodes: show --episodes of them in a window.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Let a policy act in a world, and write the raw log it would leave; or only say what its episodes earn.

    Example: understudy simulate digits --decisions 20000 --to raw
    """
    from understudy.runs.perform import Asked, perform
    from understudy.runs.settings import parse_overrides

    asked = Asked(behavior, decisions, envs, episodes, max_steps, gif, render, to, seed)
    with working("simulating"):
        made = perform(env, parse_overrides(settings or [], text=["probs"]), asked)
    say(Said(made.lines(), made.as_dict(), str(to or gif or "")), json=json)


@app.command()
def identify(
    sources: Sources,
    *,
    to: Annotated[Path, typer.Option("--to", help="The problem file to draft.")] = Path("problem.yaml"),
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Draft the problem from a log: features, actions, outcomes, reward, unit. A person then edits it.

    Example: understudy identify raw/decisions.jsonl raw/outcomes.jsonl --to problem.yaml
    """
    from understudy.runs.bring import draft

    with working("reading the log"):
        text, problem, notes = draft(sources, None if dry_run else to)
    lines = [text.rstrip()] if dry_run else [f"note: {note}" for note in notes]
    say(Said(lines, {"problem": problem, "notes": notes}, "" if dry_run else str(to)), json=json)


@app.command()
def ingest(
    sources: Sources,
    *,
    to: To,
    problem: Annotated[Path | None, typer.Option(help="Problem file; importers draft their own.")] = None,
    layout: Annotated[
        str, typer.Option("--as", help="events, or an importer: open_bandit, vw_dsjson, sapr, …")
    ] = "events",
    options: Annotated[list[str] | None, typer.Option("--set", help="Importer option key=value.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Every outcome that will ever come is in these files: wait for none.")
    ] = False,
    home: Home = HOME,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Validate a log once, at the door. Bad rows go to quarantine with a reason each; counts reconcile.

    Example: understudy ingest raw/decisions.jsonl raw/outcomes.jsonl --problem problem.yaml --to logs
    """
    from understudy.runs.bring import bring
    from understudy.runs.settings import parse_overrides

    given, folder, done = parse_overrides(options or []), None if dry_run else to, already(to)
    with working("validating"):
        brought = bring(sources, layout=layout, problem=problem, options=given, to=folder, home=home, complete=complete)
    say(Said([*done, *brought.lines], brought.data, str(folder or "")), json=json)


@app.command()
def join(
    logs: Annotated[Path | None, typer.Argument(help="Log artifact, made by ingest; none with --experiment.")] = None,
    *,
    to: Annotated[
        str | None, typer.Option("--to", help="Folder to write; with spark also s3a://…, table:NAME.")
    ] = None,
    window: Annotated[str, typer.Option(help="How long after a decision its outcomes count: 10m, 1h, 7d.")] = "",
    backward: Annotated[str, typer.Option(help="How long before a decision an outcome may be stamped.")] = "2m",
    as_of: Annotated[str, typer.Option(help="The log is complete up to then (ISO 8601); default: its last time.")] = "",
    experiment: Experiment = "",
    train_share: Annotated[
        float | None, typer.Option(help="With --experiment: the share of this turn to learn from before judging.")
    ] = None,
    engine: Engine = "duckdb",
    master: Master = MASTER,
    home: Home = HOME,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring outcomes to their decisions. A decision is emitted only after its window has closed.

    Example: understudy join logs --window 1h --to data
    """
    from understudy.runs.bring import bring_together

    if experiment:
        refuse(experiment, LOGS=logs, to=to, window=window, dry_run=dry_run)
        return by_hand("join", experiment, home, json, train_share=train_share, as_of=as_of or None)
    log, place, span = need(LOGS=logs, to=to, window=window)
    folder, done = None if dry_run else place, already(Path(place))
    with working("joining"):
        brought = bring_together(log, window=span, backward=backward, as_of=as_of or None, to=folder, home=home,
                                 engine=engine, master=master)  # fmt: skip
    say(Said([*done, *brought.lines], brought.data, str(folder or "")), json=json)
