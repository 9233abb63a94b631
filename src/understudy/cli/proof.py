"""Verbs of proof: plan, gate, promote, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, Experiment, Home, Json, On, Seed, Settings, app
from understudy.cli.hand import by_hand, need, refuse
from understudy.cli.output import VERDICT_CODES, Said, say, working

Run = Annotated[str, typer.Argument(help="Policy artifact, made by train.")]
Alias = Annotated[str, typer.Argument(help="An alias, such as production.")]


@app.command()
def plan(
    *,
    actions: Annotated[int, typer.Option(help="Number of actions.")],
    exploration: Annotated[float, typer.Option(help="Share of decisions taken uniformly at random.")],
    lift: Annotated[float, typer.Option(help="The lift to prove, as a share of the reward range.")],
    disagreement: Annotated[float, typer.Option(help="Share of contexts in which the policies differ.")] = 0.2,
    reward: Annotated[float, typer.Option(help="Mean reward, as a share of its range.")] = 0.5,
    alpha: Annotated[float, typer.Option(help="Chance of shipping by luck.")] = 0.05,
    json: Json = False,
) -> None:
    """How many decisions, at which exploration, prove a lift. To be asked before anything is run.

    Example: understudy plan --actions 7 --exploration 0.1 --lift 0.03
    """
    from understudy.runs.prove import plan_lines

    with working("playing the bets"):
        lines, data = plan_lines(actions, exploration, lift, disagreement, reward, alpha)
    say(Said(lines, data), json=json)


@app.command()
def gate(
    run: Run,
    settings: Settings = None,
    *,
    on: On,
    against: Annotated[
        str, typer.Option(help="The incumbent: logged, an alias, an artifact; default: who is live.")
    ] = "",
    alias: Annotated[str, typer.Option("--for", help="The alias this is to be promoted to; default: production.")] = "",
    rules: Annotated[Path | None, typer.Option(help="YAML file of gate rules; key=value overrides it.")] = None,
    slice: Annotated[str, typer.Option(help="Which slice to prove on.")] = "gate",
    stream: Annotated[str, typer.Option(help="Name of a log that only grows: its looks are one comparison.")] = "",
    home: Home = HOME,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Ship, hold, not enough evidence, or refused; with reasons. Exit codes 0, 3, 4, 5.

    Example: understudy gate runs/trees --on data --against production
    """
    from understudy.runs.prove import Proof, prove, verdict_lines
    from understudy.runs.settings import parse_overrides

    how = Proof(against, alias, rules, parse_overrides(settings or []), slice, seed, stream)
    with working("proving"):
        verdict, path = prove(run, on=on, how=how, home=home)
    say(Said(verdict_lines(verdict), {"verdict": verdict}, str(path), VERDICT_CODES[verdict.outcome]), json=json)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="Policy artifact, made by train; none with --experiment.")] = "",
    *,
    to: Annotated[str, typer.Option("--to", help="Alias to point at the policy.")] = "production",
    experiment: Experiment = "",
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Point an alias at a policy. Refused without a "ship" verdict for it.

    Example: understudy promote runs/trees --to production
    """
    from understudy.runs.prove import promote

    if experiment:
        refuse(experiment, RUN=run)
        return by_hand("promote", experiment, home, json)
    (run,) = need(RUN=run)
    promoted = promote(run, alias=to, home=home)
    say(Said([f"{to} is now {promoted['policy']}"], promoted, promoted["path"]), json=json)


@app.command()
def rollback(
    alias: Alias = "production",
    *,
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")],
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Undo the last promotion of an alias. Needs no gate, only a reason.

    Example: understudy rollback production --why "complaints about the new coupons"
    """
    from understudy.runs.prove import rollback

    back = rollback(alias, why=why, home=home)
    say(Said([f"{alias} is now {back['policy']}"], back), json=json)
