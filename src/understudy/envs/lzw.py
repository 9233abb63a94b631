"""Reading ``.Z`` files: the Unix ``compress`` format, which old data archives still serve."""

from __future__ import annotations

MAGIC = b"\x1f\x9d"
CLEAR, FIRST = 256, 257


def decompress(raw: bytes, limit: int) -> bytes:
    """The plain bytes of a ``.Z`` file. Raises ValueError if it is damaged or grows beyond ``limit`` bytes.

    Codes are 9 to ``bits`` bits wide, least significant bit first, written in groups of eight: when the width
    changes, the rest of a group is skipped. Source: Welch 1984; layout as in ncompress 4.2.
    """
    if raw[:2] != MAGIC or len(raw) < 3:
        raise ValueError("not a .Z file")
    bits, block = raw[2] & 0x1F, bool(raw[2] & 0x80)
    if not 9 <= bits <= 16:
        raise ValueError(f".Z file with {bits}-bit codes")
    start = FIRST if block else CLEAR
    table = [bytes([i]) for i in range(256)] + [b""] * (start - 256)
    out, size, previous = [], 0, b""
    width, at, group = 9, 3 * 8, 3 * 8  # position in bits, and where the current run of groups began
    end = len(raw) * 8
    while at + width <= end:
        code = (int.from_bytes(raw[at >> 3 : (at >> 3) + 4], "little") >> (at & 7)) & ((1 << width) - 1)
        at += width
        if block and code == CLEAR:
            at = group = _next_group(at, group, width)
            table, width, previous = table[:start], 9, b""
            continue
        if code < len(table) and (code != CLEAR or not block):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            raise ValueError(f".Z file with code {code} before it is defined")
        out.append(entry)
        size += len(entry)
        if size > limit:
            raise ValueError(f".Z file grows beyond {limit} bytes")
        if previous and len(table) < 1 << bits:
            table.append(previous + entry[:1])
        previous = entry
        if len(table) >= 1 << width and width < bits:
            at = group = _next_group(at, group, width)
            width += 1
    return b"".join(out)


def _next_group(at: int, group: int, width: int) -> int:
    span = width * 8
    return group + -(-(at - group) // span) * span
