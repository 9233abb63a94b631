"""How requests are directed under an alias: who is live is the ledger's; what else happens to its traffic is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from understudy.core.errors import ConfigError
from understudy.core.service import Mode
from understudy.data.ledger import Ledger, Promotion
from understudy.data.ledger_tables import traffic


class Direction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of direction.

    ``canary``: the candidate acts on ``share`` of the decisions, by an exact mixture. ``shadow``: it is only asked.
    ``apprentice``: the baseline acts and the live policy (or the candidate) is asked. ``logging``: nobody is asked.
    """

    alias: str
    version: int = 0  # 1, 2, … per alias; 0 = nothing was ever said, so the live policy acts
    mode: Mode = "live"
    candidate: str | None = None
    share: float = 0.0
    time: int = 0
    reason: str = ""

    def __post_init__(self) -> None:
        if self.mode in ("canary", "shadow") and self.candidate is None:
            raise ConfigError(f"{self.mode} traffic needs a candidate", field="candidate")
        if self.mode == "canary" and not 0 < self.share < 1:
            raise ConfigError(f"a canary's share must lie in (0, 1); got {self.share}", field="share")
        if self.mode != "canary" and self.share:
            raise ConfigError(f"only a canary has a share; {self.mode} was given {self.share}", field="share")


@dataclass(frozen=True)
class Traffic:
    """The directions kept in a ledger: append-only, numbered per alias."""

    ledger: Ledger

    def direct(self, direction: Direction) -> Direction:
        """Append a change of direction; ``version`` is given here."""

        def write(db: sa.Connection) -> Direction:
            last = _current(db, direction.alias)
            made = msgspec.structs.replace(direction, version=last.version + 1)
            db.execute(traffic.insert().values(msgspec.structs.asdict(made)))
            return made

        return self.ledger.write(write)

    def current(self, alias: str) -> Direction:
        """The direction in force."""
        with self.ledger.read() as db:
            return _current(db, alias)

    def history(self, alias: str) -> tuple[Direction, ...]:
        """Every change of direction, oldest first."""
        query = sa.select(traffic).where(traffic.c.alias == alias).order_by(traffic.c.version)
        with self.ledger.read() as db:
            return tuple(Direction(**row) for row in db.execute(query).mappings())


def _current(db: sa.Connection, alias: str) -> Direction:
    query = sa.select(traffic).where(traffic.c.alias == alias).order_by(traffic.c.version.desc()).limit(1)
    row = db.execute(query).mappings().first()
    return Direction(alias=alias) if row is None else Direction(**row)


def kept_beside(history: Sequence[Promotion], live: str, other: str | None) -> bool:
    """Whether ``other`` has its share because ``live`` took its place and is being watched: it is not on trial."""
    places = [i for i, change in enumerate(history) if change.policy == live and change.kind != "rollback"]
    return bool(places) and places[-1] > 0 and history[places[-1] - 1].policy == other
