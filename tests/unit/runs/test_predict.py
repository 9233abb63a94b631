"""Batch scoring: what stands beside every state, in every format, and that it is the next log."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.hashing import fractions, text_hashes
from understudy.core.manifest import Manifest
from understudy.core.problem import ActionSpace, Feature, Problem
from understudy.data import states as reading
from understudy.data.artifact import write_artifact
from understudy.data.ingest import ingest
from understudy.models.box import UniformBox
from understudy.models.feature_map import FeatureMap, FittedFeature
from understudy.models.policies import Explore, floored
from understudy.models.policy_file import save_policy
from understudy.models.ridge import LinearModel
from understudy.ops import explore
from understudy.runs.predict import moment, predict

PROBLEM = Problem(
    features=(
        Feature(name="size"),
        Feature(name="new", kind="boolean", optional=True),
        Feature(name="home town", kind="category", values=("Oslo", "Rome"), open=True, optional=True),
    ),
    actions=ActionSpace(names=('say "hi"', "wait", "go")),
)
FEATURES = FeatureMap(
    (
        FittedFeature(kind="number", source=0, name="size"),
        FittedFeature(kind="boolean", source=1, name="new"),
        FittedFeature(kind="category", source=2, name="home town", values=3),
    )
)
RNG = np.random.default_rng(0)
POLICY = floored(Explore(LinearModel(FEATURES, RNG.standard_normal((3, 5)), np.zeros(3)), "softmax", 1.0), 3, 0.1)


def artifact(folder: Path, policy=POLICY, problem: Problem = PROBLEM) -> Path:
    def fill(part: Path) -> None:
        save_policy(policy, part, problem=problem)

    write_artifact(folder, Manifest(kind="policy", problem_hash=problem.hash), fill)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return artifact(tmp_path / "run")


def some(n: int) -> list[dict]:
    """States with their ids, a column of the caller's, and masks on every third."""
    rng = np.random.default_rng(1)
    rows = []
    for i in range(n):
        context = {
            "size": round(float(rng.normal()), 3),
            "new": bool(i % 2),
            "home town": ["Oslo", "Bonn", None][i % 3],
        }
        row = {"decision_id": f"d{i}", "time": 1000.5 + i, "note": f"№ {i}", "context": context}
        rows.append(row | ({"allowed": ["wait", "go"]} if i % 3 == 0 else {}))
    return rows


def write(path: Path, rows: list) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(rows: list[dict], application: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and actions as the policy gives them, from nothing that predict uses to read."""
    towns = {"Oslo": 0.0, "Rome": 1.0, None: np.nan}
    contexts = [row["context"] for row in rows]
    x = np.array([[c["size"], c["new"], towns.get(c["home town"], 2.0)] for c in contexts], np.float32)
    allowed = np.array(
        [[name in row.get("allowed", PROBLEM.actions.names) for name in PROBLEM.actions.names] for row in rows]
    )
    p = POLICY.probs(x, allowed)
    u = fractions(text_hashes([f"{application}\0{row['decision_id']}" for row in rows]))
    return p, explore.draw(p, u)


def test_every_state_gets_what_the_policy_would_do(run: Path, tmp_path: Path) -> None:
    """Order, fields, probabilities, propensity of the action drawn, and the draw of a service of that name."""
    rows = some(500)
    made = predict(write(tmp_path / "in.jsonl", rows), policy=run, to=tmp_path / "out.jsonl", application="shop")
    out = read(tmp_path / "out.jsonl")
    p, action = expected(rows, "shop")
    assert [{k: row[k] for k in given} for row, given in zip(out, rows)] == rows
    assert [row["action"] for row in out] == [PROBLEM.actions.names[a] for a in action]
    np.testing.assert_allclose([row["propensities"] for row in out], p, atol=1e-12)
    assert [row["propensity"] for row in out] == [row["propensities"][a] for row, a in zip(out, action)]
    assert {row["policy_id"] for row in out} == {made.policy_id}
    assert made.rows == 500 and sum(made.actions.values()) == 500


def test_the_text_of_a_line_is_kept(run: Path, tmp_path: Path) -> None:
    """Digits, escapes and spaces of what came in stand as they were; blank lines and CRs are no states."""
    line = '{"decision_id": "\\u0061", "big": 12345678901234567890123, "x": 1.10, "context": {"size": 1e0}}'
    (tmp_path / "in.jsonl").write_text(f"\n{line}  \r\n\n")
    predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().startswith(line[:-1] + ',"action":')


@pytest.mark.parametrize("block", [200, 1000, 1 << 22])
def test_draws_do_not_depend_on_where_blocks_end(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """The same file, the same bytes: also without ids, whatever is held in memory at a time."""
    rows = [{k: v for k, v in row.items() if k != "decision_id"} for row in some(300)]
    file = write(tmp_path / "in.jsonl", rows)
    predict(file, policy=run, to=tmp_path / "whole.jsonl")
    monkeypatch.setattr(reading, "BLOCK", block)
    predict(file, policy=run, to=tmp_path / "cut.jsonl")
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_ids_come_from_the_episode_or_from_file_seed_and_line(run: Path, tmp_path: Path) -> None:
    """A row's own id, else episode and turn, else a name that another seed changes."""
    rows = [{"context": {"size": 1.0}}, {"context": {"size": 1.0}, "episode_id": "e", "t": 3}]
    rows.append({"context": {"size": 1.0}, "decision_id": None})
    file = write(tmp_path / "in.jsonl", rows)
    ids = []
    for seed in (0, 1):
        predict(file, policy=run, to=tmp_path / f"{seed}.jsonl", seed=seed)
        ids.append([row["decision_id"] for row in read(tmp_path / f"{seed}.jsonl")])
    assert ids[0][1] == ids[1][1] == "e:3"
    assert ids[0][0] != ids[1][0] and ids[0][0].endswith("-1") and ids[0][2].endswith("-3")


@pytest.mark.parametrize("shape", ["flat", "positional", "gz"])
def test_json_of_every_shape_gives_the_same_decisions(run: Path, tmp_path: Path, shape: str) -> None:
    """Features at the top, or one array per line as batch transform jobs have it; compressed."""
    rows = [{"decision_id": f"{i}", "context": {"size": 0.1 * i, "new": i % 2, "home town": "Oslo"}} for i in range(50)]
    predict(write(tmp_path / "in.jsonl", rows), policy=run, to=tmp_path / "out.jsonl")
    truth = read(tmp_path / "out.jsonl")
    if shape == "gz":
        other = write(tmp_path / "in.jsonl.gz", rows)
    elif shape == "flat":
        other = write(tmp_path / "flat.jsonl", [{"decision_id": row["decision_id"], **row["context"]} for row in rows])
    else:
        other = write(tmp_path / "arrays.jsonl", [list(row["context"].values()) for row in rows])
    predict(other, policy=run, to=tmp_path / "other.jsonl")
    found = read(tmp_path / "other.jsonl")
    assert [row["propensities"] for row in found] == [row["propensities"] for row in truth]
    if shape == "positional":
        assert [row["context"] for row in found] == [row["context"] for row in rows]
    else:
        assert [row["action"] for row in found] == [row["action"] for row in truth]


@pytest.mark.parametrize("came", ["csv", "parquet", "nested"])
@pytest.mark.parametrize("goes", [".jsonl", ".csv", ".parquet"])
def test_tables_give_the_same_decisions_and_are_logs(run: Path, tmp_path: Path, came: str, goes: str) -> None:
    """CSV and Parquet, in and out, crosswise: equal to JSON lines, columns kept, and ingest reads them back."""
    rows = some(90)
    predict(write(tmp_path / "in.jsonl", rows), policy=run, to=tmp_path / "truth.jsonl", application="a")
    truth = read(tmp_path / "truth.jsonl")
    flat = [{k: v for k, v in row.items() if k not in ("context", "note")} | row["context"] for row in rows]
    for row in flat:
        row.setdefault("allowed", None)
    if came == "csv":
        path = tmp_path / "in.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(flat[0]))
            writer.writeheader()
            writer.writerows(
                [row | {"allowed": json.dumps(row["allowed"]) if row["allowed"] else None} for row in flat]
            )
    else:
        path = tmp_path / "in.parquet"
        nested = [{k: v for k, v in row.items() if k != "note"} for row in rows]
        parquet.write_table(pa.Table.from_pylist(nested if came == "nested" else flat), path)
    out = tmp_path / f"out{goes}"
    predict(path, policy=run, to=out, application="a")
    log = ingest(out, problem=PROBLEM)
    assert log.counts["decisions"] == 90 and log.counts["quarantined"] == 0
    table = parquet.read_table(log.folder / "decisions.parquet").sort_by("decision_id").to_pylist()
    for row, known in zip(table, sorted(truth, key=lambda row: row["decision_id"])):
        assert PROBLEM.actions.names[row["action"]] == known["action"]
        assert row["propensity"] == known["propensity"] and row["propensities"] == known["propensities"]
        assert row["time"] == round(known["time"] * 1e6) and row["policy_id"] == known["policy_id"]


def test_json_lines_become_a_table(run: Path, tmp_path: Path) -> None:
    """A context becomes a column per feature."""
    predict(write(tmp_path / "in.jsonl", some(30)), policy=run, to=tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert {"context.size", "note", "action", "propensities"} <= set(table.column_names)
    assert table.column("note").to_pylist() == [f"№ {i}" for i in range(30)]


def test_a_key_that_the_first_line_lacks_is_kept(run: Path, tmp_path: Path) -> None:
    """A table has the columns of all of its rows; what a row does not say is null. A time of 0 is a time."""
    later = {"context": {"size": 2.0, "new": True}, "note": "n", "time": 0, "action": None}
    states = [{"context": {"size": 1.0}}, later]
    predict(write(tmp_path / "in.jsonl", states), policy=run, to=tmp_path / "out.parquet", time=5.0)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("context.new").to_pylist() == [None, True]
    assert table.column("note").to_pylist() == [None, "n"]
    assert table.column("time").to_pylist() == [5.0, 0.0]
    predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl", time=5.0)
    assert [row["time"] for row in read(tmp_path / "out.jsonl")] == [5.0, 0]


def test_rows_with_and_without_a_time_all_come_out(run: Path, tmp_path: Path) -> None:
    """A line that has its own time is not lost beside one that gets it."""
    states = [{"context": {"size": float(i)}} | ({"time": 10.0 + i} if i % 2 else {}) for i in range(6)]
    predict(write(tmp_path / "in.jsonl", states), policy=run, to=tmp_path / "out.jsonl", time=5.0)
    assert [row["time"] for row in read(tmp_path / "out.jsonl")] == [5.0, 11.0, 5.0, 13.0, 5.0, 15.0]


def test_what_comes_out_is_a_log(run: Path, tmp_path: Path) -> None:
    """Ingest takes every line; rows without a time get one."""
    rows = [{"context": {"size": 1.0}} for _ in range(20)]
    predict(write(tmp_path / "in.jsonl", rows), policy=run, to=tmp_path / "out.jsonl", time=5.0)
    log = ingest(tmp_path / "out.jsonl", problem=PROBLEM)
    assert log.counts["decisions"] == 20 and log.counts["with_propensity"] == 20
    assert {row["time"] for row in read(tmp_path / "out.jsonl")} == {5.0}


BAD = [
    ('{"context": {"size": "big"}}', "size='big' is not a number"),
    ('{"context": {"size": true}}', "is not a number"),
    ('{"context": {"size": 1e39}}', "not finite in 32 bits"),
    ('{"context": {}}', "size is missing"),
    ('{"context": {"size": 1, "sise": 2}}', "neither a feature nor ignored: `sise`"),
    ('{"context": {"size": 1, "new": 2}}', "is not a boolean"),
    ('{"context": {"size": 1}, "allowed": []}', "not a list of the problem's actions"),
    ('{"context": {"size": 1}, "allowed": ["run"]}', "not a list of the problem's actions"),
    ('{"context": {"size": 1}, "mask": [0, 0, 0]}', "no action is allowed"),
    ('{"context": {"size": 1}, "mask": [1, 0]}', "mask is not 3 flags"),
    ('{"context": {"size": 1}, "action": "go"}', "action stands in the row already"),
    ('{"context": {"size": 1}', "truncated"),
    ("\xff", "invalid"),
    ("[1, 2, 3]", "Expected `object`"),
]


@pytest.mark.parametrize("line,said", BAD)
def test_a_bad_row_is_refused_with_its_line_or_set_aside(run: Path, tmp_path: Path, line: str, said: str) -> None:
    """By default nothing is written; with a quarantine the others are, and the row stands there with its reason."""
    good = '{"decision_id": "a", "context": {"size": 1}}'
    last = good.replace('"a"', '"b"')
    (tmp_path / "in.jsonl").write_bytes(f"{good}\n\n{line}\n{last}\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 3") as caught:
        predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl")
    assert said in caught.value.what
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "run"]
    made = predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl", quarantine=tmp_path / "bad.jsonl")
    assert (made.rows, made.quarantined) == (2, 1)
    aside = read(tmp_path / "bad.jsonl")
    assert [row["line"] for row in aside] == [3] and said in aside[0]["detail"]
    assert len(read(tmp_path / "out.jsonl")) == 2


@pytest.mark.parametrize("block", [64, 1 << 22])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_line_that_is_too_long_is_set_aside_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, block: int
) -> None:
    """First, in the middle, or the last one, whether it fits into a block or spans many."""
    monkeypatch.setattr(reading, "MAX_LINE", 200)
    monkeypatch.setattr(reading, "BLOCK", block)
    states = [{"decision_id": f"d{i}", "context": {"size": float(i)}} for i in range(4)]
    states[place]["note"] = "x" * 1_000
    write(tmp_path / "in.jsonl", states)
    with pytest.raises(DataError, match=f"line {place + 1}: the line has more than 200 bytes"):
        predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl")
    made = predict(tmp_path / "in.jsonl", policy=run, to=tmp_path / "out.jsonl", quarantine=tmp_path / "bad.jsonl")
    assert (made.rows, made.quarantined) == (3, 1)
    assert [row["line"] for row in read(tmp_path / "bad.jsonl")] == [place + 1]
    assert [row["decision_id"] for row in read(tmp_path / "out.jsonl")] == [f"d{i}" for i in range(4) if i != place]


def test_bad_rows_of_a_table_are_set_aside(run: Path, tmp_path: Path) -> None:
    """CSV with a word for a number, and a row with too few values."""
    (tmp_path / "in.csv").write_text("decision_id,size,new\na,1,true\nb,large,false\nc\nd,2,0\n")
    made = predict(tmp_path / "in.csv", policy=run, to=tmp_path / "out.csv", quarantine=tmp_path / "bad.jsonl")
    assert (made.rows, made.quarantined) == (2, 2)
    assert [row["line"] for row in read(tmp_path / "bad.jsonl")] == [3, 4]
    with (tmp_path / "out.csv").open() as file:
        assert [row["decision_id"] for row in csv.DictReader(file)] == ["a", "d"]


def test_possible_actions_and_masks_are_honored(run: Path, tmp_path: Path) -> None:
    """Under any of the names that tables use, and all of them together."""
    rows = [{"context": {"size": i / 9}, "possible_actions": ["go", "wait"], "mask": [1, 0, 1]} for i in range(9)]
    predict(write(tmp_path / "in.jsonl", rows), policy=run, to=tmp_path / "out.jsonl")
    assert {row["action"] for row in read(tmp_path / "out.jsonl")} == {"go"}


def test_a_log_can_be_decided_on_again(run: Path, tmp_path: Path) -> None:
    """With overwrite: keys stand once, the caller's stay, and the id keeps its draw."""
    rows = some(40)
    first = write(tmp_path / "in.jsonl", rows)
    predict(first, policy=run, to=tmp_path / "out.jsonl", application="a")
    with pytest.raises(DataError, match="already"):
        predict(tmp_path / "out.jsonl", policy=run, to=tmp_path / "again.jsonl", application="a")
    predict(tmp_path / "out.jsonl", policy=run, to=tmp_path / "again.jsonl", application="a", overwrite=True)
    assert read(tmp_path / "again.jsonl") == read(tmp_path / "out.jsonl")
    assert (tmp_path / "again.jsonl").read_text().count('"action"') == 40


def test_a_policy_of_an_epoch(tmp_path: Path) -> None:
    """``run@2`` decides as the policy of that epoch, and says so."""
    other = Explore(LinearModel(FEATURES, RNG.standard_normal((3, 5)), np.zeros(3)), "greedy", 0.0)

    def fill(part: Path) -> None:
        save_policy(POLICY, part, problem=PROBLEM)
        save_policy(other, part / "epochs" / "0002", problem=PROBLEM)

    run = tmp_path / "run"
    id = write_artifact(run, Manifest(kind="policy", problem_hash=PROBLEM.hash), fill).id
    write(tmp_path / "in.jsonl", some(5))
    made = predict(tmp_path / "in.jsonl", policy=f"{run}@2", to=tmp_path / "out.jsonl")
    assert made.policy_id == f"{id}@2"
    assert all(max(row["propensities"]) == 1.0 for row in read(tmp_path / "out.jsonl"))


def test_targets_are_not_overwritten_unasked(run: Path, tmp_path: Path) -> None:
    """An existing file, an unknown format, a name that is nobody's."""
    file = write(tmp_path / "in.jsonl", some(3))
    predict(file, policy=run, to=tmp_path / "out.jsonl")
    with pytest.raises(StoreError, match="exists already"):
        predict(file, policy=run, to=tmp_path / "out.jsonl")
    predict(file, policy=run, to=tmp_path / "out.jsonl", replace=True)
    with pytest.raises(ConfigError, match="no known format"):
        predict(file, policy=run, to=tmp_path / "out.xlsx")
    with pytest.raises(StoreError, match="no policy"):
        predict(file, policy="nobody", to=tmp_path / "o.jsonl", home=tmp_path / "home")


def test_continuous_actions_are_drawn_from_the_ids(tmp_path: Path) -> None:
    """A box: actions inside it, their density, no list of probabilities; the same again, and ingest reads them."""
    problem = Problem(features=PROBLEM.features, actions=ActionSpace(low=(-2.0, 0.0), high=(2.0, 1.0)), horizon=9)
    run = artifact(tmp_path / "run", UniformBox((-2.0, 0.0), (2.0, 1.0)), problem)
    rows = [{"episode_id": "e", "t": i, "context": {"size": 1.0}} for i in range(9)]
    file = write(tmp_path / "in.jsonl", rows)
    for name in ("a", "b"):
        predict(file, policy=run, to=tmp_path / f"{name}.jsonl", time=1.0)
    found = read(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert len({tuple(row["action"]) for row in found}) == 9
    assert {row["propensity"] for row in found} == {0.25} and "propensities" not in found[0]
    assert ingest(tmp_path / "a.jsonl", problem=problem).counts["decisions"] == 9


@pytest.mark.parametrize("rows", [
    [{"decision_id": "a"}, {"decision_id": "b"}, {"decision_id": "a"}],
    [{"episode_id": "e", "t": 0}, {"episode_id": "e", "t": 1}, {"episode_id": "e", "t": 0}],
    [{"decision_id": "e:0"}, {"decision_id": "b"}, {"episode_id": "e", "t": 0}],
])  # fmt: skip
def test_an_id_stands_once(run: Path, tmp_path: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks apart, too: both would get one draw, and the log would hold one of them."""
    monkeypatch.setattr(reading, "BLOCK", 60)
    states = write(tmp_path / "in.jsonl", [row | {"context": {"size": 1.0}} for row in rows])
    with pytest.raises(DataError, match=r"in\.jsonl, line 3: its id stands in line 1 already"):
        predict(states, policy=run, to=tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    plain = write(tmp_path / "plain.jsonl", [{"context": {"size": 1.0}}] * 3)  # ids from lines differ of themselves
    assert predict(plain, policy=run, to=tmp_path / "plain_out.jsonl").rows == 3


@pytest.mark.parametrize("line", ["{}", "{   }", " { }", "{\t}  "])
def test_an_empty_object_is_a_state_where_nothing_must_be_there(tmp_path: Path, line: str) -> None:
    """However many spaces it holds."""
    problem = Problem(features=(Feature(name="size", optional=True),), actions=PROBLEM.actions)
    features = FeatureMap((FittedFeature(kind="number", source=0, name="size"),))
    policy = Explore(LinearModel(features, np.zeros((3, 1)), np.zeros(3)), "softmax", 1.0)
    (tmp_path / "in.jsonl").write_text(f'{{"size": 1.0}}\n{line}\n')
    predict(tmp_path / "in.jsonl", policy=artifact(tmp_path / "run", policy, problem), to=tmp_path / "out.jsonl")
    assert [("action" in row, row.get("size")) for row in read(tmp_path / "out.jsonl")] == [(True, 1.0), (True, None)]


@pytest.mark.parametrize("first,second,said", [
    ({"size": 1.0}, {"context": {"size": 2.0}}, "its features stand in a context"),
    ({"size": 1.0, "note": "context"}, {"context": {"size": 2.0}}, "its features stand in a context"),
    ({"context": {"size": 1.0}}, {"size": 2.0}, "missing required field `context`"),
])  # fmt: skip
def test_lines_of_two_shapes_are_not_mixed(tmp_path: Path, first: dict, second: dict, said: str) -> None:
    """Read as the first line says, the second would seem to lack every feature."""
    problem = Problem(features=(Feature(name="size", optional=True),), actions=PROBLEM.actions)
    features = FeatureMap((FittedFeature(kind="number", source=0, name="size"),))
    policy = Explore(LinearModel(features, np.zeros((3, 1)), np.zeros(3)), "softmax", 1.0)
    folder = artifact(tmp_path / "run", policy, problem)
    states = write(tmp_path / "in.jsonl", [first, second, first])
    with pytest.raises(DataError, match=f"line 2.*{said}"):
        predict(states, policy=folder, to=tmp_path / "out.jsonl")
    made = predict(states, policy=folder, to=tmp_path / "out.jsonl", quarantine=tmp_path / "aside.jsonl")
    assert (made.rows, made.quarantined) == (2, 1)


def test_a_feature_called_like_a_field_stands_under_its_full_name(tmp_path: Path) -> None:
    """As tables of decisions write it."""
    problem = Problem(features=(Feature(name="t", optional=True), Feature(name="size")), actions=PROBLEM.actions)
    columns = tuple(FittedFeature(kind="number", source=i, name=name) for i, name in enumerate(("t", "size")))
    model = LinearModel(FeatureMap(columns), np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), np.zeros(3))
    folder = artifact(tmp_path / "run", Explore(model, "softmax", 1.0), problem)
    predict(write(tmp_path / "in.jsonl", [{"context.t": 2.0, "size": 1.0, "t": 0}]), policy=folder,
            to=tmp_path / "out.jsonl")  # fmt: skip
    (row,) = read(tmp_path / "out.jsonl")
    np.testing.assert_allclose(row["propensities"][0], np.exp(2) / (np.exp(2) + 2))


def test_moments() -> None:
    """now, none, seconds, text."""
    assert moment("none") is None and moment("12.5") == 12.5
    assert moment("1970-01-01T00:01:00Z") == 60.0 and (moment("now") or 0) > 1e9


def test_rows_set_aside_take_the_place_of_nothing(run: Path, tmp_path: Path) -> None:
    """Neither of the states, nor of the decisions, nor of a file that is there."""
    states = write(tmp_path / "s.jsonl", some(3))
    (tmp_path / "old.jsonl").write_text("mine")
    for name in ("s.jsonl", "o.jsonl", "../" + tmp_path.name + "/o.jsonl"):
        with pytest.raises(ConfigError, match="cannot hold"):
            predict(states, policy=run, to=tmp_path / "o.jsonl", home=tmp_path / "h", quarantine=tmp_path / name)
    with pytest.raises(StoreError, match="exists already"):
        predict(states, policy=run, to=tmp_path / "o.jsonl", home=tmp_path / "h", quarantine=tmp_path / "old.jsonl")
    assert (tmp_path / "old.jsonl").read_text() == "mine" and len(read(states)) == 3
