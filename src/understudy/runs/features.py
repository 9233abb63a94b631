"""The feature map of a slice, looked at before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, DataError
from understudy.core.problem import Problem
from understudy.core.registry import unknown
from understudy.models.feature_map import FeatureMap
from understudy.models.features.drift import Drift, compare
from understudy.models.features.identify import Identified, IdentifyOptions, identify, profiled
from understudy.models.features.reference import write_reference
from understudy.runs.assess import aligned
from understudy.runs.first_layer import read_map
from understudy.runs.slices import open_slice


@dataclass(frozen=True)
class Looked:
    """Lines for a person, the same as data for a machine, and the file that was written."""

    lines: list[str]
    data: dict[str, Any] = field(default_factory=dict)
    path: str = ""


def identify_options(kinds: Mapping[str, str], settings: Mapping[str, Any]) -> IdentifyOptions:
    """Options from ``feature=kind`` overrides and ``key=value`` settings. Raises ConfigError on an unknown one."""
    fields = {item.name for item in msgspec.structs.fields(IdentifyOptions)} - {"overrides"}
    for key in settings:
        if key not in fields:
            raise unknown("setting of features:", key, sorted(fields))
    try:
        return msgspec.convert({"overrides": dict(kinds), **settings}, IdentifyOptions)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the settings of features are not valid: {error}") from error


def look(
    data: str | Path,
    options: IdentifyOptions,
    *,
    slice: str = "train",
    read: Path | None = None,
    against: Path | None = None,
    to: Path | None = None,
) -> Looked:
    """Identify the features of a slice; or read a map; compare it with that of another dataset; write it as JSON."""
    part = open_slice(data, slice)
    seen = profiled(part.scan(), options)
    features, told = identify(part.problem, seen, options)
    lines, found = _kind_lines(told), {"features": list(told), "inputs": list(features.names)}
    if read is not None:
        other = read_map(read, part.problem)
        drift = compare(other, features)
        lines, found = [*lines, *_drift_lines(drift, str(read))], found | {"drift": list(drift)}
        features = other
    if against is not None:
        theirs = profiled(_same_problem(open_slice(against, slice), part.problem, against).scan(), options)
        drift = compare(features, identify(part.problem, theirs, options)[0], seen, theirs)
        lines, found = [*lines, *_drift_lines(drift, str(against))], found | {"drift": list(drift)}
    if to is not None:
        _write(to, features)
    return Looked(lines, found, "" if to is None else str(to))


def _kind_lines(told: tuple[Identified, ...]) -> list[str]:
    def figure(value: float | None) -> str:
        return "-" if value is None else f"{value:.4g}"

    rows = [
        [one.name, one.kind + (" (asked)" if one.forced else ""), str(one.count), str(one.missing),
         figure(one.low), figure(one.high), figure(one.mean), figure(one.std)]
        for one in told
    ]  # fmt: skip
    notes = [f"{one.name}: {one.note}" for one in told if one.note]
    return [*aligned(rows, ["feature", "kind", "values", "missing", "low", "high", "mean", "std"]), *notes]


def _drift_lines(drift: tuple[Drift, ...], other: str) -> list[str]:
    def figure(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = [
        [one.name, one.before or "absent", one.after or "absent", figure(one.shift), figure(one.spread),
         figure(one.quantile), str(len(one.new_values)), _missing(one), figure(one.shares)]
        for one in drift
    ]  # fmt: skip
    head = ["drift", "before", "after", "shift", "spread", "quantile", "new values", "missing", "shares"]
    return ["", f"compared with {other}, most changed first:", *aligned(rows, head)]


def _missing(one: Drift) -> str:
    return "-" if one.missing is None else f"{one.missing[0]:.1%} → {one.missing[1]:.1%}"


def _same_problem(data: Any, problem: Problem, where: Path) -> Any:
    """Raises: ConfigError where the columns of another dataset mean something else."""
    if data.problem.features != problem.features:
        raise ConfigError(
            f"{where} has other features than this dataset", "Columns would be compared that mean different things.",
            "Ingest it with the same problem file.", field="against",
        )  # fmt: skip
    return data


def _write(to: Path, features: FeatureMap) -> None:
    """Never over something else: a person may have edited it."""
    text = write_reference(features) + "\n"
    if to.exists() and to.read_text() != text:
        raise DataError(
            f"{to} already exists, and is another map",
            "Whoever reads it would get other inputs than before.",
            "Give another file with --to, or delete it.",
            field=str(to),
        )
    to.write_text(text)
