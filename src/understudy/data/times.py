"""Durations and instants, as people write them, in microseconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from understudy.core.errors import ConfigError

MICRO = 1_000_000
FIRST, LAST = -62_135_596_800, 253_402_300_800  # the years 1 to 9999, in seconds since 1970 UTC

_UNITS = {"ms": 1_000, "s": MICRO, "m": 60 * MICRO, "h": 3_600 * MICRO, "d": 86_400 * MICRO, "w": 604_800 * MICRO}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")


def duration(value: str | float, *, field: str = "window") -> int:
    """Microseconds of a duration: a number of seconds, or text such as ``7d``, ``90s``, ``1h30m``.

    >>> duration("1h30m"), duration(0.5)
    (5400000000, 500000)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
        if math.isfinite(seconds) and 0 <= seconds <= LAST:
            return round(seconds * MICRO)
    else:
        text = str(value).strip()
        parts = _PART.findall(text)
        if parts and "".join(_PART.split(text)[::3]).strip() == "":
            return round(sum(float(number) * _UNITS[unit] for number, unit in parts))
        try:
            return duration(float(text), field=field)
        except ValueError:
            pass
    raise ConfigError(
        f"{field} {value!r} is not a duration",
        hint="Give seconds, or text such as 90s, 10m, 24h, 7d, 1h30m.",
        field=field,
    )


def instant(value: str | float, *, field: str = "time") -> int:
    """Microseconds since 1970 UTC of ISO 8601 text (no zone means UTC) or of a number of seconds.

    >>> instant("1970-01-01T00:00:01.5Z"), instant(2)
    (1500000, 2000000)
    """
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
            return (since.days * 86_400 + since.seconds) * MICRO + since.microseconds
        if not isinstance(value, bool) and math.isfinite(value) and FIRST <= value < LAST:
            return round(value * MICRO)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(
        f"{field} {value!r} is not a moment", hint="Give ISO 8601 text or seconds since 1970 UTC.", field=field
    )


def iso(micros: int) -> str:
    """ISO 8601 text of microseconds since 1970 UTC, to the microsecond where it matters."""
    seconds, rest = divmod(micros, MICRO)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:06d}Z" if rest else f"{text}Z"
