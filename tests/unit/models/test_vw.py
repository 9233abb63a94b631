"""Policies of Vowpal Wabbit: what it may load, what it may answer, and that it answers the same every time."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import ConfigError, DataError, EvidenceError, StoreError
from understudy.core.protocols import State
from understudy.learners.lin_ucb import LinUCB
from understudy.learners.vw import VW
from understudy.models.policy_file import save_policy
from understudy.models.state import revive
from understudy.models.vw import MAX_BITS, VWPolicy, adf_lines, examine, line, sound_pmf, workspace
from understudy.testing.conformance_learner import PLAIN, LoggedSteps, example_log

LOG = example_log(PLAIN, 200, 1)


@pytest.fixture(scope="module")
def policy() -> VWPolicy:
    made = VW().fit(LOG, seed=0)
    assert isinstance(made, VWPolicy)
    return made


def test_what_vw_is_told() -> None:
    """A row by hand: zeros are left out, floats are written so that the same float32 is read."""
    z = np.array([0.1, 0.0, -2.5], np.float32)
    assert line(z) == "|s 0:0.10000000149011612 2:-2.5"
    assert adf_lines(z, np.array([0, 2]), 2, "0:1.0:0.5") == ["shared " + line(z), "|a 0", "0:1.0:0.5 |a 2"]
    assert VW().options(3, 7) == [
        "--cb_explore_adf",
        "--squarecb",
        "--gamma_scale",
        "100.0",
        "--cb_min_cost",
        "0",
        "--cb_max_cost",
        "1",
        "-q",
        "sa",
        "--interactions",
        "ssa",
        "--cb_type",
        "mtr",
        "--learning_rate",
        "0.5",
        "--power_t",
        "0.5",
        "--bit_precision",
        "18",
        "--random_seed",
        "7",
        "--quiet",
    ]
    assert VW(explore="greedy", adf=False, quadratic=False).options(3, 0)[:2] == ["--cb", "3"]


@pytest.mark.parametrize(
    "said",
    [[-1.0, 1.0, 1.0], [0.5, 0.5], [0.5, 0.5, float("nan")], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], 2, [0.3, 0.3, 0.3]],
    ids=str,
)
def test_an_answer_that_is_no_pmf_is_refused(said) -> None:
    """Negative, too few, not a number, a sum that is not 1, no list at all."""
    with pytest.raises(DataError, match="not 3 probabilities"):
        sound_pmf(said, 3)
    assert sound_pmf([0.25, 0.25, 0.50001], 3).sum() == pytest.approx(1, abs=1e-15)
    assert sound_pmf([1.0, 0.0, 1.0], 3, shared=True).tolist() == [0.5, 0.0, 0.5]
    with pytest.raises(DataError):
        sound_pmf([-1.0, 1.0, 1.0], 3, shared=True)


def test_elimination_really_emits_what_is_refused(policy: VWPolicy) -> None:
    """The option is not offered because VW's own answer, fetched here, holds negative numbers; we refuse it."""
    with pytest.raises(TypeError):
        VW(elim=True)  # type: ignore[call-arg]
    wabbit = workspace(["--cb_explore_adf", "--squarecb", "--elim", "--gamma_scale", "10", "-q", "sa", "--quiet"])
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        x, action = rng.standard_normal(4).astype(np.float32), int(rng.integers(3))
        said = wabbit.predict(adf_lines(x, np.arange(3)))
        try:
            sound_pmf(said, 3)
        except DataError:
            refused += 1
        cost = float((x[0] > 0) != (action == 1))
        wabbit.learn(adf_lines(x, np.arange(3), action, f"0:{cost}:0.333"))
    wabbit.finish()
    assert refused > 0, "VW no longer emits invalid probabilities: the page may say so"


def test_a_row_is_answered_the_same_every_time(policy: VWPolicy) -> None:
    """Alone, in a batch, in another order, after others, by a twin read from its state: the last bit."""
    context = LOG.steps.context[:60]
    p = policy.probs(context)
    twin = revive(policy.state())
    assert twin.probs(context[::-1])[::-1].tobytes() == p.tobytes()
    for i in (0, 59, 17, 0):
        assert policy.probs(context[i : i + 1]).tobytes() == p[i : i + 1].tobytes()
        assert twin.probs(context[i : i + 1]).tobytes() == p[i : i + 1].tobytes()


def test_only_allowed_actions_are_shown(policy: VWPolicy) -> None:
    """With one allowed action its probability is 1."""
    only = np.tile([False, True, False], (5, 1))
    assert policy.probs(LOG.steps.context[:5], only).tolist() == [[0.0, 1.0, 0.0]] * 5


def header(options: str, bits: int = 18, lda: int = 0) -> bytes:
    text = options.encode() + b"\0"
    return (
        struct.pack("<I7sI1s", 7, b"9.11.9\0", 1, b"\0")
        + b"m"
        + struct.pack("<ffIIIII", 0.0, 1.0, bits, lda, 0, 0, len(text))
        + text
    )


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"\xff" * 40,
        header("--cb_explore_adf --final_regressor /tmp/x"),
        header("--cb_explore_adf --audit_regressor x"),
        header("--cb_explore_adf --predictions ../x"),
        header("--cb_explore_adf -f x"),
        header("--epsilon -f x"),
        header("--cb_explore_adf data"),
        header("--epsilon 0.1 data"),
        header("--cb_explore_adf --epsilon"),
        header("--cb_explore_adf --epsilon /etc/passwd"),
        header("--cb_explore_adf --squarecb --elim"),
        header("--cb_explore_adf", bits=MAX_BITS + 1),
        header("--cb_explore_adf", lda=5),
        header("--cb " * 1_000),
        header("--cb_explore_adf")[:-3] + b"\xff\xff",
    ],
    ids=range(16),
)
def test_model_bytes_that_ask_for_more_are_refused(policy: VWPolicy, model: bytes) -> None:
    """Before VW sees them: other options, paths, tables that do not fit in memory, or no header at all."""
    examine(header("--cb_explore_adf --epsilon 0.05"))
    with pytest.raises(StoreError, match="vw"):
        examine(model)
    state = policy.state()
    arrays = state.arrays | {"model": np.frombuffer(model, np.uint8)}
    with pytest.raises(StoreError):
        revive(State(state.kind, state.config, arrays))


def test_a_log_without_propensities_is_refused() -> None:
    """VW weighs by them."""
    with pytest.raises(EvidenceError):
        VW().fit(LoggedSteps(PLAIN, LOG.steps.with_(propensity=None)), seed=0)


@pytest.mark.parametrize("settings", [{"explore": "first"}, {"bits": 30}, {"cb_type": "sm"}, {"rate": 0.0}], ids=str)
def test_settings_without_meaning_are_refused(settings: dict) -> None:
    """Before VW is started."""
    with pytest.raises(ConfigError):
        VW(**settings)


def test_vw_is_loaded_for_its_own_policies_only(policy: VWPolicy, tmp_path: Path) -> None:
    """A process that opens any other policy never imports it; one that opens this kind acts as the maker did."""
    save_policy(policy, tmp_path / "vw", problem=PLAIN)
    save_policy(LinUCB().fit(LOG, seed=0), tmp_path / "linear", problem=PLAIN)
    code = (
        "import sys, numpy as np; from understudy.models.policy_file import load_policy;"
        f"load_policy({str(tmp_path / 'linear')!r}).probs(np.ones((1, 3), np.float32));"
        "assert 'vowpalwabbit' not in sys.modules and 'understudy.models.vw' not in sys.modules;"
        f"p = load_policy({str(tmp_path / 'vw')!r}).probs(np.ones((1, 3), np.float32)); print(p.tobytes().hex())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == policy.probs(np.ones((1, 3), np.float32)).tobytes().hex()
