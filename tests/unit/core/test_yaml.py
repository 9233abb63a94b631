"""What version 1.1 of YAML would have made of it."""

from typing import Any

import msgspec
import pytest

from understudy.core.yaml import decode


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10:14", "10:14"), ("1e-3", 0.001), ("1E5", 1e5), ("007", 7), ("-3", -3), (".5", 0.5), ("3.", 3.0),
        ("yes", "yes"), ("off", "off"), ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("1_000", "1_000"), ("0x1f", "0x1f"), ("2026-11-21", "2026-11-21"), ("'1'", "1"), ("-.inf", float("-inf")),
        ("[1, 2.5, a]", [1, 2.5, "a"]), ("on: {y: n}", {"on": {"y": "n"}}),
    ],
)  # fmt: skip
def test_plain_words(text: str, found: Any) -> None:
    """The core schema of version 1.2."""
    assert decode(text) == found and type(decode(text)) is type(found)


@pytest.mark.parametrize("text", ["a: [", "!!python/object:os.system {}", "a: *b"])
def test_what_is_no_plain_value_is_an_error(text: str) -> None:
    """Neither half a document, nor an object."""
    with pytest.raises(msgspec.DecodeError):
        decode(text)


def test_types_are_strict() -> None:
    """As msgspec has it."""
    with pytest.raises(msgspec.ValidationError):
        decode("a: b", dict[str, int])
