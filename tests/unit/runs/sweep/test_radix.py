"""Index ↔ setting ↔ run, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.errors import ConfigError
from understudy.runs.sweep.radix import Grid, indices

REFERENCE = Grid(
    {
        "decay": [0.5],
        "critic_lr": [0.005, 0.1, 0.3],
        "actor_lr": [0.005, 0.1, 0.3],
        "avg_reward_lr": [0.1, 0.3, 0.5, 0.9],
        "scaled": [True],
        "clip_stddev": [1000],
    }
)


@pytest.mark.parametrize(
    ("index", "setting", "run", "critic", "actor", "average"),
    [
        (0, 0, 0, 0.005, 0.005, 0.1),
        (1, 1, 0, 0.1, 0.005, 0.1),
        (2, 2, 0, 0.3, 0.005, 0.1),
        (3, 3, 0, 0.005, 0.1, 0.1),
        (8, 8, 0, 0.3, 0.3, 0.1),
        (9, 9, 0, 0.005, 0.005, 0.3),
        (35, 35, 0, 0.3, 0.3, 0.9),
        (36, 0, 1, 0.005, 0.005, 0.1),
        (37, 1, 1, 0.1, 0.005, 0.1),
        (359, 35, 9, 0.3, 0.3, 0.9),
        (360, 0, 10, 0.005, 0.005, 0.1),
    ],
)
def test_the_reference_example(index: int, setting: int, run: int, critic: float, actor: float, average: float) -> None:
    """36 settings; the first key varies fastest; index 36 is setting 0 again, run 1."""
    assert REFERENCE.total == 36
    assert REFERENCE.place(index) == (setting, run)
    values = REFERENCE.setting(setting)
    assert (values["critic_lr"], values["actor_lr"], values["avg_reward_lr"]) == (critic, actor, average)
    assert REFERENCE.number(values) == setting and REFERENCE.index(setting, run) == index


@given(st.lists(st.integers(1, 5), max_size=5), st.integers(0, 10_000))
def test_there_and_back(sizes: list[int], index: int) -> None:
    """Every index names one setting and run, and they name it."""
    grid = Grid({str(k): list(range(n)) for k, n in enumerate(sizes)})
    setting, run = grid.place(index)
    assert grid.index(grid.number(grid.setting(setting)), run) == index


def test_every_setting_once() -> None:
    """The 36 settings are the product of the axes."""
    seen = {tuple(REFERENCE.setting(i).values()) for i in range(36)}
    assert len(seen) == 36


@pytest.mark.parametrize(
    ("text", "first", "found"),
    [("37", 0, [37]), ("0:3", 0, [0, 1, 2]), ("1:4", 1, [0, 1, 2]), ("5,2,5,0:2", 0, [5, 2, 0, 1])],
)
def test_indices(text: str, first: int, found: list[int]) -> None:
    """One, a range whose end is not included, several; numbered from 0 or 1."""
    assert indices(text, first) == found


@pytest.mark.parametrize(("text", "first"), [("", 0), ("a", 0), ("3:3", 0), ("5:2", 0), ("0", 1), ("-1", 0), ("1", 2)])
def test_no_index(text: str, first: int) -> None:
    """Neither empty, nor backwards, nor before the first."""
    with pytest.raises(ConfigError):
        indices(text, first)


def test_there_is_no_such_setting() -> None:
    """A setting's number is below the total."""
    with pytest.raises(ConfigError, match="there are 36"):
        REFERENCE.setting(36)
