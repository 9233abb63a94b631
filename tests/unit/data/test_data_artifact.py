"""Artifacts: whole or absent, named by content, never overwritten by accident."""

from __future__ import annotations

import pytest

from understudy.core.errors import StoreError
from understudy.core.manifest import Manifest
from understudy.data.artifact import read_manifest, verify_artifact, write_artifact

RECIPE = Manifest(kind="log", problem_hash="p", config={"window": 60})


def fill(text: str):
    def write(folder):
        (folder / "parts").mkdir()
        (folder / "parts" / "a.txt").write_text(text)
        return {"rows": 1}

    return write


def test_written_artifact_reads_back_and_verifies(tmp_path):
    """The manifest lists each file with its sha256 and carries the counts that fill returned."""
    made = write_artifact(tmp_path / "x", RECIPE, fill("one"))
    assert read_manifest(tmp_path / "x") == made == verify_artifact(tmp_path / "x")
    assert list(made.files) == ["parts/a.txt"] and made.counts == {"rows": 1}
    assert made.files["parts/a.txt"] == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_same_recipe_is_already_done(tmp_path):
    """A second call with the same recipe does not call fill and returns the manifest that stands."""
    made = write_artifact(tmp_path / "x", RECIPE, fill("one"))

    def never(folder):
        raise AssertionError("fill was called again")

    assert write_artifact(tmp_path / "x", RECIPE, never) == made


def test_other_recipe_is_refused_and_replaced_only_on_request(tmp_path):
    """Another recipe in the same folder is a StoreError that says what to do; replace=True swaps it whole."""
    write_artifact(tmp_path / "x", RECIPE, fill("one"))
    other = Manifest(kind="log", problem_hash="p", config={"window": 61})
    with pytest.raises(StoreError, match="already holds another log") as caught:
        write_artifact(tmp_path / "x", other, fill("two"))
    assert "replace" in caught.value.hint
    assert (tmp_path / "x" / "parts" / "a.txt").read_text() == "one"
    write_artifact(tmp_path / "x", other, fill("two"), replace=True)
    assert verify_artifact(tmp_path / "x").config == {"window": 61}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]


def test_a_failing_fill_leaves_nothing_behind(tmp_path):
    """What fill raises passes through; neither the folder nor a partial one remains."""

    def broken(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        write_artifact(tmp_path / "x", RECIPE, broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage, word",
    [
        (lambda f: (f / "parts" / "a.txt").write_text("onf"), "was changed"),
        (lambda f: (f / "parts" / "a.txt").unlink(), "is missing"),
        (lambda f: (f / "b.txt").write_text("x"), "is not in the manifest"),
    ],
)
def test_verify_names_the_damaged_file(tmp_path, damage, word):
    """A changed, missing or added file is a StoreError naming it."""
    write_artifact(tmp_path / "x", RECIPE, fill("one"))
    damage(tmp_path / "x")
    with pytest.raises(StoreError, match=rf"\.txt {word}"):
        verify_artifact(tmp_path / "x")


def test_foreign_files_are_never_overwritten(tmp_path):
    """A folder with files that are no artifact is refused, even with replace=True."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("keep")
    for replace in (False, True):
        with pytest.raises(StoreError):
            write_artifact(tmp_path / "x", RECIPE, fill("one"), replace=replace)
    assert (tmp_path / "x" / "mine.txt").read_text() == "keep"


def test_reading_what_is_no_artifact(tmp_path):
    """No manifest and a damaged manifest are StoreErrors, not tracebacks of other kinds."""
    with pytest.raises(StoreError, match="not an artifact"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        read_manifest(tmp_path)


def test_of_two_writers_of_one_recipe_both_are_done(tmp_path):
    """The slower of two processes that make the same artifact gets what the faster one made, and leaves nothing."""

    def overtaken(folder):
        write_artifact(tmp_path / "x", RECIPE, fill("one"))
        return fill("one")(folder)

    made = write_artifact(tmp_path / "x", RECIPE, overtaken)
    assert made == verify_artifact(tmp_path / "x") and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_of_two_writers_of_two_recipes_the_slower_is_told(tmp_path):
    """What the faster process made stands; the slower one's half is removed."""

    def overtaken(folder):
        write_artifact(tmp_path / "x", Manifest(kind="log", problem_hash="p", config={"window": 61}), fill("two"))
        return fill("one")(folder)

    with pytest.raises(StoreError, match="already holds another log"):
        write_artifact(tmp_path / "x", RECIPE, overtaken)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
