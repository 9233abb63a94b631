"""Where jobs run: one executor per file."""

EXECUTORS = {
    "inline": "understudy.runs.executors.inline:Inline",
    "local": "understudy.runs.executors.local:Local",
    "slurm": "understudy.runs.executors.slurm:Slurm",
}
