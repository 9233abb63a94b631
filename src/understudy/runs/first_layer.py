"""A feature map that a person wrote, or edited: read from its JSON and checked against the problem."""

from __future__ import annotations

from pathlib import Path

from understudy.core.errors import ConfigError
from understudy.core.problem import Problem
from understudy.models.feature_map import FeatureMap
from understudy.models.features.identify import OF_CATEGORIES
from understudy.models.features.reference import read_reference


def read_map(file: str | Path, problem: Problem) -> FeatureMap:
    """The feature map of a normalization JSON, for this problem.

    Raises: ConfigError where there is no such file, or it names another problem's features, or none of this one's;
        DataError if it is no such JSON.
    """
    path = Path(file)
    try:
        found = read_reference(path.read_bytes(), problem.feature_names)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field=str(path)) from error
    for column in found.columns:
        feature = problem.features[column.source]
        if feature.kind == "category" and column.kind not in OF_CATEGORIES:
            raise ConfigError(
                f"{path}: the category {column.name!r} cannot be {column.kind!r}", "Its codes are no quantities.",
                f"One of: {', '.join(OF_CATEGORIES[1:-1])}; or leave it out.", field=column.name,
            )  # fmt: skip
    if not found.columns and problem.features:
        raise ConfigError(f"{path} names no feature of the problem", "A policy would see nothing.", field=str(path))
    return found
