"""YAML as its version 1.2 reads it: 10:14 and ``on`` are text, 1e-3 is a number, only true and false are truths."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

_INT = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(~|null|Null|NULL|)$")


def decode(body: bytes | str, type: Any = Any) -> Any:
    """What a YAML text says, as ``type``, strict. Raises: msgspec.DecodeError, msgspec.ValidationError.

    The parser of PyYAML reads version 1.1, in which a seed range 10:14 is the number 614 and the key ``on`` is True.
    Source: YAML 1.2.2, section 10.3.2, the core schema.

    >>> decode("on: data\\nseeds: 10:14\\nrate: 1e-3")
    {'on': 'data', 'seeds': '10:14', 'rate': 0.001}
    """
    import yaml

    try:
        found = yaml.load(body, Loader=_loader())
    except yaml.YAMLError as error:
        raise msgspec.DecodeError(str(error)) from error
    return found if type is Any else msgspec.convert(found, type)


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        """A SafeLoader of its own resolvers: those of the core schema."""

        yaml_implicit_resolvers: dict[str, Any] = {}

    for tag, pattern, first in (
        ("bool", _BOOL, "tTfF"), ("int", _INT, "-+0123456789"), ("float", _FLOAT, "-+.0123456789"),
        ("null", _NULL, "~nN"), ("null", _NULL, [""]),
    ):  # fmt: skip
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", pattern, list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value.replace(".inf", "inf")
                           .replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")))  # fmt: skip
    return Loader
