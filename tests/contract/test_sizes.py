"""What fits in a head: modules ≤ 400 lines, functions ≤ 40 code lines, parameters ≤ 7."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "understudy"
MODULES = sorted(SRC.rglob("*.py"))


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without the docstring: a long explanation is no sin."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = node.body[1:] if documented else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_module_fits_in_a_head(path: Path) -> None:
    """A module that grows past the limit is split by idea."""
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in functions(ast.parse(text)):
        assert body_lines(node) <= 40, f"{path.name}:{node.lineno} {node.name} has {body_lines(node)} lines"
        positional = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
        # Keyword-only options of a verb are its documented options; what must be remembered in order is the limit.
        assert len(positional) <= 7, f"{path.name}:{node.lineno} {node.name} has {len(positional)} parameters"
