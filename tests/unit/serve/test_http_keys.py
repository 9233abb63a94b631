"""Keys at rest and at the door."""

import json
import tempfile
from pathlib import Path

import pytest

from understudy.core.errors import ConfigError, StoreError
from understudy.data.times import iso
from understudy.serve.keys import SCOPES, add_key, key_lines, read_keys, revoke_key
from understudy.serve.metrics import WIDTH
from understudy.serve.server import run_worker
from understudy.serve.worker import Settings

T0 = 1_790_000_000_000_000
DAY = 86_400_000_000


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


def test_a_key_opens_its_scopes_and_no_other(tmp_path: Path) -> None:
    """No scope implies another, admin neither."""
    for mine in SCOPES:
        text, kept = add_key(tmp_path, [mine], now=T0)
        keys = read_keys(tmp_path)
        for scope in SCOPES:
            assert keys.check(bearer(text), scope, T0) == (kept if scope == mine else "scope")


def test_a_key_ends(tmp_path: Path) -> None:
    """At its expiry to the microsecond, and once it is revoked, by name or by itself."""
    text, kept = add_key(tmp_path, ["read"], now=T0, expires="90d")
    keys = read_keys(tmp_path)
    assert keys.check(bearer(text), "read", T0 + 90 * DAY - 1) == kept
    assert keys.check(bearer(text), "read", T0 + 90 * DAY) == "expired"
    revoke_key(tmp_path, text, now=T0 + 1)
    assert read_keys(tmp_path).check(bearer(text), "read", T0 + 2) == "revoked"
    assert revoke_key(tmp_path, kept.name, now=T0 + 9).revoked == T0 + 1


def test_what_is_no_key(tmp_path: Path) -> None:
    """A letter more, less or other; another scheme; nothing."""
    text, _ = add_key(tmp_path, ["read"], now=T0)
    keys = read_keys(tmp_path)
    other = "A" if text[-1] != "A" else "B"
    for wrong in (text[:-1], text + "x", text[:-1] + other, "us_", "", "é" * 60, text[:12]):
        assert keys.check(bearer(wrong), "read", T0) == "unknown", wrong
    for header in (b"", b"Basic abc", text.encode(), b"\xff"):
        assert keys.check(header, "read", T0) == "missing"
    assert keys.check(b"bearer  " + text.encode(), "read", T0) in keys.by_name.values()


def test_the_file_holds_hashes_and_is_its_owners(tmp_path: Path) -> None:
    """Mode 600 after every change; the key stands nowhere in the home; two keys share nothing."""
    texts = [add_key(tmp_path, ["decide"], now=T0)[0] for _ in range(2)]
    revoke_key(tmp_path, texts[0], now=T0)
    file = tmp_path / "keys.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len({key["sha256"] for key in json.loads(file.read_text())}) == 2
    for path in tmp_path.iterdir():
        assert not any(text[12:] in path.read_text() for text in texts)
    assert all(len(text) == 55 for text in texts)


def test_no_file_is_no_keys_and_a_damaged_one_is_a_fault(tmp_path: Path) -> None:
    """The two are never taken for each other; a home whose keys were all revoked still has keys."""
    assert not read_keys(tmp_path)
    text, _ = add_key(tmp_path, ["read"], now=T0)
    revoke_key(tmp_path, text, now=T0)
    assert read_keys(tmp_path)
    (tmp_path / "keys.json").write_text("[]x")
    with pytest.raises(StoreError):
        read_keys(tmp_path)
    with pytest.raises(StoreError):
        add_key(tmp_path, ["read"], now=T0)


@pytest.mark.parametrize(
    "scopes, expires", [([], ""), (["all"], ""), (["read"], "0d"), (["read"], "90"), (["read"], "-1d")]
)
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, scopes: list[str], expires: str) -> None:
    """Nothing is written then."""
    with pytest.raises(ConfigError):
        add_key(tmp_path, scopes, now=T0, expires=expires)
    assert not (tmp_path / "keys.json").exists()


def test_lost_keys_are_not_no_keys(tmp_path: Path) -> None:
    """Also on loopback, and also for a service that is only starting; a lock alone, of a killed first key, is none."""
    (tmp_path / ".keys.lock").touch()
    assert not read_keys(tmp_path).by_name
    add_key(tmp_path, ["read"], now=0)
    (tmp_path / "keys.json").unlink()
    with pytest.raises(StoreError, match="there were keys"):
        read_keys(tmp_path)
    with pytest.raises(StoreError, match="there were keys"):
        add_key(tmp_path, ["read"], now=0)


def test_a_worker_started_anew_does_not_open_up_because_the_keys_are_gone(tmp_path: Path) -> None:
    """127.0.0.2 is this machine's, but nothing that is taken to be out of others' reach."""
    settings = Settings(home=str(tmp_path), host="127.0.0.2", problem=str(tmp_path / "none.yaml"))
    with tempfile.TemporaryFile() as board:
        board.truncate(8 * WIDTH)
        with pytest.raises(ConfigError, match="there are no keys"):
            run_worker(settings, 0, board, None)


def test_the_list_says_what_opens_and_never_a_hash(tmp_path: Path) -> None:
    """Names, states, ends and scopes."""
    ask = {"home": tmp_path, "scopes": [], "expires": "", "now": T0 + DAY}
    assert "no keys" in key_lines("list", "", **ask)[0][0]
    _, gone = add_key(tmp_path, ["read", "decide"], now=T0, expires="1h")
    _, kept = add_key(tmp_path, ["read, admin", "decide"], now=T0)  # as people write lists
    lines, data = key_lines("list", "", **ask)
    assert lines == [
        f"{gone.name}  expired   until {iso(T0 + 3_600_000_000)[:16]}Z     decide,read",
        f"{kept.name}  valid     never expires               decide,read,admin",
    ]
    assert "sha256" not in data["keys"][0]
    with pytest.raises(ConfigError):
        key_lines("revoke", "nobody", **ask)
    with pytest.raises(ConfigError):
        key_lines("change", "", **ask)
