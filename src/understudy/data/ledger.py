"""What was looked at, what was decided, who is live: append-only, committed before anything is shown.

SQLite in WAL mode with full synchronization by default, any other database by URL: the tables use plain types only,
and every race is settled by a unique key, so exactly one writer wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.core.evidence import Verdict
from understudy.core.manifest import Manifest
from understudy.data.ledger_connection import connect, refusals
from understudy.data.ledger_tables import artifacts, comparisons, looks, promotions, tables, verdicts

_RETRIES = 20  # a writer that loses a race reads again and tries again; more losses than this are a fault

T = TypeVar("T")


class Look(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation of a candidate for deployment, as it was announced before its result was known."""

    id: int
    time: int  # microseconds since 1970 UTC
    problem_hash: str
    alias: str
    candidate: str
    incumbent: str
    dataset: str
    design: str
    k: int  # which comparison of this problem and alias it belongs to, by first appearance, from 1
    number: int  # which dataset of that comparison, from 1
    alpha: float  # allowance of the whole family of comparisons
    outcome: str | None = None  # of its verdict, once there is one


class Promotion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change of who is live under an alias."""

    alias: str
    version: int  # 1, 2, … per alias
    policy: str
    look: int | None  # whose verdict allowed it
    time: int
    kind: str  # "install", "promote", "override" or "rollback"
    reason: str


class Ancestor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One artifact in another's lineage; ``path`` is None where the ledger has only heard of it."""

    id: str
    kind: str
    path: str | None
    depth: int


@dataclass(frozen=True)
class Ledger:
    """The record of one or many loops, behind a database URL such as ``sqlite:///ledger.db``.

    Raises: ConfigError for a URL that no installed driver understands; StoreError if the database refuses.
    """

    url: str
    _engine: sa.Engine = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_engine", connect(self.url))
        self.write(tables.create_all)

    # Artifacts

    def record_artifact(self, manifest: Manifest, path: str, *, time: int) -> str:
        """Remember where an artifact lies and what it was made from. Returns its id; again changes nothing."""
        body = msgspec.json.encode(manifest).decode()
        row = {"id": manifest.id, "kind": manifest.kind, "path": path, "manifest": body, "time": time}

        def write(db: sa.Connection) -> str:
            if db.execute(sa.select(artifacts.c.id).where(artifacts.c.id == manifest.id)).first() is None:
                db.execute(artifacts.insert().values(row))
            return manifest.id

        return self.write(write)

    def made(self, kind: str) -> tuple[Manifest, ...]:
        """The manifests of every recorded artifact of a kind, oldest first."""
        query = sa.select(artifacts.c.manifest).where(artifacts.c.kind == kind).order_by(artifacts.c.time)
        with self.read() as db:
            return tuple(msgspec.json.decode(body, type=Manifest) for body in db.execute(query).scalars())

    def lineage(self, id: str) -> tuple[Ancestor, ...]:
        """An artifact and all it was made from, nearest first, each once. Raises: StoreError if it is unknown."""
        found: dict[str, Ancestor] = {}
        queue = [(id, "", 0)]
        with self.read() as db:
            while queue:
                at, kind, depth = queue.pop(0)
                if at in found:
                    continue
                row = db.execute(sa.select(artifacts).where(artifacts.c.id == at)).mappings().first()
                if row is None and depth == 0:
                    raise StoreError(f"the ledger knows no artifact {id!r}", hint="List them with: understudy show")
                found[at] = Ancestor(
                    id=at, kind=row["kind"] if row else kind, path=row["path"] if row else None, depth=depth
                )
                if row is not None:
                    manifest = msgspec.json.decode(row["manifest"], type=Manifest)
                    queue += [(parent.id, parent.kind, depth + 1) for parent in manifest.parents]
        return tuple(found.values())

    # Looks and verdicts

    def record_look(
        self,
        *,
        time: int,
        problem_hash: str,
        alias: str,
        candidate: str,
        incumbent: str,
        dataset: str,
        alpha: float,
        design: str = "",
        stream: str | None = None,
    ) -> Look:
        """Announce a look: committed before anything is computed, so that no look can be forgotten.

        Args:
            design: ``Lift.design``, what must not change between looks of one comparison.
            stream: name of a log that only grows; all looks at it belong to one comparison. None: the dataset is a
                log of its own, and a different dataset starts the next comparison, with its own smaller allowance.
        Returns:
            The look with its ``k``: the order of first appearance of (candidate, incumbent, design, stream) under
            this problem and alias.
        """
        key = {
            "problem_hash": problem_hash, "alias": alias, "candidate": candidate, "incumbent": incumbent,
            "design": design, "stream": dataset if stream is None else stream,
        }  # fmt: skip

        def write(db: sa.Connection) -> Look:
            k = _comparison(db, key)
            seen = sa.select(looks.c.dataset).where(_same(looks, key, "problem_hash", "alias"), looks.c.k == k)
            datasets = list(dict.fromkeys(db.execute(seen.order_by(looks.c.id)).scalars()))
            number = datasets.index(dataset) + 1 if dataset in datasets else len(datasets) + 1
            row = {
                "time": time, "problem_hash": problem_hash, "alias": alias, "candidate": candidate,
                "incumbent": incumbent, "dataset": dataset, "design": design, "k": k, "number": number, "alpha": alpha,
            }  # fmt: skip
            made = db.execute(looks.insert().values(row).returning(looks.c.id)).scalar_one()
            return Look(id=made, **row)

        return self.write(write)

    def record_verdict(self, look: Look | int, verdict: Verdict, *, time: int) -> None:
        """Close a look with its verdict; a look is closed once. Raises: StoreError if it is unknown or closed."""
        id = look if isinstance(look, int) else look.id
        body = msgspec.json.encode(verdict).decode()

        def write(db: sa.Connection) -> None:
            row = db.execute(sa.select(looks).where(looks.c.id == id)).mappings().first()
            if row is None:
                raise StoreError(f"the ledger holds no look {id}", "A verdict without a look was never announced.")
            if (row["candidate"], row["incumbent"]) != (verdict.candidate, verdict.incumbent):
                raise StoreError(
                    f"look {id} compares {row['candidate']!r} with {row['incumbent']!r}, "
                    f"the verdict {verdict.candidate!r} with {verdict.incumbent!r}",
                    "A verdict may close only the look that announced it.",
                )
            if db.execute(sa.select(verdicts.c.look).where(verdicts.c.look == id)).first() is not None:
                raise StoreError(f"look {id} already has a verdict", "The ledger is append-only.", "Look again.")
            db.execute(verdicts.insert().values(look=id, outcome=verdict.outcome, body=body, time=time))

        self.write(write)

    def verdict(self, look: Look | int) -> Verdict | None:
        """The verdict of a look, None while it is open."""
        id = look if isinstance(look, int) else look.id
        with self.read() as db:
            body = db.execute(sa.select(verdicts.c.body).where(verdicts.c.look == id)).scalar()
        return None if body is None else msgspec.json.decode(body, type=Verdict)

    def looks(self, alias: str | None = None) -> tuple[Look, ...]:
        """Every look there ever was, open ones included, oldest first."""
        query = sa.select(looks, verdicts.c.outcome).join(verdicts, verdicts.c.look == looks.c.id, isouter=True)
        if alias is not None:
            query = query.where(looks.c.alias == alias)
        with self.read() as db:
            return tuple(Look(**row) for row in db.execute(query.order_by(looks.c.id)).mappings())

    # Who is live

    def current(self, alias: str) -> Promotion | None:
        """Who is live under an alias, None if nobody ever was."""
        with self.read() as db:
            return _current(db, alias)

    def aliases(self) -> tuple[str, ...]:
        """Every alias under which anybody ever was live."""
        with self.read() as db:
            return _aliases_of(db)

    def history(self, alias: str) -> tuple[Promotion, ...]:
        """Every change of who is live, oldest first."""
        with self.read() as db:
            return _history(db, alias)

    def install(self, alias: str, policy: str, *, time: int, reason: str) -> Promotion:
        """Name the baseline of an alias that has nobody yet: there is nothing it could have been compared with."""
        _need_reason(reason)

        def write(db: sa.Connection) -> Promotion:
            live = _current(db, alias)
            if live is not None:
                raise StoreError(
                    f"{alias!r} already has {live.policy!r} live",
                    "Whoever follows an incumbent must have been proven against it.",
                    f"Gate it, then: understudy promote {policy} --to {alias}",
                )
            return _append(db, Promotion(alias=alias, version=1, policy=policy, look=None, time=time, kind="install",
                                         reason=reason))  # fmt: skip

        return self.write(write)

    def promote(self, alias: str, policy: str, *, time: int, reason: str = "") -> Promotion:
        """Make a policy live. It needs ``ship`` as the latest verdict on it against who is live at this moment.

        Under an alias that has nobody yet, a ``ship`` against any incumbent will do. Promoting who is live already
        changes nothing. After a rollback only a look that was taken later counts: whoever rolled back had a reason.
        Of several concurrent promotions proven against the same incumbent exactly one succeeds.

        Raises: EvidenceError without such a verdict.
        """

        def write(db: sa.Connection) -> Promotion:
            live = _current(db, alias)
            if live is not None and live.policy == policy:
                return live
            query = (
                sa.select(looks.c.id, looks.c.incumbent, verdicts.c.outcome)
                .join(verdicts, verdicts.c.look == looks.c.id)
                .where(looks.c.alias == alias, looks.c.candidate == policy)
            )
            if live is not None:
                query = query.where(looks.c.incumbent == live.policy)
            if live is not None and live.kind == "rollback":
                query = query.where(looks.c.time >= live.time)
            row = db.execute(query.order_by(looks.c.id.desc()).limit(1)).mappings().first()
            if row is None or row["outcome"] != "ship":
                raise _unproven(alias, policy, live and live.policy, row["outcome"] if row else None)
            version = 1 if live is None else live.version + 1
            return _append(db, Promotion(alias=alias, version=version, policy=policy, look=row["id"], time=time,
                                         kind="promote", reason=reason))  # fmt: skip

        return self.write(write)

    def override(self, alias: str, policy: str, *, time: int, reason: str, after: int | None = None) -> Promotion:
        """Make a policy live without a proof: for who must, with a reason, under this name in the history for ever.

        Args:
            after: the version that must still be the last one (0: nobody was ever live); None asks for none.
        Raises: StoreError if somebody else has gone live since.
        """
        _need_reason(reason)

        def write(db: sa.Connection) -> Promotion:
            live = _current(db, alias)
            version = 1 if live is None else live.version + 1
            if after is not None and live is not None and live.version != after:
                raise StoreError(
                    f"somebody else made {live.policy} live under {alias!r}: {live.kind}, {live.reason!r}",
                    "Whoever did had a reason.",
                    "Start again if you are to take over.",
                    field=alias,
                )
            return _append(db, Promotion(alias=alias, version=version, policy=policy, look=None, time=time,
                                         kind="override", reason=reason))  # fmt: skip

        return self.write(write)

    def rollback(self, alias: str, *, reason: str, time: int) -> Promotion:
        """Put back whoever was live before the current policy; needs no verdict, only a reason.

        Repeated, it goes further back. Raises: StoreError if nobody was live before; ConfigError without a reason.
        """
        _need_reason(reason)

        def write(db: sa.Connection) -> Promotion:
            past = _history(db, alias)
            stack: list[str] = []
            for change in past:
                if change.kind == "rollback":
                    stack.pop()
                else:
                    stack.append(change.policy)
            if not past:
                raise StoreError(f"nobody was ever live under {alias!r}, so there is nothing to go back from",
                                 hint=_aliases(db), field=alias)  # fmt: skip
            if len(stack) < 2:
                raise StoreError(f"nobody was live under {alias!r} before {stack[0]}", field=alias)
            return _append(db, Promotion(alias=alias, version=past[-1].version + 1, policy=stack[-2], look=None,
                                         time=time, kind="rollback", reason=reason))  # fmt: skip

        return self.write(write)

    # Transactions

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        with refusals(self.url), self._engine.connect() as db:
            yield db

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in a transaction that is on the disk when this returns; a lost race starts it again."""
        lost = (exc.IntegrityError,) if self._engine.name == "sqlite" else (exc.IntegrityError, exc.OperationalError)
        with refusals(self.url):
            for attempt in range(_RETRIES):
                try:
                    with self._engine.connect().execution_options(writes=True) as db, db.begin():
                        return work(db)
                except lost:
                    if attempt == _RETRIES - 1:
                        raise
        raise AssertionError("unreachable")


def _aliases_of(db: sa.Connection) -> tuple[str, ...]:
    return tuple(db.scalars(sa.select(promotions.c.alias).distinct().order_by(promotions.c.alias)))


def _aliases(db: sa.Connection) -> str:
    known = ", ".join(_aliases_of(db))
    return f"Aliases: {known}" if known else "Nothing was ever promoted here."


def _comparison(db: sa.Connection, key: dict[str, Any]) -> int:
    """Its number, by first appearance under its problem and alias; given now if it is new."""
    mine = db.execute(sa.select(comparisons.c.k).where(_same(comparisons, key, *key))).scalar()
    if mine is not None:
        return mine
    last = sa.select(sa.func.max(comparisons.c.k)).where(_same(comparisons, key, "problem_hash", "alias"))
    k = (db.execute(last).scalar() or 0) + 1
    db.execute(comparisons.insert().values(k=k, **key))
    return k


def _same(table: sa.Table, key: dict[str, Any], *columns: str) -> Any:
    return sa.and_(*(table.c[name] == key[name] for name in columns))


def _current(db: sa.Connection, alias: str) -> Promotion | None:
    query = sa.select(promotions).where(promotions.c.alias == alias).order_by(promotions.c.version.desc()).limit(1)
    row = db.execute(query).mappings().first()
    return None if row is None else Promotion(**row)


def _history(db: sa.Connection, alias: str) -> tuple[Promotion, ...]:
    query = sa.select(promotions).where(promotions.c.alias == alias).order_by(promotions.c.version)
    return tuple(Promotion(**row) for row in db.execute(query).mappings())


def _append(db: sa.Connection, change: Promotion) -> Promotion:
    """(alias, version) is the primary key: if another writer took the version, this transaction starts again."""
    db.execute(promotions.insert().values(msgspec.structs.asdict(change)))
    return change


def _need_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("a reason is needed", "It is what others will read in the history.", "--why TEXT")


def _unproven(alias: str, policy: str, live: str | None, outcome: str | None) -> EvidenceError:
    against = f" against {live!r}, who is live now" if live else ""
    seen = "there is no verdict" if outcome is None else f"the latest verdict is {outcome!r}"
    return EvidenceError(
        f"{policy!r} may not be promoted to {alias!r}: {seen} on it{against}",
        "Only a proof against the policy it replaces shows that it is better.",
        f"understudy gate RUN --on DATA --for {alias}",
        field=policy,
    )
