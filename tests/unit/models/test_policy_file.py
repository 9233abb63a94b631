"""A policy's folder: bit for bit what was saved, or a typed error; nothing in between, whatever the bytes."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from understudy.core.errors import StoreError, UnderstudyError
from understudy.core.hashing import canonical
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.core.protocols import State
from understudy.core.steps import bandit_steps
from understudy.models.growing import Forest
from understudy.models.policies import Explore, Mixture, Uniform
from understudy.models.policy_file import HEAD, WEIGHTS, load_policy, read_policy, save_policy
from understudy.models.ridge import Ridge
from understudy.models.safetensors import decode, encode

PROBLEM = Problem(features=(Feature(name="x"), Feature(name="y", optional=True)), actions=ActionSpace(names=("a", "b")))
RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 2)).astype(np.float32)
LOG = bandit_steps(X, RNG.integers(0, 2, 200), RNG.random(200), np.full(200, 0.5))
POLICY = Mixture(
    (
        Explore(Forest(trees=3).fit(LOG, PROBLEM, seed=0), "votes", 0.1),
        Explore(Ridge().fit(LOG, PROBLEM, seed=0), "softmax", 2.0),
        Uniform(2),
    ),
    (0.5, 0.3, 0.2),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_policy(POLICY, tmp_path / "p", problem=PROBLEM, extra={"learner": "test", "seed": 3})
    return tmp_path / "p"


def reseal(folder: Path, **changes) -> None:
    """Change the head, or the weights, and make every checksum right again, as an attacker would."""
    body = json.loads((folder / HEAD).read_text())
    body.pop("sha256")
    body |= changes
    body["weights_sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    body["sha256"] = hashlib.sha256(canonical(body)).hexdigest()
    (folder / HEAD).write_text(json.dumps(body))


def test_it_comes_back_bit_for_bit(folder: Path) -> None:
    """Same probabilities to the last bit; problem and notes beside it."""
    found = read_policy(folder)
    assert found.problem == PROBLEM and found.extra == {"learner": "test", "seed": 3}
    assert found.policy.probs(X).tobytes() == POLICY.probs(X).tobytes()
    assert load_policy(folder).state().config == POLICY.state().config


def test_equal_policies_give_equal_files(folder: Path, tmp_path: Path) -> None:
    """So that their content hash is one."""
    save_policy(load_policy(folder), tmp_path / "q", problem=PROBLEM, extra={"seed": 3, "learner": "test"})
    for name in (HEAD, WEIGHTS):
        assert (tmp_path / "q" / name).read_bytes() == (folder / name).read_bytes()


def test_the_weights_are_a_safetensors_file(folder: Path) -> None:
    """The reference library reads what we write, and we read what it writes."""
    from safetensors.numpy import load, save

    raw = (folder / WEIGHTS).read_bytes()
    theirs = load(raw)
    assert theirs.keys() == POLICY.state().arrays.keys()
    for name, array in POLICY.state().arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
    ours = decode(save(theirs), "x")
    assert all((ours[name] == theirs[name]).all() for name in theirs)


@pytest.mark.parametrize("seed", range(200))
def test_a_mutated_file_is_equal_or_refused(folder: Path, seed: int) -> None:
    """Bits flipped, bytes cut, doubled, swapped or overwritten in either file: the same policy, or a StoreError."""
    rng = np.random.default_rng(seed)
    path = folder / (HEAD if seed % 2 else WEIGHTS)
    raw = bytearray(path.read_bytes())
    at = int(rng.integers(0, len(raw)))
    match seed % 5:
        case 0:
            raw[at] ^= 1 << int(rng.integers(0, 8))
        case 1:
            raw = raw[:at]
        case 2:
            raw[at:at] = raw[at : at + int(rng.integers(1, 50))]
        case 3:
            other = int(rng.integers(0, len(raw)))
            raw[at], raw[other] = raw[other], raw[at]
        case _:
            raw[at : at + 8] = rng.bytes(8)
    path.write_bytes(raw)
    _equal_or_refused(folder)


@pytest.mark.parametrize("seed", range(200))
def test_mutated_weights_with_the_right_checksum_are_sound_or_refused(folder: Path, seed: int) -> None:
    """Someone who can compute a hash still gets no crash, no endless walk, no read outside: a pmf, or a StoreError."""
    rng = np.random.default_rng(1000 + seed)
    raw = bytearray((folder / WEIGHTS).read_bytes())
    header = int.from_bytes(raw[:8], "little")
    low, high = (8, 8 + header) if seed % 3 == 0 else (8 + header, len(raw))
    for at in rng.integers(low, high, 3):
        raw[at] ^= 1 << int(rng.integers(0, 8))
    (folder / WEIGHTS).write_bytes(raw)
    reseal(folder)
    try:
        policy = load_policy(folder)
    except StoreError:
        return
    p = policy.probs(X)
    assert np.isfinite(p).all() and (p >= 0).all() and np.allclose(p.sum(1), 1)


def _equal_or_refused(folder: Path) -> None:
    try:
        policy = load_policy(folder)
    except UnderstudyError as error:
        assert isinstance(error, StoreError)
        return
    assert policy.probs(X).tobytes() == POLICY.probs(X).tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "os:system"},
        {"kind": "linear"},
        {"kind": ["uniform"]},
        {"format": 2},
        {"problem_hash": "0"},
        {"problem": {"features": []}},
        {"config": []},
        {"extra": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_head_that_nobody_wrote_is_refused(folder: Path, changes: dict) -> None:
    """Even with every checksum right."""
    reseal(folder, **changes)
    with pytest.raises(StoreError):
        load_policy(folder)


HOSTILE_JSON = {
    "twins": '{"format": 1, "format": 1}',
    "nan": '{"format": NaN}',
    "overflow": '{"format": 1e400}',
    "deep": "[" * 100_000,
    "long": '{"format": ' + "1" * 5_000 + "}",
    "empty": "",
    "null": "null",
    "surrogate": b"\xed\xa0\x80",
    "pickle": b"\x80\x04\x95",
}


@pytest.mark.parametrize("text", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_refused(folder: Path, text: str | bytes) -> None:
    """Duplicate keys, NaN, 1e400, a number of 5,000 digits, depth, and what is no JSON at all."""
    (folder / HEAD).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(StoreError):
        load_policy(folder)


def header(entries: dict | str, body: bytes = b"\0" * 8) -> bytes:
    text = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return len(text).to_bytes(8, "little") + text + body


ENTRY = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
HOSTILE = {
    "twins": header(f'{{"a": {json.dumps(ENTRY)}, "a": {json.dumps(ENTRY)}}}'),
    "huge header": (1 << 40).to_bytes(8, "little") + b"{}",
    "header over 1 MB": header("{" + " " * (1 << 20) + "}", b""),
    "overlap": header({"a": ENTRY, "b": ENTRY}),
    "gap": header({"a": ENTRY | {"data_offsets": [8, 16]}}, b"\0" * 16),
    "rest": header({"a": ENTRY}, b"\0" * 16),
    "short": header({"a": ENTRY}, b"\0" * 4),
    "dtype": header({"a": ENTRY | {"dtype": "F128"}}),
    "object": header({"a": ENTRY | {"dtype": "O"}}),
    "negative": header({"a": ENTRY | {"shape": [-1]}}),
    "overflow": header({"a": ENTRY | {"shape": [1 << 40, 1 << 40]}}),
    "float offset": header({"a": ENTRY | {"data_offsets": [0.0, 8]}}),
    "true": header({"a": ENTRY | {"shape": [True]}}),
    "nan": header({"a": ENTRY}, np.array([np.nan]).tobytes()),
    "bool": header({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x02"),
    "list": header("[]"),
    "no object": header({"a": 3}),
    "pickle": b"\x80\x04\x95" + b"\0" * 30,
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_weights_are_refused(name: str) -> None:
    """Each rule of the strict reader, by a file that breaks only it."""
    with pytest.raises(StoreError, match="damaged"):
        decode(HOSTILE[name], "w")


def test_a_sound_file_of_that_form_is_read() -> None:
    """The control: what the hostile files break is otherwise in order."""
    assert decode(header({"a": ENTRY}), "w")["a"].tolist() == [0.0]


def test_reading_takes_little_more_than_the_file() -> None:
    """No header can make the reader allocate more than the file holds."""
    raw = encode({"a": np.ones(200_000)})
    tracemalloc.start()
    decode(raw, "w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * len(raw)


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(StoreError, match="cannot be read"):
        load_policy(tmp_path / "nowhere")


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """A policy that could not act is refused where it is made, not where it is loaded."""

    class Broken:
        def state(self) -> State:
            return State("linear", {}, {"coef": np.array([np.nan])})

    with pytest.raises(StoreError, match="not finite"):
        save_policy(Broken(), tmp_path / "p", problem=PROBLEM)  # type: ignore[arg-type]
    assert not (tmp_path / "p").exists()
