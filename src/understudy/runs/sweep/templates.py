"""Commented experiment files to start from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import msgspec

from understudy.core.errors import StoreError
from understudy.core.registry import find, unknown
from understudy.runs.executors.templates import CLUSTERS

_HEAD = """\
# An experiment: what one run does, which fields are swept, on which seeds.
#   understudy sweep {file} --to study --dry-run     what would be run, and what it costs
#   understudy sweep {file} --to study --at local    do what is missing; the same line resumes it
name: {kind}
learner: {learner}
"""
_BODIES = {
    "sweep": """\
env: cartpole                       # a world; understudy simulate --help lists them
log: {with: uniform, episodes: 500} # learn from a log of it, made from the run's seed
evaluate: {episodes: 100}           # judge the policy in episodes of its own
sweep:
  settings.updates: [1000, 4000]    # any field, dotted; the first varies fastest
seeds: 5                            # or 100:105, or [1, 2, 3]
resources: {cpus: 1, memory_mb: 2000, minutes: 30}
group: 1                            # runs per job, one after the other
""",
    "world": """\
env: pendulum
growth: {steps: 15000, eval_every: 2500}  # learn in the world: a log that grows
evaluate: {episodes: 100}
sweep:
  settings.rate: [0.0003, 0.001, 0.003]
seeds: 5
resources: {cpus: 1, memory_mb: 2000, minutes: 60}
""",
    "dataset": """\
on: data                            # a dataset artifact, made by join or timeline
slice: train
evaluate: {with: [snips, dr], slice: select}  # no world: estimates, on rows the policy was not trained on
sweep:
  variant:                          # fields that change together
    - {learner: direct}
    - {learner: dr}
seeds: 3
resources: {cpus: 1, memory_mb: 2000, minutes: 30}
""",
}
_BODIES["tune"] = """\
env: bandit
log: {episodes: 500}
evaluate: {episodes: 500}
settings: {explore: epsilon_greedy}
tune:
  space:
    settings.amount: {low: 0.01, high: 0.5, log: true}  # numbers; whole ones if both ends are whole
    settings.model: {choices: [ridge, forest]}
  trials: 50
  at_once: 4                        # trials side by side
  objective: return                 # or an estimator's name, or its lower bound: snips_low
  seeds: [1000, 1001, 1002]         # of trials
  fresh: 2000:2010                  # of the last word: none of them chose anything
resources: {cpus: 1, memory_mb: 2000, minutes: 30}
"""
_LEARNERS = {"tune": "direct", "sweep": "bcq", "world": "sac", "dataset": "direct"}


def write_template(kind: str, to: Path, learner: str = "") -> Path:
    """Write the template ``kind``, with the settings of its learner as comments; nothing is overwritten."""
    if kind not in _BODIES and kind not in CLUSTERS:
        raise unknown("template", kind, {**_BODIES, **CLUSTERS})
    if to.exists():
        raise StoreError(f"{to} is there already", hint="Choose another --to.", field="to")
    if kind in CLUSTERS:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(CLUSTERS[kind].format(file=to))
        return to
    name = learner or _LEARNERS[kind]
    known = "".join(
        f"#   {key}: {value}\n" for key, value in msgspec.to_builtins(asdict(find("learners", name)())).items()
    )
    text = _HEAD.format(file=to, kind=kind, learner=name) + _BODIES[kind]
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(f"{text}# settings of {name}, with their defaults:\n{known}")
    return to
