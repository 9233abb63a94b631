"""A policy decides on a file of states: what comes out is the next log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.hashing import text_hashes
from understudy.core.problem import Problem
from understudy.data.decided import Decided, Whole, aside
from understudy.data.read import Reject
from understudy.data.repeats import Repeats
from understudy.data.sources import FORMATS, Source, resolve
from understudy.data.states import Batch, check_states, read_states
from understudy.data.times import MICRO, instant
from understudy.models.policy_file import read_policy
from understudy.models.scoring import Scorer
from understudy.runs.home import Home, now
from understudy.runs.incumbent import locate

Told = Callable[[int, int], None]  # rows decided, rows set aside


@dataclass(frozen=True)
class Predicted:
    """What was decided, and where it lies."""

    path: Path
    policy_id: str
    application: str
    rows: int = 0
    quarantined: int = 0
    actions: dict[str, int] = field(default_factory=dict)  # how often each action was taken

    def lines(self) -> list[str]:
        """For a person."""
        most = sorted(self.actions.items(), key=lambda item: -item[1])[:5]
        told = [f"{self.rows} decisions by {self.policy_id}"]
        told += [f"{', '.join(f'{name} {n / self.rows:.1%}' for name, n in most)}"] if most else []
        return told + ([f"{self.quarantined} rows set aside"] if self.quarantined else [])

    def as_dict(self) -> dict[str, Any]:
        """For a machine."""
        told = {name: getattr(self, name) for name in ("policy_id", "application", "rows", "quarantined", "actions")}
        return told | {"path": str(self.path)}


@dataclass(frozen=True)
class Draws:
    """Whose randomness, and what is written where a row does not say it itself."""

    application: str
    name: str  # begins the ids of rows that have none
    time: float | None

    def ids(self, batch: Batch) -> tuple[list[str], pa.Array | None]:
        """The id of every row, and those that were made here (null where the row had one); None if none was made."""
        given = _texts(batch, "decision_id")
        if None not in given:
            return given, None  # pyright: ignore[reportReturnType]
        episodes, turns = _texts(batch, "episode_id"), _texts(batch, "t")
        if None not in episodes and None not in turns:
            made = [f"{episode}:{t}" for episode, t in zip(episodes, turns)]
        else:
            made = [
                f"{self.name}-{line}" if episode is None or t is None else f"{episode}:{t}"
                for line, episode, t in zip(batch.rows.lines.tolist(), episodes, turns)
            ]
        if given.count(None) == len(given):
            return made, pa.array(made, pa.string())
        own = pa.array([own if id is None else None for id, own in zip(given, made)], pa.string())
        return [own if id is None else id for id, own in zip(given, made)], own

    def named(self, batch: Batch) -> bool:
        """Whether ids come from what rows say of themselves; those from lines differ of themselves."""
        there = batch.rows.columns.keys()
        return "decision_id" in there or {"episode_id", "t"} <= there

    def keys(self, ids: list[str]) -> np.ndarray:
        """u64[n]; ``hashing.fractions`` of them is the u of each decision, as a service of this application draws."""
        return text_hashes(ids, f"{self.application}\0")


def predict(
    states: Any,
    *,
    policy: str | Path,
    to: str | Path,
    home: str | Path = ".understudy",
    application: str | None = None,
    seed: int = 0,
    time: float | None = None,
    quarantine: str | Path | None = None,
    overwrite: bool = False,
    replace: bool = False,
    told: Told = lambda rows, aside: None,
) -> Predicted:
    """Decide on every state of a file, in its order, and write it with the decision beside it; memory stays bounded.

    Args:
        states: a .jsonl, .csv or .parquet file (the first two also .gz), or a table in memory.
        policy: a policy artifact's folder, its id, or an alias under which one is live.
        to: the file to write; its suffix is its format. It appears whole, at the end, or not at all.
        application: whose randomness: u = hash(application, decision_id), as in a service. None: the alias, or the
            policy's id.
        seed: enters the ids, and so the draws, of rows that have neither a decision_id nor an episode_id and a t.
        time: seconds since 1970 that rows without a time get; None leaves them without.
        quarantine: file for rows that cannot be decided on; None refuses the first.
        overwrite: rows may have been decided already; what they say is replaced.
        replace: ``to`` may exist.
        told: is told, batch by batch, how far it has come.

    Raises: DataError for a row that is no state of the policy's problem, with its line; nothing is written then.
    """
    to, source = Path(to), _one(states)
    _check_target(to, replace)
    if quarantine is not None:
        _check_quarantine(Path(quarantine), to, states, replace)
    folder, policy_id = locate(str(policy), home)
    held = read_policy(folder)
    application = application or (str(policy) if Home(home).exists and _alias(policy, home) else policy_id)
    draws = Draws(application, f"{text_hashes([f'{source.sha256}{chr(0)}{seed}'])[0]:016x}", time)
    with ExitStack() as files:
        seen = files.enter_context(Repeats())
        bad = None if quarantine is None else files.enter_context(Whole(Path(quarantine)))
        out = Decided(files.enter_context(Whole(to)), to, held.problem)
        decider = _Decider(Scorer(held.policy), policy_id, held.problem, draws, seen)
        rows = refused = 0
        for batch in read_states(source, held.problem):
            context, allowed, rejects = check_states(batch, held.problem, overwrite=overwrite)
            refused += _set_aside([*batch.rows.rejects, *rejects], bad, source)
            batch = _sound(batch, rejects)
            if batch.rows.n:
                out.write(batch, decider.columns(batch, context, allowed))
            rows += batch.rows.n
            told(rows, refused)
        _check_repeats(seen, source)
        out.close()
        if not rows:
            raise DataError(f"{source.name}: none of {refused} rows is a state of the policy's problem")
    return Predicted(to, policy_id, application, rows, refused, dict(sorted(decider.counts.items())))


def moment(said: str) -> float | None:
    """``now``, ``none``, seconds since 1970 or ISO 8601 text → seconds; None for none. Raises: ConfigError."""
    if said == "none":
        return None
    if said == "now":
        return now() / MICRO
    try:
        return instant(float(said)) / MICRO
    except ValueError:
        return instant(said) / MICRO


@dataclass(frozen=True)
class _Decider:
    """Who decides, and what is written about it."""

    scorer: Scorer
    policy_id: str
    problem: Problem
    draws: Draws
    seen: Repeats
    counts: Counter[str] = field(default_factory=Counter)

    def columns(self, batch: Batch, context: np.ndarray, allowed: np.ndarray | None) -> dict[str, pa.Array]:
        """The new columns of a batch."""
        ids, own = self.draws.ids(batch)
        made: dict[str, pa.Array] = {} if own is None else {"decision_id": own}
        known = _listed(batch, "time") if self.draws.time is not None else []
        if None in known:
            made["time"] = pa.array([None if value is not None else self.draws.time for value in known], pa.float64())
        keys = self.draws.keys(ids)
        if self.draws.named(batch):
            self.seen.add(keys, batch.rows.lines)
        scored = self.scorer(context, keys, allowed)
        names = self.problem.actions.names
        if names:
            made["action"] = pa.DictionaryArray.from_arrays(pa.array(scored.action), pa.array(names, pa.string()))
            tallied = np.bincount(scored.action, minlength=len(names))
            self.counts.update({name: int(n) for name, n in zip(names, tallied) if n})
        else:
            made["action"] = _lists(scored.action)
        made["propensity"] = pa.array(scored.propensity)
        if scored.probs is not None:
            made["propensities"] = _lists(scored.probs)
        same = pa.array(np.zeros(len(ids), np.int32))
        return made | {"policy_id": pa.DictionaryArray.from_arrays(same, pa.array([self.policy_id]))}


def _lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _listed(batch: Batch, name: str) -> Sequence[Any]:
    """A column's values; None where a row does not say."""
    column = batch.rows.columns.get(name)
    if column is None:
        return [None] * batch.rows.n
    return column.to_pylist() if isinstance(column, pa.Array) else column


def _texts(batch: Batch, name: str) -> list[str | None]:
    """A column as texts; None where a row does not say."""
    values = _listed(batch, name)
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        return list(values)
    return list(map(str, values)) if kinds == {int} else [None if value is None else str(value) for value in values]


def _sound(batch: Batch, rejects: list[Reject]) -> Batch:
    if not rejects:
        return batch
    return batch.keep(~np.isin(batch.rows.lines, [reject.line for reject in rejects]))


def _set_aside(rejects: list[Reject], file: BinaryIO | None, source: Source) -> int:
    rejects = sorted(rejects, key=lambda reject: reject.line)
    if rejects and file is None:
        first = rejects[0]
        raise DataError(
            f"{source.name}, line {first.line}: {first.detail}",
            "A row left out in silence would be missing from the next log. Nothing was written.",
            "Mend the row, or set such rows aside: --quarantine FILE"
            + (". Rows that were decided already: --overwrite" if first.reason == "already_decided" else ""),
            field=first.reason,
        )
    if file is not None:
        file.write(aside(rejects))
    return len(rejects)


def _check_repeats(seen: Repeats, source: Source) -> None:
    if (pair := seen.first()) is not None:
        raise DataError(
            f"{source.name}, line {pair[1]}: its id stands in line {pair[0]} already",
            "Two decisions of one id get one draw, and a log holds one of them. Nothing was written.",
            "Give each decision a decision_id of its own, or none; or each step of an episode its own t.",
            field="decision_id",
        )


def _one(states: Any) -> Source:
    found = resolve(states)
    if len(found) != 1:
        raise DataError(f"{len(found)} files at once", hint="Decide on one file at a time: what comes out is one file.")
    return found[0]


def _check_target(to: Path, replace: bool) -> None:
    if to.suffix not in FORMATS:
        raise ConfigError(f"{to} is of no known format", hint=f"It may end in {', '.join(sorted(FORMATS))}", field="to")
    if to.exists() and not replace:
        raise StoreError(
            f"{to} exists already", "It may be the log of what somebody did.", "Give another name, or say --replace.",
            field="to",
        )  # fmt: skip


def _check_quarantine(file: Path, to: Path, states: Any, replace: bool) -> None:
    """Rows set aside never take the place of anything else."""
    taken = [to] if not isinstance(states, str | Path) else [to, Path(states)]
    if file.resolve() in [path.resolve() for path in taken]:
        raise ConfigError(
            f"{file} cannot hold the rows set aside: it is the states or the decisions", field="quarantine"
        )
    if file.exists() and not replace:
        raise StoreError(f"{file} exists already", hint="Give another name, or say --replace.", field="quarantine")


def _alias(policy: str | Path, home: str | Path) -> bool:
    """Whether a policy was named by an alias."""
    from understudy.runs.incumbent import is_artifact

    return not is_artifact(str(policy))
