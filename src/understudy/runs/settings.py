"""Settings: strict, three layers deep: defaults < file < ``key=value``. Nothing is guessed, nothing is ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from understudy.core import yaml
from understudy.core.errors import ConfigError
from understudy.core.protocols import Learner
from understudy.core.registry import find, unknown


def parse_overrides(pairs: Sequence[str], *, text: Collection[str] = ()) -> dict[str, Any]:
    """``["expectile=0.8", "model=trees"]`` → ``{"expectile": 0.8, "model": "trees"}``; values are YAML.

    Keys in ``text`` keep their words as they stand: an action may be called 0, or 007, or yes.

    Raises: ConfigError on a word without ``=`` or a key given twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, word = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{pair!r} is not a setting", hint="Settings are written key=value.", field=pair)
        if key in settings:
            raise ConfigError(f"setting {key!r} is given twice", "Which one counts would be a guess.", field=key)
        try:
            settings[key] = yaml.decode(word) if word and key not in text else word
        except msgspec.DecodeError as error:
            raise ConfigError(f"the value of {key!r} cannot be read: {word!r}", field=key) from error
    return settings


def build(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """The registered dataclass ``name`` with these settings; unknown keys list the nearest, types are checked.

    >>> build("learners", "uniform", {})  # doctest: +ELLIPSIS
    Uniform...
    """
    cls = find(kind, name)
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    for key in settings:
        if key not in fields:
            raise unknown(f"setting of {kind.rstrip('s')} {name!r}:", key, sorted(fields) or ["(it has none)"])
    try:
        return msgspec.convert(dict(settings), cls)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError(f"the settings of {name!r} are not valid: {error}") from error


def text_fields(kind: str, name: str) -> frozenset[str]:
    """The settings of a registered dataclass that are text."""
    return frozenset(key for key, hint in get_type_hints(find(kind, name)).items() if hint is str)


def learner(name: str, settings: Mapping[str, Any]) -> Learner:
    """A learner by name with its hyper-parameters."""
    return build("learners", name, settings)


def read_yaml(path: str | Path, kind: type) -> Any:
    """A strict struct from a YAML file; every fault names the file and the field."""
    try:
        return yaml.decode(Path(path).read_bytes(), kind)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {str(path)!r}", field=str(path)) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint=_nearest_field(error, kind), field=str(path)) from error


def _nearest_field(error: Exception, kind: type) -> str:
    """For "contains unknown field `x`": the nearest fields that exist."""
    text = str(error)
    if "unknown field" not in text or "`" not in text:
        return ""
    known = [field.name for field in msgspec.structs.fields(kind)]
    return unknown("setting", text.split("`")[1], known).hint
