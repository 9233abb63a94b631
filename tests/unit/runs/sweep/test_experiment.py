"""The experiment file: what it may say, and what it means."""

from pathlib import Path
from typing import Any

import pytest

from understudy.core.errors import ConfigError, UnderstudyError
from understudy.runs.sweep.experiment import Experiment, overridden, plan, read_experiment, seeds

BANDIT: dict[str, Any] = {"name": "e", "learner": "direct", "env": "bandit", "log": {"episodes": 50}}


def made(**fields: Any) -> Any:
    return plan(Experiment(**{**BANDIT, **fields}))


def test_settings_by_seeds() -> None:
    """The same seed for every setting of a round; runs are named by what decides their results."""
    found = made(sweep={"settings.model": ["ridge", "forest"], "log.episodes": [50, 60]}, seeds="7:9")
    runs = list(found.runs())
    assert [(run.index, run.setting, run.seed) for run in runs] == [
        (0, 0, 7), (1, 1, 7), (2, 2, 7), (3, 3, 7), (4, 0, 8), (5, 1, 8), (6, 2, 8), (7, 3, 8),
    ]  # fmt: skip
    assert [run.config.settings["model"] for run in runs[:4]] == ["ridge", "forest"] * 2
    assert [run.config.log.episodes for run in runs[:4] if run.config.log] == [50, 50, 60, 60]
    assert len({run.id for run in runs}) == 8


def test_a_run_is_named_by_its_resolved_config() -> None:
    """A default written out is the same run; what is only about where it runs is no part of its name."""
    (plain,), (said,) = (
        made(seeds=[3]).runs(),
        made(seeds=[3], settings={"explore": "greedy"}, name="f", group=5).runs(),
    )
    (other,) = made(seeds=[3], settings={"model": "forest"}).runs()
    assert plain.id == said.id != other.id


def test_fields_that_change_together() -> None:
    """An axis of mappings changes several fields; each learner brings its own settings."""
    found = made(
        sweep={"variant": [{"learner": "direct", "settings.model": "forest"}, {"learner": "uniform"}]}, seeds=1
    )
    assert [(c.learner, c.settings.get("model")) for c in found.configs] == [("direct", "forest"), ("uniform", None)]


def test_a_further_round_of_seeds() -> None:
    """An index beyond the plan is a further round, unless the seeds were listed or it may not wrap."""
    found = made(seeds=2)
    assert found.run(5).seed == 5 and found.run(5).setting == 0
    with pytest.raises(ConfigError, match="index 2 is out of range: there are 2 runs, 0 to 1"):
        found.within([1, 2])
    with pytest.raises(ConfigError, match="round 2 of the settings"):
        made(seeds=[4, 9]).run(2)


def test_axes_may_be_put_aside() -> None:
    """``sweep={}`` empties the sweep; axes named after it stand, where they were once lost with it."""
    base = Experiment(name="x", learner="direct", env="bandit", log={"episodes": 9}, sweep={"settings.a": [1, 2]})
    found = overridden(base, {"sweep": {}, "log.episodes": [1, 2, 3]})
    assert found.sweep == {"log.episodes": [1, 2, 3]} and overridden(base, {"sweep": {}}).sweep == {}


def test_overrides(tmp_path: Path) -> None:
    """A value replaces, several sweep, ``learner.`` and ``env.`` are the open sections."""
    path = tmp_path / "e.yaml"
    path.write_text("name: e\nlearner: direct\nenv: bandit\nlog: {episodes: 50}\nsweep: {settings.model: [ridge]}\n")
    found = plan(read_experiment(path, {"learner.model": ["forest", "ridge"], "log.episodes": 70, "seed": [1, 2]}))
    assert [c.settings["model"] for c in found.configs] == ["forest", "ridge"] and found.seeds == (1, 2)
    assert all(c.log and c.log.episodes == 70 for c in found.configs)
    again = overridden(found.experiment, {"settings.model": "ridge"})
    assert [c.settings["model"] for c in plan(again).configs] == ["ridge"]


def test_runs_in_place_of_the_seeds() -> None:
    """``--runs`` is the number of seeds, from the file's first."""
    experiment = Experiment(**BANDIT, seeds="10:12")
    assert plan(experiment, 1).seeds == (10,) and plan(experiment, 4).seeds == (10, 11, 12, 13)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sweep": {"settings.modell": ["ridge"]}}, "unknown setting of learner 'direct': 'modell'"),
        ({"sweep": {"settings.model": []}}, "has no values"),
        ({"sweep": {"settings.model": ["ridge", "ridge"]}}, "lists a value twice"),
        ({"sweep": {"setings": [1]}}, "unknown field of an experiment 'setings'"),
        ({"sweep": {"log.episodes": ["many"]}}, "Expected `int`, got `str`"),
        ({"learner": "dirct"}, "unknown learner 'dirct'"),
        ({"learner": ""}, "no learner is named"),
        ({"env": "bandt"}, "unknown environment 'bandt'"),
        ({"env_settings": {"arms": 3}}, "setting"),
        ({"log": None}, "learns from one of"),
        ({"growth": {"steps": 10}}, "learns from one of"),
        ({"log": None, "growth": {"steps": 5000}}, "direct learns from a log, not in a world"),
        ({"log": None, "growth": {"stepz": 5000}, "learner": "dqn", "env": "cartpole"}, "unknown setting of growth"),
        ({"log": None, "growth": {}, "learner": "dqn"}, "bandit is a bandit"),
        ({"seeds": []}, "not one or more different numbers"),
        ({"seeds": "5:5"}, "not one or more different numbers"),
        ({"group": 0}, "group is the number of runs"),
        ({"log": None, "on": "nowhere"}, "nowhere is not an artifact"),
    ],
)
def test_what_is_wrong_is_said_before_any_run(fields: dict[str, Any], said: str) -> None:
    """Every field of every setting is looked at when the plan is made."""
    with pytest.raises(UnderstudyError) as caught:
        made(**fields)
    assert said in str(caught.value), caught.value


@pytest.mark.parametrize(("given", "found"), [(3, (0, 1, 2)), ("4:6", (4, 5)), ([9, 2], (9, 2))])
def test_seeds(given: Any, found: tuple[int, ...]) -> None:
    """A number of them, a range, a list."""
    assert seeds(given) == found


def test_an_unknown_key_of_the_file_names_the_nearest(tmp_path: Path) -> None:
    """Strict, with a hint."""
    path = tmp_path / "e.yaml"
    path.write_text("name: e\nlearnr: direct\n")
    with pytest.raises(ConfigError, match="learnr") as caught:
        read_experiment(path)
    assert "learner" in caught.value.hint
