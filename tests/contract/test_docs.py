"""A verb exists if it is documented, has an example, and the example runs."""

import re
import shlex
from pathlib import Path

import pytest

from understudy.cli import app, main

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
VERBS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)  # type: ignore[union-attr]


def commands(page: Path) -> list[tuple[int, str]]:
    """(expected exit code, command line) of each ``$ understudy …`` in a page's ``console`` blocks.

    A line ``# exits with N`` before a command states its exit code.
    """
    found: list[tuple[int, str]] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
        code = 0
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"# exits with (\d)", line):
                code = int(match[1])
            elif line.startswith("$ "):
                found.append((code, line[2:]))
                code = 0
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_with_an_example(verb: str) -> None:
    """docs/guide/<verb>.md exists and shows the verb at work."""
    page = GUIDE / f"{verb}.md"
    assert page.exists(), f"verb {verb} has no page"
    assert any(line.startswith(f"understudy {verb}") for _, line in commands(page)), f"{page.name} has no example"


def test_every_page_is_a_verb() -> None:
    """No page describes a verb that is gone."""
    assert {page.stem for page in GUIDE.glob("*.md")} <= set(VERBS)


PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ``$ understudy …`` of a page runs, in order, from an empty folder, and exits as the page says."""
    monkeypatch.chdir(tmp_path)
    lines = [(code, line) for code, line in commands(page) if line.startswith("understudy ")]
    assert lines, f"{page.name} shows no command"
    for expected, line in lines:
        code = main(shlex.split(line, comments=True)[1:])
        assert code == expected, f"{page.name}: {line!r} exited with {code}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` of each verb works and shows an example."""
    assert main([verb, "--help"]) == 0
    assert "understudy" in capsys.readouterr().out


def test_tables_are_those_of_the_results() -> None:
    """No figure of the README is written by hand: they come from benchmarks/results."""
    import subprocess
    import sys

    stale = subprocess.run([sys.executable, str(ROOT / "docs" / "build.py"), "--check"], capture_output=True, text=True)
    assert stale.returncode == 0, stale.stderr
