"""Verbs of experiments: init, sweep, tune, run, logs, cancel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.app import DryRun, Json, Settings, app
from understudy.cli.errand import called
from understudy.cli.output import Said, say
from understudy.core.errors import ConfigError

File = Annotated[Path, typer.Argument(help="Experiment file, YAML.")]
Folder = Annotated[Path, typer.Option("--to", help="Study folder: begun here, or gone on with.")]
Where = Annotated[str, typer.Option("--at", help="Where the runs run: inline, local, slurm, aws-batch.")]
Cluster = Annotated[Path | None, typer.Option(help="YAML file of the executor's settings.")]
Index = Annotated[str, typer.Option(help="Only these runs: 37, or 0:360, or 1,5,9. Index = run x settings + setting.")]
First = Annotated[int, typer.Option(help="How --index numbers the first run: 0 or 1.")]
Runs = Annotated[int | None, typer.Option(help="Seeds per setting, in place of the file's.")]
Wrap = Annotated[bool, typer.Option("--wrap/--no-wrap", help="Whether an index may mean further rounds of seeds.")]
Study = Annotated[Path, typer.Argument(help="Study folder, made by sweep.")]


@app.command()
def init(
    kind: Annotated[str, typer.Argument(help="sweep, world, dataset, tune; slurm, aws-batch.")] = "sweep",
    *,
    to: Annotated[Path, typer.Option("--to", help="File to write.")] = Path("experiment.yaml"),
    learner: Annotated[str, typer.Option(help="The learner whose settings are listed.")] = "",
    agent: Annotated[Path | None, typer.Option(help="JSON of agent_name and parameters, to be made ours.")] = None,
    env: Annotated[Path | None, typer.Option(help="With --agent: JSON of the environment.")] = None,
) -> None:
    """Write a commented experiment file to start from.

    Example: understudy init world --learner sac --to experiment.yaml
    """
    from understudy.runs.sweep.foreign import import_experiment
    from understudy.runs.sweep.templates import write_template

    if (agent is None) != (env is None):
        raise ConfigError("--agent and --env go together", hint="Give both files.", field="agent")
    made = str(import_experiment(agent, env, to) if agent and env else write_template(kind, to, learner))
    try_it = f"cluster setup {to}" if kind in ("slurm", "aws-batch") else f"sweep {to} --to study"
    say(Said([f"try: understudy {try_it} --dry-run"], path=made), json=False)


@app.command()
def sweep(
    experiment: File,
    settings: Settings = None,
    *,
    to: Folder,
    at: Where = "local",
    cluster: Cluster = None,
    index: Index = "",
    first_index: First = 0,
    runs: Runs = None,
    wrap: Wrap = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all runs have ended.")] = True,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Do every run of an experiment that is not done: settings by seeds, wherever you say. The same line resumes it.

    Example: understudy sweep exp.yaml learner.rate=[0.001,0.003] seeds=0:5 --to study --at local
    """
    from understudy.runs.sweep.drive import Asked, sweep

    asked = Asked(_values(settings), at, cluster, index, first_index, runs, wrap, wait, dry_run)
    done = sweep(experiment, to, asked, told=_told)
    say(Said(done.lines(), done.as_dict(), "" if dry_run else str(to), done.code), json=json)


@app.command()
def tune(
    experiment: File,
    settings: Settings = None,
    *,
    to: Annotated[Path, typer.Option("--to", help="Folder of the search: begun here, or gone on with.")],
    at: Where = "local",
    cluster: Cluster = None,
    trials: Annotated[int | None, typer.Option(help="Trials in all, in place of the file's.")] = None,
    json: Json = False,
) -> None:
    """Search hyper-parameters (TPE, pruning), then run the best again on fresh seeds and say how much was luck.

    Example: understudy tune exp.yaml --trials 50 --to search --at local
    """
    from understudy.runs.tuning.found import tune

    given = _values(settings) | ({} if trials is None else {"tune.trials": trials})
    best = tune(experiment, to, given, at.replace("-", "_"), cluster, told=_told)
    say(Said(best.lines(), {"best": best}, str(to)), json=json)


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="Experiment file, or a study folder.")],
    settings: Settings = None,
    *,
    to: Annotated[Path | None, typer.Option("--to", help="Study folder, of an experiment file.")] = None,
    index: Index = "",
    json: Json = False,
) -> None:
    """Do the runs of an experiment here, one after the other; with a study folder, those of --index.

    Example: understudy run study --index 37
    """
    from understudy.runs.sweep.drive import run_here

    done = run_here(experiment, _values(settings), to, index, told=_told)
    say(Said(done.lines(), done.as_dict(), str(to or experiment), done.code), json=json)


@app.command()
def logs(study: Study, *, index: Annotated[int, typer.Option(help="Of which run.")], json: Json = False) -> None:
    """What the job of a run has printed.

    Example: understudy logs study --index 37
    """
    from understudy.runs.sweep.drive import log_of

    text = log_of(study, index)
    say(Said(text.splitlines(), {"log": text}), json=json)


@app.command()
def cancel(study: Study, *, json: Json = False) -> None:
    """End the jobs of a study that wait or run. What is finished stays; sweep goes on from there.

    Example: understudy cancel study
    """
    from understudy.runs.sweep.drive import cancel

    ended = cancel(study)
    say(Said([f"{ended} jobs cancelled"], {"cancelled": ended}, str(study)), json=json)


def _told(line: str) -> None:
    typer.echo(called(line), err=True)


def _values(settings: list[str] | None) -> dict[str, Any]:
    """``a=1,2`` is two values, and so is ``a=[1,2]``."""
    from understudy.runs.settings import parse_overrides

    found: dict[str, Any] = {}
    for pair in settings or []:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"{pair!r} is not a setting", hint="Settings are written key=value.", field=pair)
        several = "," in text and not text.lstrip().startswith(("[", "{"))
        found |= parse_overrides([f"{key}=[{text}]" if several else pair])
    return found
