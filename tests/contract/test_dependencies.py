"""Every direct dependency has a floor, and what is installed stands on it: resolvers backtrack silently."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]


@pytest.mark.parametrize("requirement", CORE + EXTRA, ids=str)
def test_a_dependency_has_a_floor_and_no_ceiling(requirement: Requirement) -> None:
    """``>=`` on each, nothing else: without a floor old broken releases are installed without a word."""
    assert [spec.operator for spec in requirement.specifier] == [">="]


@pytest.mark.parametrize("requirement", CORE + EXTRA, ids=str)
def test_what_is_installed_stands_on_its_floor(requirement: Requirement) -> None:
    """No dependency was resolved to a release below the one we ask for."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        assert requirement not in CORE, f"{requirement.name} is not installed"
        pytest.skip(f"optional {requirement.name} is not installed")
    assert requirement.specifier.contains(installed, prereleases=True)


def test_core_needs_nothing_that_learns_or_talks_to_a_cloud() -> None:
    """``understudy`` alone is data, evaluation, gate and command line."""
    names = {re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in CORE}
    assert names.isdisjoint({"jax", "torch", "boto3", "pandas", "pyspark", "optuna", "gymnasium"})
