"""Where jobs run: one executor per file."""

EXECUTORS = {
    "aws_batch": "understudy.runs.executors.aws_batch:AwsBatch",
    "inline": "understudy.runs.executors.inline:Inline",
    "local": "understudy.runs.executors.local:Local",
    "slurm": "understudy.runs.executors.slurm:Slurm",
}
