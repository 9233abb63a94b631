"""Keys of the service: shown once, kept as hashes, each with scopes, an expiry and an end."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from understudy.core.errors import ConfigError, StoreError
from understudy.data.times import iso

Scope = Literal["decide", "reward", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Denied = Literal["missing", "unknown", "expired", "revoked", "scope"]

_FILE = "keys.json"
_LOCK = ".keys.lock"  # not empty once there have been keys
_NAME = 8  # letters of a key by which it is looked up; they are no secret
_SHAPE = re.compile(r"us_([A-Za-z0-9_-]{8})_([A-Za-z0-9_-]{43})")
_NOBODY = bytes(32)
_SPAN = {"m": 60, "h": 3_600, "d": 86_400}


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key. Times are microseconds since 1970 UTC."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    made: int
    expires: int | None = None
    revoked: int | None = None


@dataclass(frozen=True)
class Keys:
    """The keys of one home, as read at one moment.

    Args:
        by_name: the part of a key that is no secret → what is kept of it.
        stamp: what the file looked like when it was read; None = there was none, so nobody needs a key.
    """

    by_name: dict[str, Key]
    stamp: tuple[int, int, int] | None = None

    def __bool__(self) -> bool:
        return self.stamp is not None

    def check(self, header: bytes, scope: Scope, now: int) -> Key | Denied:
        """The key in an ``Authorization`` header if it opens ``scope`` now, else why not.

        The same hash and the same comparison are made whether or not the key is known.
        """
        if header[:7].lower() != b"bearer ":
            return "missing"
        text = header[7:].strip()
        key = self.by_name.get(text[3 : 3 + _NAME].decode("latin-1"))
        kept = bytes.fromhex(key.sha256) if key is not None else _NOBODY
        if not hmac.compare_digest(hashlib.sha256(text).digest(), kept) or key is None:
            return "unknown"
        if key.revoked is not None:
            return "revoked"
        if key.expires is not None and now >= key.expires:
            return "expired"
        return key if scope in key.scopes else "scope"


def stamp(home: str | Path) -> tuple[int, int, int] | None:
    """Changes whenever the file of keys does; None if there is none."""
    try:
        found = os.stat(Path(home) / _FILE)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def read_keys(home: str | Path) -> Keys:
    """The keys of a home. Raises: StoreError if the file is damaged or lost: that is never taken for "no keys"."""
    seen, path = stamp(home), Path(home) / _FILE
    if seen is None:
        lock = path.with_name(_LOCK)
        if lock.exists() and lock.stat().st_size:
            raise StoreError(
                f"{path} is gone, and there were keys", "Without it everybody would be let in.",
                f"Restore it from a copy; if nobody is to need a key any more, delete {lock} too.", field=_FILE,
            )  # fmt: skip
        return Keys({})
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=list[Key])
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise StoreError(
            f"{path} cannot be read as keys: {error}", "Nobody is let in by it.", "Restore it from a copy.", field=_FILE
        ) from error
    return Keys({key.name: key for key in keys}, seen)


def add_key(home: str | Path, scopes: Sequence[str], *, now: int, expires: str = "") -> tuple[str, Key]:
    """Make a key. Returns the key itself, which is stored nowhere, and what is kept of it.

    Args:
        scopes: each one, or several with commas between them.
        expires: a span such as 90d, 12h or 30m; empty = never.
    Raises: ConfigError for an unknown scope or span.
    """
    scopes = [scope.strip() for given in scopes for scope in given.split(",") if scope.strip()]
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        what = f"unknown scope {unknown[0]!r}" if unknown else "a key needs at least one scope"
        raise ConfigError(what, hint=f"Scopes are: {', '.join(SCOPES)}.", field="scope")
    end = now + _span(expires) if expires else None
    name = secrets.token_hex(_NAME // 2)  # never a leading dash, which a command line takes for an option
    text = f"us_{name}_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = Key(name=name, sha256=digest, scopes=tuple(s for s in SCOPES if s in scopes), made=now, expires=end)
    _change(home, lambda keys: [*keys, key])
    return text, key


def revoke_key(home: str | Path, name: str, *, now: int) -> Key:
    """End a key, by its name or by the key itself. Raises: ConfigError if there is none of that name."""
    found = _SHAPE.fullmatch(name)
    name = found[1] if found else name.removeprefix("us_")[:_NAME]
    key = read_keys(home).by_name.get(name)
    if key is None:
        raise ConfigError(f"there is no key {name!r}", hint="List them with: understudy key list", field="key")
    ended = key if key.revoked is not None else msgspec.structs.replace(key, revoked=now)
    _change(home, lambda keys: [ended if k.name == name else k for k in keys])
    return ended


def _span(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        raise ConfigError(f"{text!r} is no span of time", hint="Such as 90d, 12h or 30m.", field="expires")
    return int(found[1]) * _SPAN[found[2]] * 1_000_000


def _change(home: str | Path, edit: Callable[[list[Key]], list[Key]]) -> None:
    """Write a changed file whole, readable by its owner only; writers take turns."""
    import fcntl

    folder = Path(home)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = edit(list(read_keys(home).by_name.values()))
        handle, partial = tempfile.mkstemp(dir=folder, prefix=".keys-")  # mode 600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, folder / _FILE)
            os.pwrite(lock, b"there are keys", 0)
        except BaseException:
            os.unlink(partial)
            raise
    finally:
        os.close(lock)


def key_lines(
    action: str, name: str, *, home: str | Path, scopes: Sequence[str], expires: str, now: int
) -> tuple[list[str], dict[str, Any]]:
    """What ``understudy key`` says and does. Raises: ConfigError for an unknown action, scope, span or key."""
    if action == "add":
        text, key = add_key(home, scopes, now=now, expires=expires)
        said = "Send it as Authorization: Bearer KEY. It is shown this once; only its hash is kept."
        return [text, said], {"key": text, **_shown(key, now)}
    if action == "revoke":
        key = revoke_key(home, name, now=now)
        return [f"{key.name} opens nothing any more"], _shown(key, now)
    if action != "list":
        raise ConfigError(f"unknown action {action!r}", hint="Say add, list or revoke.", field="action")
    shown = [_shown(key, now) for key in read_keys(home).by_name.values()]
    lines = [f"{k['name']}  {k['state']:8}  {_until(k):26}  {','.join(k['scopes'])}" for k in shown]
    return lines or ["there are no keys; the service then answers on this machine only"], {"keys": shown}


def _until(key: dict[str, Any]) -> str:
    return "never expires" if key["expires"] is None else f"until {iso(key['expires'])[:16]}Z"


def _shown(key: Key, now: int) -> dict[str, Any]:
    ended = "revoked" if key.revoked is not None else "expired" if key.expires and now >= key.expires else "valid"
    return {"name": key.name, "state": ended, "scopes": key.scopes, "made": key.made, "expires": key.expires}
