"""Named arrays as bytes in the safetensors layout, read strictly: a file is exactly what was written, or refused.

Layout: u64 header length, JSON header {name: {dtype, shape, data_offsets}}, then the arrays back to back.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from understudy.core.errors import StoreError

MAX_HEADER = 1 << 20
DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U32": "<u4", "U8": "|u1", "BOOL": "|b1"}
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


def encode(arrays: dict[str, np.ndarray]) -> bytes:
    """The file of named arrays; equal arrays give equal bytes."""
    header: dict[str, Any] = {}
    bodies: list[bytes] = []
    end = 0
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")  # a scalar stays one
        if array.dtype not in _NAMES:
            raise StoreError(f"array {name!r} has type {array.dtype}", hint=f"Use one of: {', '.join(DTYPES)}")
        body = array.astype(DTYPES[_NAMES[array.dtype]], copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + len(body)],
        }
        bodies.append(body)
        end += len(body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(bodies)


def decode(raw: bytes, where: str) -> dict[str, np.ndarray]:
    """The named arrays of a file. Raises StoreError for anything but a well-formed file with finite numbers."""
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or size > MAX_HEADER or 8 + size > len(raw):
        raise _bad(where, f"its header is said to take {size} bytes, the file has {len(raw)}")
    header = strict_json(raw[8 : 8 + size], where)
    if not isinstance(header, dict):
        raise _bad(where, "its header is not an object")
    body = memoryview(raw)[8 + size :]
    arrays: dict[str, np.ndarray] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1], item[0], where)):
        start, stop = _offsets(entry, name, where)
        if start != end:
            raise _bad(where, f"array {name!r} starts at byte {start} instead of {end}")
        arrays[name] = _array(entry, body[start:stop], name, where)
        end = stop
    if end != len(body):
        raise _bad(where, f"its arrays take {end} bytes, the file holds {len(body)}")
    return arrays


def _offsets(entry: Any, name: str, where: str) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(where, f"array {name!r} needs exactly dtype, shape and data_offsets")
    offsets = entry["data_offsets"]
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(where, f"array {name!r} has data_offsets {offsets!r}")
    return offsets[0], offsets[1]


def _array(entry: dict[str, Any], body: memoryview, name: str, where: str) -> np.ndarray:
    kind, shape = entry["dtype"], entry["shape"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise _bad(where, f"array {name!r} has dtype {kind!r}")
    if not _naturals(shape) or len(shape) > 8:
        raise _bad(where, f"array {name!r} has shape {shape!r}")
    dtype = np.dtype(DTYPES[kind])
    if math.prod(shape) * dtype.itemsize != len(body):
        raise _bad(where, f"array {name!r} of shape {shape} and dtype {kind} has {len(body)} bytes")
    if kind == "BOOL" and np.frombuffer(body, np.uint8).max(initial=0) > 1:
        raise _bad(where, f"array {name!r} holds bytes that are neither true nor false")
    array = np.frombuffer(body, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _bad(where, f"array {name!r} holds numbers that are not finite")
    return array


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**48 for item in value)


def strict_json(raw: bytes, where: str) -> Any:
    """JSON without duplicate keys, NaN, infinities or numbers that overflow."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _bad(where, f"its JSON is not readable: {error}") from error


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _bad(where: str, fault: str) -> StoreError:
    return StoreError(
        f"{where} is damaged: {fault}",
        "A policy that is not exactly the one that was saved must not act.",
        "Take the file again from the store, or train the policy again.",
    )
