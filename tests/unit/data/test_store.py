"""The local store: whole or absent, never overwritten, never outside its directory."""

from __future__ import annotations

import io
import multiprocessing as mp
import os

import pytest

from understudy.core.errors import StoreError
from understudy.core.protocols import Store
from understudy.data.store import LocalStore, get_content, put_content


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_what_is_put_is_read_and_listed(store):
    """Keys come back in order; a prefix selects; scratch files are nobody's business."""
    typed: Store = store
    for key in ("b/2", "a/1", "b/1"):
        typed.put(key, io.BytesIO(key.encode()))
    assert list(typed.list("")) == ["a/1", "b/1", "b/2"]
    assert list(typed.list("b/")) == ["b/1", "b/2"]
    with typed.open("b/1") as file:
        assert file.read() == b"b/1"


def test_nothing_is_overwritten(store):
    """The second put of a key is an error and the first bytes stay."""
    store.put("k", io.BytesIO(b"first"))
    with pytest.raises(StoreError, match="already stored"):
        store.put("k", io.BytesIO(b"second"))
    with store.open("k") as file:
        assert file.read() == b"first"
    assert list(store.list("")) == ["k"]


def test_a_body_that_fails_half_way_leaves_nothing(store):
    """An exception in the middle of the body leaves neither key nor scratch file."""

    class Torn(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError("the other end hung up")
            return super().read(4)

    with pytest.raises(OSError, match="hung up"):
        store.put("k", Torn(b"12345678"))
    assert list(store.list("")) == []
    assert os.listdir(store.root / ".scratch") == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".scratch/x", "a\\b", "a\0b", "a\nb", "x" * 256],
)
def test_a_key_that_could_lead_outside_is_refused(store, key):
    """Traversal, absolute, empty, hidden, control characters, too long: refused before any file is touched."""
    for act in (lambda: store.put(key, io.BytesIO(b"x")), lambda: store.open(key)):
        with pytest.raises(StoreError, match="is not a key"):
            act()
    assert not store.root.exists()


def test_a_link_that_leads_outside_is_refused(store, tmp_path):
    """A symbolic link planted inside the store is not followed out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    store.root.mkdir()
    (store.root / "door").symlink_to(outside)
    with pytest.raises(StoreError, match="leads out"):
        store.put("door/x", io.BytesIO(b"x"))
    assert list(outside.iterdir()) == []


def test_missing_and_misused_keys_are_store_errors(store):
    """A key that is absent, a folder, or below a stored key."""
    store.put("a/b", io.BytesIO(b"x"))
    for key in ("nothing", "a", "a/b/c"):
        with pytest.raises(StoreError):
            store.open(key)
    with pytest.raises(StoreError, match="itself a stored key"):
        store.put("a/b/c", io.BytesIO(b"x"))


def test_content_addresses_are_idempotent_and_checked(store):
    """Equal bytes, one key; damaged bytes are an error and not an answer."""
    key = put_content(store, b"weights")
    assert put_content(store, b"weights") == key
    assert get_content(store, key) == b"weights"
    path = store.root / key
    path.chmod(0o644)
    path.write_bytes(b"Weights")
    with pytest.raises(StoreError, match="do not hash"):
        get_content(store, key)
    with pytest.raises(StoreError, match="do not hash"):
        put_content(store, b"weights")


def _put(root, body, gate, results):
    gate.wait()
    try:
        LocalStore(root).put("k", io.BytesIO(body * 200_000))
        results.put(body)
    except StoreError:
        results.put(None)


def test_one_of_eight_writers_of_a_key_wins(store):
    """Eight processes put different bodies under one key: one succeeds, and its bytes are there whole."""
    context = mp.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    writers = [context.Process(target=_put, args=(store.root, bytes([65 + i]), gate, results)) for i in range(8)]
    for writer in writers:
        writer.start()
    seen = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    winners = [body for body in seen if body is not None]
    assert len(winners) == 1
    with store.open("k") as file:
        assert file.read() == winners[0] * 200_000
