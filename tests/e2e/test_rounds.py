"""Collect → train → predict → collect, three rounds: every action comes from ``predict``, one file per time step."""

import json
from pathlib import Path

import numpy as np
import pytest

from understudy.core.manifest import Manifest
from understudy.data.artifact import write_artifact
from understudy.data.timeline.run import timeline
from understudy.envs.cartpole import cartpole
from understudy.models.policies import Uniform
from understudy.models.policy_file import save_policy
from understudy.runs.predict import predict
from understudy.runs.train import train

ENVS = 100
UPDATES = (2000, 3000)  # the first policy is left unfinished, so that there is something to improve


def collect(policy: Path, round: int, folder: Path) -> tuple[Path, float]:
    """One episode in each of 100 worlds in lockstep: states to a file, its decisions read back. → (log, mean return)"""
    world = cartpole()
    names, features = world.problem.actions.names, world.problem.feature_names
    view, alive, returns = world.reset(np.random.default_rng(round), ENVS), np.ones(ENVS, bool), np.zeros(ENVS)
    folder.mkdir()
    with (folder / "log.jsonl").open("w") as log:
        for t in range(world.steps):
            states, decided = folder / f"{t}.jsonl", folder / f"{t}.decided.jsonl"
            playing = np.flatnonzero(alive)
            rows = [
                {"episode_id": f"{round}-{i}", "t": t, "context": dict(zip(features, view.context[i].tolist()))}
                for i in playing
            ]
            states.write_text("".join(json.dumps(row) + "\n" for row in rows))
            predict(states, policy=policy, to=decided, time=1.7e9 + 1000 * round + t)
            made = [json.loads(line) for line in decided.read_text().splitlines()]
            assert [row["episode_id"] for row in made] == [row["episode_id"] for row in rows]
            action = np.zeros(ENVS, np.int32)
            action[playing] = [names.index(row["action"]) for row in made]
            view, feedback = world.step(action)
            returns[playing] += feedback.reward[playing]
            for i, row in zip(playing, made):
                ends = {"terminated": bool(feedback.terminated[i]), "truncated": bool(feedback.truncated[i])}
                context = {f"context.{name}": value for name, value in row.pop("context").items()}
                log.write(json.dumps(row | context | ends | {"reward": float(feedback.reward[i])}) + "\n")
                if ends["truncated"]:  # a row without an action shows where the episode stood when it was cut off
                    after = {f"context.{name}": value for name, value in zip(features, view.context[i].tolist())}
                    log.write(json.dumps({"episode_id": row["episode_id"], "t": t + 1, **after}) + "\n")
            alive &= ~(feedback.terminated | feedback.truncated)
            if not alive.any():
                break
    return folder / "log.jsonl", float(returns.mean())


def test_three_rounds_improve(tmp_path: Path) -> None:
    """Uniform, then DQN on its log, then DQN on both logs; the propensities of each round are those that acted."""
    pytest.importorskip("jax")
    problem, policy = cartpole().problem, tmp_path / "uniform"
    write_artifact(
        policy,
        Manifest(kind="policy", problem_hash=problem.hash),
        lambda part: save_policy(Uniform(problem.actions.k), part, problem=problem) and None,
    )
    logs, returns = [], []
    for round in range(3):
        log, mean = collect(policy, round, tmp_path / f"round{round}")
        logs.append(log)
        returns.append(mean)
        if round < 2:
            timeline(logs, problem=problem, to=tmp_path / f"data{round}")
            policy = tmp_path / f"run{round}"
            settings = {"updates": UPDATES[round], "explore": 0.05}
            train("dqn", on=tmp_path / f"data{round}", to=policy, settings=settings, slice="all", seed=round)
    acted = [[row["propensity"] for row in map(json.loads, log.open()) if "action" in row] for log in logs[:2]]
    assert set(acted[0]) == {0.5} and set(acted[1]) == {0.975, 0.025}
    assert returns[0] < 30 and returns[1] > 2 * returns[0] and returns[2] > returns[1] + 10, returns
