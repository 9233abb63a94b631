"""The Problem: what it accepts, what it refuses, and that its hash is its meaning."""

import msgspec
import pytest

from understudy.core.errors import ConfigError
from understudy.core.problem import ActionSpace, Feature, OutcomeSpec, Problem, decode_problem, reward_names

GOOD = {"features": [{"name": "age"}], "actions": {"names": ["a", "b"]}}


def problem(**changes: object) -> Problem:
    return msgspec.convert({**GOOD, **changes}, Problem)


def test_a_small_problem_is_a_bandit_with_one_reward() -> None:
    """Defaults make a bandit with rewards in [0, 1]."""
    made = problem()
    assert made.bandit and made.reward_range == (0.0, 1.0) and made.outcome_names == ("reward",)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"reward_range": [1, 0]}, "reward_range"),
        ({"discount": 1.5}, "discount"),
        ({"horizon": None}, "horizon"),
        ({"horizon": 0}, "horizon"),
        ({"features": [{"name": "x"}, {"name": "x"}]}, "twice"),
        ({"features": [{"name": "x", "kind": "category"}]}, "category"),
        ({"features": [{"name": "x", "values": ["a"]}]}, "category"),
        ({"actions": {"names": ["a", "a"]}}, "twice"),
        ({"actions": {}}, "names"),
        ({"actions": {"low": [0], "high": [0]}}, "low < high"),
        ({"reward": "profit"}, "profit"),
        ({"reward": "__import__('os')"}, "reward"),
        ({"reward": "reward if reward else 1"}, "reward"),
        ({"reward": "3.0"}, "reads no outcome"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_contradiction_is_refused_with_its_word(changes: dict[str, object], word: str) -> None:
    """Every refused problem names what is wrong."""
    with pytest.raises(msgspec.ValidationError, match=word):
        problem(**changes)


def test_the_hash_is_the_meaning() -> None:
    """Equal problems hash alike; any change that matters changes the hash."""
    assert problem().hash == problem().hash
    others = [problem(discount=0.5), problem(reward_range=[0, 2]), problem(actions={"names": ["a", "c"]})]
    assert len({problem().hash, *(other.hash for other in others)}) == 4


def test_a_reward_expression_reads_its_outcomes_in_order() -> None:
    """Names come once each, in order of first appearance; a plain name may be any text."""
    assert reward_names("b - 0.3 * a / (b + 1)", ("a", "b")) == ("b", "a")
    assert reward_names("net revenue", ("net revenue",)) == ("net revenue",)


@pytest.mark.parametrize("expression", ["1e400 * a", "a" + " + a" * 20_000, "a ** 2", "f(a)", "True * a", "a +", "2"])
def test_a_reward_that_no_database_could_compute_is_refused(expression: str) -> None:
    """Infinite numbers, nesting without end, and anything but arithmetic are faults of the problem, not of the join."""
    with pytest.raises(ValueError, match="reward"):
        reward_names(expression, ("a",))


def test_yaml_faults_name_the_file_and_say_what_to_do() -> None:
    """A broken problem file is a ConfigError with the file's name and the next step."""
    with pytest.raises(ConfigError) as caught:
        decode_problem(b"features: 3", where="p.yaml", yaml=True)
    assert "p.yaml" in str(caught.value) and "understudy identify" in str(caught.value)


def test_continuous_actions_have_dimensions() -> None:
    """A box has dims and no k; a discrete space the other way round."""
    box = ActionSpace(low=(0.0, -1.0), high=(1.0, 1.0))
    assert (box.dims, box.k, box.discrete) == (2, 0, False)
    assert OutcomeSpec(name="y").default == 0.0 and Feature(name="x").kind == "number"
