"""Every registered learner has its page, and the page names every hyper-parameter."""

from dataclasses import fields
from pathlib import Path

import pytest

from understudy.core.registry import find
from understudy.learners import LEARNERS

PAGES = Path(__file__).parents[2] / "docs" / "learners"


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_every_learner_has_a_page_that_names_its_options(name: str) -> None:
    """A knob nobody wrote about is a knob nobody can turn."""
    page = (PAGES / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for option in fields(find("learners", name)):
        assert f"`{option.name}`" in page, f"docs/learners/{name}.md does not name {option.name}"


def test_every_page_is_a_learner() -> None:
    """No page describes a learner that is gone."""
    assert {page.stem for page in PAGES.glob("*.md")} == set(LEARNERS)
