"""The second act of the demo: episodes of a policy that only guessed become one that does not fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.core.curves import Curves
from understudy.data.timeline.run import timeline
from understudy.envs.rollout import mean_return
from understudy.report.curves import write_curves_page
from understudy.runs.epochs import Watch, read_curves
from understudy.runs.play import Play, play
from understudy.runs.train import expand, open_policy, train
from understudy.runs.worlds import make_env

EPISODES, EPOCHS, LEARNER = 500, 10, "bcq"


@dataclass(frozen=True)
class Second:
    """What the second act found. Returns are undiscounted, of 100 episodes that nobody learned from."""

    page: Path
    random: float  # mean return of the log
    truths: tuple[float, ...]  # of each epoch's policy
    chosen: int
    curves: Curves

    @property
    def trained(self) -> float:
        """Mean return of the policy that was chosen."""
        return self.truths[self.chosen - 1]

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        return {"page": str(self.page), "random": self.random, "trained": self.trained, "chosen": self.chosen,
                "truths": self.truths}  # fmt: skip


def second_act(place: Path, *, seed: int = 0, say: Callable[[str], None] = lambda line: None) -> Second:
    """500 episodes of CartPole played by guessing: timeline, train by epochs, evaluate, play. All below ``place``."""
    env: Any = make_env("cartpole", {})
    played = play(env, "cartpole", behavior="uniform", how=Play(envs=100, episodes=EPISODES // 100, seed=seed),
                  to=place / "raw")  # fmt: skip
    say(f"8. A pole on a cart, pushed left or right at random: {played.lines()[0]}.")
    data = timeline(place / "raw" / "decisions.parquet", problem=env.problem, to=place / "data")
    say(
        f"9. The log becomes {data.n_episodes} episodes; {LEARNER} learns from 80 % of them and is watched on the rest."
    )
    run = place / "runs" / LEARNER
    train(LEARNER, on=place / "data", to=run, slice="train@0.8", seed=seed, watch=Watch(EPOCHS, "last@0.2"),
          home=place / "home")  # fmt: skip
    truths = tuple(_earned(each, seed) for each in expand([f"{run}@all"]))
    curves = read_curves(run)
    say(f"10. {curves.why[0].upper()}{curves.why[1:]}. In the simulator, which no learner saw, it stays up for "
        f"{truths[curves.chosen - 1]:.0f} of 200 steps; guessing lasts {played.returns.mean():.0f}.")  # fmt: skip
    page = write_curves_page(curves, _made(place / "report"), f"CartPole, {LEARNER}")
    return Second(page, float(played.returns.mean()), truths, curves.chosen, curves)


def _earned(run: str, seed: int) -> float:
    world: Any = make_env("cartpole", {})
    return float(np.mean(mean_return(world, open_policy(run).policy, 100, seed=seed + 1_000)))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
