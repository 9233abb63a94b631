"""Settings by number: mixed radix, the first key varying fastest; a further round of the same settings is a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from understudy.core.errors import ConfigError

_RANGE = re.compile(r"(\d+)(?::(\d+))?")


@dataclass(frozen=True)
class Grid:
    """All combinations of the values of named axes, numbered from 0.

    Setting i takes of axis k the value number ⌊i / Π_{m<k} n_m⌋ mod n_k, so that the first axis varies fastest; an
    index beyond the last setting is a further run of setting ``index mod total``, number ``index div total``.

    >>> grid = Grid({"a": [1, 2], "b": [3, 4, 5]})
    >>> grid.total, grid.setting(1), grid.setting(2), grid.place(13)
    (6, {'a': 2, 'b': 3}, {'a': 1, 'b': 4}, (1, 2))
    """

    axes: Mapping[str, Sequence[Any]]

    @property
    def total(self) -> int:
        """The number of settings; 1 without axes."""
        return prod(len(values) for values in self.axes.values())

    def setting(self, number: int) -> dict[str, Any]:
        """The values of setting ``number``, in [0, total)."""
        if not 0 <= number < self.total:
            raise ConfigError(f"there is no setting {number}: there are {self.total}, numbered from 0", field="index")
        chosen = {}
        for key, values in self.axes.items():
            number, digit = divmod(number, len(values))
            chosen[key] = values[digit]
        return chosen

    def number(self, setting: Mapping[str, Any]) -> int:
        """The inverse of ``setting``."""
        found, weight = 0, 1
        for key, values in self.axes.items():
            found += weight * list(values).index(setting[key])
            weight *= len(values)
        return found

    def place(self, index: int) -> tuple[int, int]:
        """(setting, run) of an index."""
        run, setting = divmod(index, self.total)
        return setting, run

    def index(self, setting: int, run: int) -> int:
        """The inverse of ``place``."""
        return run * self.total + setting


def indices(text: str, first: int = 0) -> list[int]:
    """``"37"``, ``"0:360"`` (the last not included), or several with commas → indices from 0, each once, in order.

    ``first``: how the text numbers the first run, 0 or 1.

    >>> indices("1:4,3,9", first=1)
    [0, 1, 2, 8]
    """
    if first not in (0, 1):
        raise ConfigError(f"the first index is 0 or 1; got {first}", field="first-index")
    found: dict[int, None] = {}
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"{part.strip()!r} is no index", hint="Write 37, or 0:360 for 0 to 359, or 1,5,9.", field="index"
            )
        low = int(match[1])
        high = low + 1 if match[2] is None else int(match[2])
        if low < first or high <= low:
            raise ConfigError(f"{part.strip()!r} holds no index: the first is {first}", field="index")
        found.update(dict.fromkeys(range(low - first, high - first)))
    return list(found)
