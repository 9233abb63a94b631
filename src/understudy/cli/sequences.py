"""The verb for tables of episodes: timeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.app import HOME, MASTER, DryRun, Engine, Home, Json, Master, app
from understudy.cli.output import Said, already, say, working


@app.command()
def timeline(
    sources: Annotated[
        list[str],
        typer.Argument(help="One row per decision: Parquet, CSV or JSON lines; with spark also hdfs://…, table:NAME."),
    ],
    *,
    to: Annotated[str, typer.Option("--to", help="Folder to write; with spark also s3a://…, table:NAME.")] = "data",
    problem: Annotated[Path | None, typer.Option(help="Problem file; importers draft their own.")] = None,
    columns: Annotated[str, typer.Option(help="role=column,…: episode, sequence, action, or a feature's name.")] = "",
    layout: Annotated[str, typer.Option("--from", help="An importer: d3rlpy, minari, coach.")] = "",
    form: Annotated[str, typer.Option(help="steps (a dataset), or transitions (a table for other tools).")] = "steps",
    n: Annotated[int, typer.Option("--steps", help="Of transitions: how many rows to look ahead.")] = 1,
    lead: Annotated[str, typer.Option(help="Of transitions: further columns to look ahead in, a,b.")] = "",
    terminal: Annotated[str, typer.Option(help="The last row is a step: keep; or not: drop, drop-truncated.")] = "keep",
    lost_reward: Annotated[
        str, typer.Option(help="A reward on a row that is no step: refuse, add, discard.")
    ] = "refuse",
    duplicates: Annotated[str, typer.Option(help="Rows of one key: refuse, identical, first, last.")] = "refuse",
    null_states: Annotated[str, typer.Option(help="Rows without a feature: refuse, drop.")] = "refuse",
    faulty: Annotated[str, typer.Option(help="Rows that break a rule: refuse, or set episodes aside.")] = "refuse",
    ds: Annotated[str, typer.Option(help="Partitions that count, FIRST..LAST, both inclusive.")] = "",
    within: Annotated[int | None, typer.Option(help="Most that sequence lies behind the episode's first.")] = None,
    longest_percentile: Annotated[float | None, typer.Option(help="Leave out episodes longer than, say, .95.")] = None,
    discount_per: Annotated[str, typer.Option(help="γ counts each step, sequence difference, or time.")] = "step",
    per: Annotated[str, typer.Option(help="What counts as one exponent of γ: 1d, or 10 sequence numbers.")] = "",
    validate: Annotated[list[str] | None, typer.Option(help="SQL on {input}, {output}; one row, all true.")] = None,
    engine: Engine = "duckdb",
    master: Master = MASTER,
    print_sql: Annotated[str, typer.Option(help="Print the query and stop: duckdb, spark, trino.")] = "",
    home: Home = HOME,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Sort a table of episodes into steps: whole episodes, in order, with how each of them ended.

    Example: understudy timeline table.parquet --problem problem.yaml --to data
    """
    from understudy.runs.sequences import Wanted, bring_episodes, read_rules, sql_text

    wanted = Wanted(problem, columns, layout, form, n, lead, longest_percentile, validate or [], engine, master)
    rules = read_rules(ds, per, terminal=terminal, lost_reward=lost_reward, duplicates=duplicates,
                       null_states=null_states, faulty=faulty, within=within, discount_per=discount_per)  # fmt: skip
    if print_sql:
        made = sql_text(sources, wanted, rules, print_sql)
        return say(Said([made], {"sql": made, "dialect": print_sql}), json=json)
    folder, done = None if dry_run else to, already(Path(to))
    with working("sorting episodes"):
        brought = bring_episodes(sources, wanted, rules, to=folder, home=home)
    say(Said([*done, *brought.lines], brought.data, str(folder or "")), json=json)
