"""The floor plan: imports point downwards, and rooms on one floor never import each other."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "understudy"
FLOOR = {
    "core": 0, "ops": 1, "data": 2, "models": 2, "learners": 3, "ope": 3, "envs": 3,
    "testing": 3.5,  # a suite that checks how trainings resume must run one; nothing imports the workshop
    "gate": 4, "report": 4, "runs": 5, "serve": 5, "cli": 6,
}  # fmt: skip
FORBIDDEN = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module a file names in an import, wherever it stands, with its line."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


MODULES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_downwards(path: Path) -> None:
    """A module imports its own room and the floors below it, and nothing that unpickles."""
    here = room(path)
    assert here in FLOOR, f"{here} has no floor: put it on the plan first"
    for line, name in imports(path):
        parts = name.split(".")
        assert parts[0] not in FORBIDDEN, f"{path}:{line} imports {parts[0]}: nothing is pickled, nothing is unpickled"
        if parts[0] == "understudy" and len(parts) > 1 and parts[1] in FLOOR and parts[1] != here:
            assert FLOOR[parts[1]] < FLOOR[here], f"{path}:{line}: {here} must not import {parts[1]}"


def test_the_gate_reads_nothing_but_core_and_ops() -> None:
    """What decides about deployment can be read in one sitting."""
    files = [path for path in MODULES if room(path) == "gate"]
    assert files, "there is no gate"
    used = {name.split(".")[1] for path in files for _, name in imports(path) if name.startswith("understudy.")}
    assert used <= {"core", "ops", "gate"}, used


def test_core_imports_only_numpy_and_msgspec() -> None:
    """The nouns hang on nothing; yaml is the parser that msgspec.yaml would import, imported when it is used."""
    import sys

    outside = {name.split(".")[0] for path in MODULES if room(path) == "core" for _, name in imports(path)}
    assert outside - set(sys.stdlib_module_names) <= {"understudy", "numpy", "msgspec", "yaml"}
