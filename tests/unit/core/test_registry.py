"""Names to things: nearest names for typing errors, cures for missing extras, clashes refused."""

import pytest

from understudy.core import registry
from understudy.core.errors import ConfigError


def test_an_unknown_name_lists_the_nearest() -> None:
    """A typing error is answered with what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        registry.find("estimators", "snipss")
    assert "snips" in caught.value.hint and caught.value.field == "snipss"


def test_every_registered_thing_can_be_imported() -> None:
    """No table points at a name that is gone."""
    for kind in registry.TABLES:
        for name in registry.table(kind):
            assert registry.find(kind, name) is not None


def test_a_missing_package_says_which_extra_cures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of an absent optional package is a pip command."""

    def absent(name: str) -> None:
        raise ModuleNotFoundError("No module named 'optuna'", name="optuna.trial")

    monkeypatch.setattr(registry, "table", lambda kind: {"x": "a:b"})
    monkeypatch.setattr(registry.importlib, "import_module", absent)
    with pytest.raises(ConfigError, match="optuna") as caught:
        registry.find("learners", "x")
    assert 'pip install "understudy[tune]"' in caught.value.hint


def test_a_clash_of_names_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third-party package cannot silently replace one of ours."""
    from importlib.metadata import EntryPoint

    point = EntryPoint(name="ips", value="other:IPS", group="understudy.estimators")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match="two estimators are called 'ips'"):
        registry.table("estimators")


def test_where_nothing_is_known_nothing_is_guessed() -> None:
    """A thing without settings does not ask "Did you mean: ?"."""
    assert registry.unknown("setting of uniform", "x", []).hint == "There is none."
