"""Verbs from data to estimates: train, evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, At, DryRun, Experiment, Home, Json, Seed, Settings, To, app
from understudy.cli.hand import by_hand, need, refuse
from understudy.cli.output import Said, already, say, watched, working
from understudy.cli.rehearse import refuse_drawing, refuse_log, rehearsed, with_best

Against = Annotated[str, typer.Option(help="The incumbent: logged, an alias such as production, or an artifact.")]


@app.command()
def train(
    learner: Annotated[str, typer.Argument(help="A registered learner: direct, ipw, lin_ucb, lin_ts, …")] = "",
    settings: Settings = None,
    *,
    on: Annotated[Path | None, typer.Option("--on", help="Dataset artifact, made by join.")] = None,
    world: Annotated[
        str, typer.Option("--in", help="Train in this world instead: cartpole, or an id of Gymnasium.")
    ] = "",
    to: Annotated[Path | None, typer.Option("--to", help="Folder of the artifact to write.")] = None,
    slice: Annotated[str, typer.Option(help="Which slice to learn from: train, select, gate or all.")] = "train",
    epochs: Annotated[int, typer.Option(help="Watch the training in so many parts: curves, a checkpoint of each.")] = 0,
    train_share: Annotated[float, typer.Option(help="Percent of the units that train, in place of --slice.")] = 0,
    eval_share: Annotated[float, typer.Option(help="Percent of the units the curves are drawn from.")] = 0,
    estimators: Annotated[str, typer.Option("--with", help="Estimators of the curves, comma-separated.")] = "",
    choose: Annotated[str, typer.Option(help="Which epoch becomes the policy: best (lower bound) or last.")] = "best",
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better lower bound.")] = 0,
    features: Annotated[Path | None, typer.Option(help="First layer: a JSON written by `understudy features`.")] = None,
    best_of: Annotated[Path | None, typer.Option(help="Settings that `understudy tune` found best.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard scalars.")] = None,
    render: Annotated[bool, typer.Option("--render", help="With --in: show each evaluation in a window.")] = False,
    gif: Annotated[Path | None, typer.Option(help="With --in: each evaluation as NAME-DECISIONS.gif.")] = None,
    render_after: Annotated[int, typer.Option(help="With --in: draw only after so many decisions.")] = 0,
    experiment: Experiment = "",
    at: At = "local",
    home: Home = HOME,
    seed: Seed = 0,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Learn a policy from a dataset.

    Example: understudy train direct --on data --to runs/trees model=forest
    """
    from understudy.runs.assess import split_names
    from understudy.runs.epochs import watching
    from understudy.runs.settings import parse_overrides, text_fields
    from understudy.runs.train import recipe, train

    if experiment:
        refuse(experiment, LEARNER=learner, SETTINGS=settings, on=on, to=to, dry_run=dry_run, features=features,
               best_of=best_of)  # fmt: skip
        return by_hand("train", experiment, home, json, at=at)
    settings = with_best(best_of, learner, settings)
    if world:
        refuse_log(
            on=on, epochs=epochs, train_share=train_share, eval_share=eval_share, patience=patience,
            with_=estimators, slice=slice != "train", features=features,
        )  # fmt: skip
        name, folder = need(LEARNER=learner, to=to)
        drawn = {"gif": gif, "window": render, "after": render_after}
        return rehearsed(
            name, folder, world, settings, choose, seed,
            home=home, tensorboard=tensorboard, drawn=drawn, dry_run=dry_run, json=json,
        )  # fmt: skip
    refuse_drawing(gif=gif, render=render, render_after=render_after)
    learner, data, folder = need(LEARNER=learner, on=on, to=to)
    given = parse_overrides(settings, text=text_fields("learners", learner))
    slice, watch = watching(epochs, (train_share, eval_share), slice, split_names(estimators), choose, patience)
    if dry_run:
        plan = recipe(learner, data, given, seed=seed, slice=slice, watch=watch, features=features).config
        return say(Said([f"{key}: {value}" for key, value in plan.items()], plan), json=json)
    done = already(folder)
    with watched(tensorboard) as show:
        manifest = train(
            learner, on=data, to=folder, settings=given, slice=slice, seed=seed, watch=watch, features=features,
            home=home, show=show,
        )  # fmt: skip
    lines = [*done, f"{learner} learned from {manifest.counts['decisions']} decisions (slice {slice})"]
    return say(Said(lines, {"id": manifest.id, "config": manifest.config}, str(folder)), json=json)


@app.command()
def evaluate(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Policy artifacts, made by train.", show_default=False)
    ] = None,
    *,
    on: Annotated[Path | None, typer.Option("--on", help="Dataset artifact, made by join.")] = None,
    estimators: Annotated[
        str, typer.Option("--with", help="Estimators; default: ips,snips,dr, of episodes cwpdis,wdr,fqe,drl.")
    ] = "",
    against: Against = "logged",
    by: Annotated[str, typer.Option(help="A feature to cut segments by.")] = "",
    q: Annotated[str, typer.Option(help="Reward model of the doubly robust estimators.")] = "ridge",
    method: Annotated[str, typer.Option(help="Kind of interval.")] = "jackknife",
    level: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    slice: Annotated[str, typer.Option(help="Which slice to evaluate on.")] = "select",
    propensity: Annotated[str, typer.Option(help="logged, or estimate: fitted where the log has none.")] = "logged",
    outcome: Annotated[str, typer.Option(help="An outcome to value in place of the reward.")] = "",
    normalize: Annotated[bool, typer.Option(help="Also: values as shares of the log's mean return.")] = False,
    doubt: Annotated[bool, typer.Option("--sensitivity", help="Also: what if propensities were wrong?")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the estimates artifact.")] = None,
    experiment: Experiment = "",
    at: At = "local",
    home: Home = HOME,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Estimate what policies would have earned, each with its interval, and their paired differences.

    Example: understudy evaluate runs/trees runs/zero --on data --with ips,snips,dr --against logged
    """
    from understudy.runs.assess import Assessment, assess, estimate_lines, split_names
    from understudy.runs.doubt import curve_lines, curves

    if experiment:
        refuse(experiment, RUNS=runs, on=on, to=to)
        return by_hand("evaluate", experiment, home, json, at=at)
    policies, data = need(RUNS=runs, on=on)
    names = split_names(estimators)
    how = Assessment(names, against, by or None, q, method, level, slice, seed, propensity, outcome, normalize)
    with working("estimating"):
        estimates, path = assess(policies, on=data, how=how, home=home, to=to)
    found = curves(policies, on=data, how=how) if doubt else ()
    lines = estimate_lines(estimates) + curve_lines(found)
    say(Said(lines, {"estimates": estimates, "sensitivity": found}, str(path)), json=json)


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Policy artifacts, made by train.", show_default=False)
    ] = None,
    *,
    on: Annotated[Path | None, typer.Option("--on", help="Dataset artifact, made by join.")] = None,
    to: To,
    against: Against = "logged",
    estimators: Annotated[
        str, typer.Option("--with", help="Estimators; default: ips,snips,dr, of episodes cwpdis,wdr,fqe,drl.")
    ] = "",
    experiment: Annotated[
        list[str] | None, typer.Option(help="Tell what this loop earned instead; several are drawn together.")
    ] = None,
    home: Home = HOME,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write a self-contained HTML page: verdicts in plain words, estimates, overlap, audit, lineage; or a loop's story.

    Example: understudy report runs/trees runs/zero --on data --to report
    """
    from understudy.runs.assess import Assessment, split_names
    from understudy.runs.gather import write
    from understudy.runs.story import write_story

    with working("writing the report"):
        if experiment:
            refuse(", ".join(experiment), RUNS=runs, on=on)
            page = write_story(home, experiment, to=to)
        else:
            policies, data = need(RUNS=runs, on=on)
            page = write(
                policies, on=data, how=Assessment(split_names(estimators), against, seed=seed), home=home, to=to
            )
    say(Said([], {"report": str(page)}, str(page)), json=json)
