"""What is small is written once as well: these three stood in two modules each."""

import ast
from collections import defaultdict
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "understudy"


ONCE = {"sigmoid": ["ops/network.py"], "sync_folder": ["data/artifact.py"], "copy_to": ["data/log.py"]}


def test_one_place_each() -> None:
    """σ, moving a folder's names to the disk, copying a query to a file: each has one home."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in SRC.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            name = node.name.strip("_") if isinstance(node, ast.FunctionDef) else ""
            if name in {*ONCE, "sync"}:
                found[name].append(str(path.relative_to(SRC)))
    assert found == ONCE
