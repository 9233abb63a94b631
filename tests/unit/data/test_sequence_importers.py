"""Minari, d3rlpy and Coach: small real files, written as those write them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from understudy.cli import main
from understudy.core.errors import DataError
from understudy.core.registry import find
from understudy.data.timeline.rules import Rules
from understudy.data.timeline.run import timeline

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(6, 2)).astype(np.float32)


def steps_of(name, path, **rules):
    made = find("tables", name)(path)
    return timeline(made.decisions, problem=made.problem, rules=Rules(**rules)).load().steps


def test_d3rlpy_flat(tmp_path):
    """Terminals end, timeouts cut; the state after the cut comes from next_observations."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"], file["next_observations"] = STATES[:5], STATES[1:]
        file["actions"] = np.array([0, 1, 0, 1, 1])
        file["rewards"] = np.arange(5, dtype=np.float32)
        file["terminals"], file["timeouts"] = np.array([0, 1, 0, 0, 0]), np.array([0, 0, 0, 0, 1])
    steps = steps_of("d3rlpy", tmp_path / "a.hdf5")
    assert steps.starts.tolist() == [0, 2, 5] and steps.action.tolist() == [0, 1, 0, 1, 1]
    assert steps.terminated.tolist() == [False, True, False, False, False] and steps.truncated[4]
    assert np.array_equal(steps.context, STATES[:5])
    assert steps.final_context is not None and np.array_equal(steps.final_context[1], STATES[5])


def test_d3rlpy_flat_without_what_followed(tmp_path):
    """A cut episode whose final state is not there is refused, unless its last row may stand in."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"], file["actions"] = STATES, RNG.normal(size=(6, 3))
        file["rewards"], file["terminals"] = np.ones((6, 1)), np.zeros((6, 1))
    with pytest.raises(DataError, match="the state after its last step is not logged"):
        steps_of("d3rlpy", tmp_path / "a.hdf5")
    steps = steps_of("d3rlpy", tmp_path / "a.hdf5", terminal="drop", lost_reward="discard")
    assert (steps.n, steps.action.shape) == (5, (5, 3))
    assert steps.final_context is not None and np.array_equal(steps.final_context[0], STATES[5])


def test_d3rlpy_by_episode(tmp_path):
    """One array per episode, as its second version dumps a buffer."""
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for i, (first, last) in enumerate([(0, 2), (2, 6)]):
            file[f"observations_{i}"], file[f"rewards_{i}"] = STATES[first:last], np.ones((last - first, 1))
            file[f"actions_{i}"], file[f"terminated_{i}"] = np.zeros((last - first, 1), np.int64), True
    steps = steps_of("d3rlpy", tmp_path / "b.h5")
    assert steps.starts.tolist() == [0, 2, 6] and steps.terminated.sum() == 2


def test_d3rlpy_that_is_none(tmp_path):
    """No HDF5, a missing array, arrays of different lengths: each is named."""
    (tmp_path / "no.h5").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        find("tables", "d3rlpy")(tmp_path / "no.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["observations"] = STATES
    with pytest.raises(DataError, match="no array 'actions'; it has observations"):
        find("tables", "d3rlpy")(tmp_path / "c.h5")


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_minari(tmp_path, monkeypatch):
    """A dataset that Minari itself wrote: T + 1 states, so a truncated episode's final state is known."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    gym, library = pytest.importorskip("gymnasium"), pytest.importorskip("minari")
    env = library.DataCollector(gym.make("CartPole-v1", max_episode_steps=12), record_infos=False)
    for seed in range(4):
        env.reset(seed=seed)
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = env.step(
                seed % 2 if seed < 2 else (env.unwrapped.steps_beyond_terminated or 0) % 2
            )
            ended = terminated or truncated
    made = env.create_dataset("cartpole/test-v0", algorithm_name="none", code_permalink="", author="", author_email="")
    steps = steps_of("minari", tmp_path / "cartpole" / "test-v0")
    told = list(made.iterate_episodes())
    assert steps.m == 4 and steps.n == sum(len(e.actions) for e in told)
    assert np.array_equal(steps.context, np.concatenate([e.observations[:-1] for e in told]).astype(np.float32))
    assert steps.action.tolist() == np.concatenate([e.actions for e in told]).tolist()
    assert steps.terminated.sum() == sum(bool(e.terminations[-1]) for e in told)


def test_coach(tmp_path):
    """Its CSV, with the probabilities also as NumPy 2 prints them; the last row keeps its reward."""
    lines = [
        "action,all_action_probabilities,episode_id,episode_name,reward,transition_number,state_feature_0,state_feature_1"
    ]
    for i, said in enumerate(['"[0.5, 0.5]"', '"[np.float64(0.25), np.float64(0.75)]"', '"[0.5 0.5]"']):
        lines.append(f"{i % 2},{said},{i // 2},name,1.0,{i % 2},{i}.5,{i}.25")
    (tmp_path / "c.csv").write_text("\n".join(lines).replace('"[0.5 0.5]"', '"[0.5, 0.5]"') + "\n")
    steps = steps_of("coach", tmp_path / "c.csv")
    assert steps.starts.tolist() == [0, 2, 3] and steps.reward.tolist() == [1.0, 1.0, 1.0]
    assert steps.propensities is not None and steps.propensities[1].tolist() == [0.25, 0.75]
    assert steps.propensity is not None and steps.propensity.tolist() == [0.5, 0.75, 0.5]
    (tmp_path / "d.csv").write_text("action,reward\n1,2\n")
    with pytest.raises(DataError, match="it lacks all_action_probabilities, episode_id, state_feature_0"):
        find("tables", "coach")(tmp_path / "d.csv")


def test_the_verb_takes_them(tmp_path, monkeypatch, capsys):
    """understudy timeline FILE --from coach drafts the problem itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.csv").write_text(
        'action,all_action_probabilities,episode_id,reward,state_feature_0\n0,"[0.5, 0.5]",7,1.0,0.25\n'
    )
    assert main(["timeline", "c.csv", "--from", "coach", "--to", "data"]) == 0
    assert "1 rows = 1 steps" in capsys.readouterr().out
    assert main(["timeline", "c.csv", "--from", "koach", "--to", "data2"]) == 2
