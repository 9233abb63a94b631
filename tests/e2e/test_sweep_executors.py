"""One experiment file, three places: the same bytes from children of this process, a local pool, and a real Slurm."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from understudy.cli import main
from understudy.data.artifact import read_manifest

SAME = ("results.parquet", "episodes.parquet", "runs.parquet")


def test_the_same_file_gives_the_same_bytes_everywhere(tmp_path: Path, slurm: Path) -> None:
    """A learner that compiles and one that does not, over two seeds; the tables, the policies, the configs."""
    file, cluster = tmp_path / "e.yaml", tmp_path / "cluster.yaml"
    variants = [{"learner": "bcq", "settings.updates": 100}, {"learner": "uniform"}]
    fields = {"name": "same", "env": "cartpole", "log": {"with": "uniform", "episodes": 20}, "seeds": 2, "group": 4,
              "sweep": {"variant": variants}, "evaluate": {"episodes": 5},
              "resources": {"memory_mb": 1500, "minutes": 10}}  # fmt: skip
    file.write_bytes(msgspec.yaml.encode(fields))
    cluster.write_text("kind: slurm\nevery: 0.5\n")
    for at, more in (("inline", []), ("local", []), ("slurm", ["--cluster", str(cluster)])):
        assert main(["sweep", str(file), "--to", str(tmp_path / at), "--at", at, *more]) == 0
    first = bytes_of(tmp_path / "inline")
    assert len([name for name in first if name.endswith("config.yaml")]) == 4
    assert bytes_of(tmp_path / "local") == first
    assert bytes_of(tmp_path / "slurm") == first
    returns = pq.read_table(tmp_path / "slurm" / "tables" / "results.parquet").to_pylist()
    assert {row["metric"] for row in returns} >= {"return", "return_std_error"}


def bytes_of(study: Path) -> dict[str, bytes]:
    """Tables, and every file of every run; a manifest also says when it was made, so its id stands for it."""
    found = {name: (study / "tables" / name).read_bytes() for name in SAME}
    for path in (study / "runs").rglob("*"):
        if path.is_file():
            name = str(path.relative_to(study))
            whole = path.name != "manifest.json"
            found[name] = path.read_bytes() if whole else read_manifest(path.parent).id.encode()
    return found
