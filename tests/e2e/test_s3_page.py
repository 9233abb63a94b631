"""docs/s3.md and docs/aws-batch.md: their console lines run, in order, against a server with an empty bucket."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.contract.test_docs import ROOT, commands

from understudy.cli import main


@pytest.mark.parametrize("page", ["s3", "aws-batch"])
def test_the_lines_of_the_page_run(page: str, amazon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And exit as the page says."""
    monkeypatch.chdir(tmp_path)
    lines = commands(ROOT / "docs" / f"{page}.md")
    assert lines
    for expected, line in lines:
        assert main(shlex.split(line)[1:]) == expected, line


def test_every_document_that_the_page_names_is_printed(tmp_path, monkeypatch, capsys) -> None:
    """Ten, four of them policies."""
    monkeypatch.chdir(tmp_path)
    main(["init", "aws-batch", "--to", "aws.yaml"])
    capsys.readouterr()
    main(["cluster", "setup", "aws.yaml", "--dry-run", "--json"])
    made = {text.partition(".json\n")[0] for text in json.loads(capsys.readouterr().out)["would"]}
    named = set(re.findall(r"`((?:policy|trust)-\w+)\.json`", (ROOT / "docs" / "aws-batch.md").read_text()))
    assert len(made) == 10 and named == {name for name in made if name.startswith(("policy", "trust"))}
