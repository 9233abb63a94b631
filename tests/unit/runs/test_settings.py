"""Settings are strict: nothing is guessed, nothing is ignored."""

from pathlib import Path

import pytest

from understudy.core.errors import ConfigError
from understudy.gate import GateRules
from understudy.runs.settings import learner, parse_overrides, read_yaml


def test_words_become_typed_values() -> None:
    """Values are YAML scalars and lists."""
    assert parse_overrides(["a=0.5", "b=true", "c=text", "d=[1, 2]", "e="]) == {
        "a": 0.5, "b": True, "c": "text", "d": [1, 2], "e": "",
    }  # fmt: skip


@pytest.mark.parametrize("words", [["a"], ["=3"], ["a=1", "a=2"], ["a=[1"]])
def test_a_word_that_is_no_setting_is_refused(words: list[str]) -> None:
    """No equals sign, no key, a key twice, a value that does not parse."""
    with pytest.raises(ConfigError):
        parse_overrides(words)


def test_an_unknown_setting_names_the_nearest() -> None:
    """A typing error in a hyper-parameter is answered with the right name."""
    with pytest.raises(ConfigError) as caught:
        learner("direct", {"modle": "ridge"})
    assert "model" in caught.value.hint


def test_a_setting_of_the_wrong_type_is_refused() -> None:
    """Types of hyper-parameters are checked before anything runs."""
    with pytest.raises(ConfigError, match="amount"):
        learner("direct", {"amount": "much"})


def test_a_rules_file_with_a_typing_error_names_the_nearest_field(tmp_path: Path) -> None:
    """Unknown keys of a YAML file are refused, with the nearest valid one."""
    path = tmp_path / "rules.yaml"
    path.write_text("alpah: 0.01\n")
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, GateRules)
    assert "alpha" in caught.value.hint
    with pytest.raises(ConfigError, match="no file"):
        read_yaml(tmp_path / "none.yaml", GateRules)


@pytest.mark.parametrize(
    ("word", "value"), [("1e-3", 0.001), ("-2.5E4", -25_000.0), ("1e30", 1e30), ("3", 3), ("e3", "e3")]
)
def test_a_number_may_have_a_bare_exponent(word: str, value: object) -> None:
    """YAML 1.1 would take 1e-3 for text."""
    assert parse_overrides([f"rate={word}"]) == {"rate": value}
