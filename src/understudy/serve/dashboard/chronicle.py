"""What the ledger says about one alias, newest first and never more than a page of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from understudy.core.evidence import Estimate, Lift, Verdict
from understudy.core.manifest import Manifest
from understudy.data.eventlog import Watermark
from understudy.data.home import LOGGED, Home
from understudy.data.journal import DONE
from understudy.data.ledger import Promotion
from understudy.data.ledger_tables import artifacts, experiments, journal, looks, promotions, traffic, verdicts
from understudy.data.traffic import Direction, kept_beside

ROWS = 200  # of each table that one reading takes
HISTORY = 60  # entries shown
LOOKS = 40  # verdicts drawn

Row = dict[str, Any]
Recorded = tuple[Manifest, str]  # and the path where it lay


class Chronicle:
    """Who is live under an alias, why, and what was tried: read anew each time, with what never changes remembered."""

    def __init__(self, home: Home, alias: str) -> None:
        self.home, self.alias = home, alias
        self._policies: dict[str, Row] = {}
        self._lifts: dict[int, Lift] = {}
        self._estimates: dict[str, tuple[Estimate, ...]] = {}

    def read(self) -> Row:
        """Service, traffic, estimates and history, as the page shows them."""
        with self.home.ledger.read() as db:
            changes = [Promotion(**row) for row in self._newest(db, promotions, promotions.c.version)]
            turns = [Direction(**row) for row in self._newest(db, traffic, traffic.c.version)]
            judged = self._looks(db)
            made = _manifests(db, "estimates")
        return {
            "service": self._service(changes, judged),
            "traffic": self._traffic(turns[0] if turns else Direction(alias=self.alias), changes),
            "estimates": [self._estimate(look, made) for look in reversed(judged[:LOOKS])],
            "history": self._history(changes, turns, judged),
        }

    def exported(self) -> Watermark | None:
        """How far the event log of this alias has been joined, or else exported; None if it never was."""
        joined = (
            sa.select(journal.c.body).join(experiments, experiments.c.id == journal.c.experiment)
            .where(experiments.c.alias == self.alias, journal.c.workflow == "joining",
                   journal.c.state == DONE["joining"])
            .order_by(journal.c.id.desc()).limit(1)
        )  # fmt: skip
        with self.home.ledger.read() as db:
            body = db.execute(joined).scalar()
            if body is not None:
                return msgspec.json.decode(body)["upto"]
            return next((dict(m.config["to"]) for m, _ in _manifests(db, "log") if "to" in m.config), None)

    def closes(self) -> float | None:
        """The window of the newest join, in seconds."""
        with self.home.ledger.read() as db:
            return next((m.config["window"] for m, _ in _manifests(db, "dataset") if "window" in m.config), None)

    def policy(self, id: str | None) -> Row | None:
        """What a reader is told of a policy: learner, settings, how many decisions it was trained on."""
        if id is None:
            return None
        if id not in self._policies:
            row = {"id": id, "learner": "", "settings": "", "rows": None}
            if id == LOGGED:
                row["learner"] = "nobody: every allowed action alike"
            with self.home.ledger.read() as db:
                body = db.execute(sa.select(artifacts.c.manifest).where(artifacts.c.id == id)).scalar()
            if body is None and id != LOGGED:
                return row  # not recorded yet: ask again next time
            if body is not None:
                manifest = msgspec.json.decode(body, type=Manifest)
                settings = manifest.config.get("settings", {})
                said = ", ".join(
                    f"{k} {v}" for k, v in settings.items() if isinstance(v, str | int | float) and v != ""
                )
                row |= {"learner": manifest.config.get("learner", ""), "settings": said,
                        "rows": manifest.counts.get("decisions")}  # fmt: skip
            self._policies[id] = row
        return self._policies[id]

    def _newest(self, db: sa.Connection, table: sa.Table, order: Any) -> Iterable[Any]:
        query = sa.select(table).where(table.c.alias == self.alias).order_by(order.desc()).limit(ROWS)
        return db.execute(query).mappings().all()

    def _looks(self, db: sa.Connection) -> list[Row]:
        query = (
            sa.select(looks.c.id, looks.c.time, looks.c.candidate, looks.c.incumbent, looks.c.dataset, looks.c.alpha,
                      verdicts.c.body)
            .join(verdicts, verdicts.c.look == looks.c.id, isouter=True)
            .where(looks.c.alias == self.alias).order_by(looks.c.id.desc()).limit(ROWS)
        )  # fmt: skip
        found = []
        for row in db.execute(query).mappings():
            verdict = None if row["body"] is None else msgspec.json.decode(row["body"], type=Verdict)
            found.append(dict(row) | {"verdict": verdict})
        return found

    def _service(self, changes: list[Promotion], judged: list[Row]) -> Row:
        if not changes:
            return {"policy": None, "since": None, "kind": "nobody", "reason": "Nobody was ever made live.",
                    "version": 0, "verdict": None}  # fmt: skip
        now = changes[0]
        proof = next((c.look for c in changes if c.policy == now.policy and c.look is not None), None)
        look = next((row for row in judged if row["id"] == proof), None)
        return {
            "policy": self.policy(now.policy), "since": now.time, "kind": now.kind, "reason": now.reason,
            "version": now.version, "verdict": None if look is None else self._verdict(look),
        }  # fmt: skip

    def _traffic(self, turn: Direction, changes: list[Promotion]) -> Row:
        beside = bool(changes) and kept_beside(changes[::-1], changes[0].policy, turn.candidate)
        return {"mode": turn.mode, "share": turn.share, "since": turn.time or None, "reason": turn.reason,
                "version": turn.version, "candidate": self.policy(turn.candidate), "kept": beside}  # fmt: skip

    def _verdict(self, look: Row) -> Row:
        verdict: Verdict | None = look["verdict"]
        row = {"look": look["id"], "time": look["time"], "outcome": verdict.outcome if verdict else "open",
               "reason": verdict.reason if verdict else "", "level": 1 - look["alpha"],
               "mean": None, "low": None, "high": None}  # fmt: skip
        lift = self._lift(look)
        if lift is not None and verdict is not None and verdict.outcome != "refused":
            row |= {"mean": lift.mean, "low": lift.low, "high": lift.high, "level": lift.level}
        return row

    def _lift(self, look: Row) -> Lift | None:
        """The lift a verdict rests on; remembered once it is there, for a verdict's folder never changes."""
        id = look["id"]
        if id not in self._lifts:
            path = Path(self.home.folder) / "verdicts" / str(id) / "lift.json"
            try:
                self._lifts[id] = msgspec.json.decode(path.read_bytes(), type=Lift)
            except (OSError, msgspec.DecodeError):
                return None
        return self._lifts[id]

    def _estimate(self, look: Row, made: list[Recorded]) -> Row:
        """One look: who was judged against whom, their values on the same events, and the paired difference."""
        row = self._verdict(look)
        row |= {"candidate": self.policy(look["candidate"]), "incumbent": self.policy(look["incumbent"]),
                "new": None, "hosted": None}  # fmt: skip
        for manifest, path in made:
            parents = [parent.id for parent in manifest.parents]
            names = manifest.config.get("names", [])
            if look["candidate"] in parents[1:] and look["dataset"].startswith(parents[0]) and names:
                name = names[min(parents.index(look["candidate"]) - 1, len(names) - 1)]
                found = self._values(manifest.id, path)
                return row | {"new": _quoted(found, name), "hosted": _quoted(found, manifest.config["incumbent"])}
        return row

    def _values(self, id: str, path: str) -> tuple[Estimate, ...]:
        if id not in self._estimates:
            try:
                body = (Path(path) / "estimates.json").read_bytes()
                self._estimates[id] = msgspec.json.decode(body, type=tuple[Estimate, ...])
            except (OSError, msgspec.DecodeError):  # moved or removed since: the ledger remembers, the disk does not
                self._estimates[id] = ()
        return self._estimates[id]

    def _history(self, changes: list[Promotion], turns: list[Direction], judged: list[Row]) -> list[Row]:
        """Promotions, overrides, rollbacks, directions and verdicts that shipped nobody, newest first."""
        entries = [{"time": c.time, "kind": c.kind, "policy": c.policy, "look": c.look, "reason": c.reason}
                   for c in changes]  # fmt: skip
        entries += [{"time": t.time, "kind": t.mode, "policy": t.candidate, "look": None, "share": t.share,
                     "reason": t.reason} for t in turns]  # fmt: skip
        entries += [{"time": row["time"], "kind": row["verdict"].outcome, "policy": row["candidate"],
                     "look": row["id"], "reason": row["verdict"].reason}
                    for row in judged if row["verdict"] is not None and row["verdict"].outcome != "ship"]  # fmt: skip
        entries.sort(key=lambda entry: entry["time"], reverse=True)
        alike = groupby(
            enumerate(entries), key=lambda e: "override" + e[1]["reason"] if e[1]["kind"] == "override" else e[0]
        )
        groups = [[entry for _, entry in same] for _, same in alike]
        return [group[0] | {"times": len(group)} for group in groups[:HISTORY]]


def _manifests(db: sa.Connection, kind: str) -> list[Recorded]:
    """The newest artifacts of a kind, newest first, with where they lay."""
    query = sa.select(artifacts.c.manifest, artifacts.c.path).where(artifacts.c.kind == kind)
    rows = db.execute(query.order_by(artifacts.c.time.desc()).limit(ROWS))
    return [(msgspec.json.decode(body, type=Manifest), path) for body, path in rows]


def _quoted(estimates: Iterable[Estimate], target: str) -> Row | None:
    """The doubly robust estimate of a policy where there is one, else the last; without bounds where it was refused."""
    mine = [e for e in estimates if e.target == target and not e.segment]
    e = next((e for e in mine if e.estimator == "dr"), mine[-1] if mine else None)
    if e is None:
        return None
    return {"estimator": e.estimator, "value": None if e.refused else e.value, "low": e.low, "high": e.high,
            "level": e.level, "ess": e.ess}  # fmt: skip
