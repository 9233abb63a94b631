"""Policy artifacts and a dataset in; estimates with intervals out, written as an artifact where asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from understudy import __version__
from understudy.core.errors import ConfigError
from understudy.core.evidence import Estimate
from understudy.core.manifest import Manifest, Parent
from understudy.core.problem import Problem
from understudy.core.protocols import Policy
from understudy.data.artifact import read_manifest, verify_artifact, write_artifact
from understudy.ope.evaluate import evaluate
from understudy.runs.epochs import at_epoch
from understudy.runs.home import LOGGED, Home
from understudy.runs.incumbent import Incumbent, resolve
from understudy.runs.slices import open_slice
from understudy.runs.train import Trained, expand, open_policy

ESTIMATES = "estimates.json"
_COMMA = re.compile(r",(?![^(]*\))")  # not the commas inside "dr(clip=20, …)"


@dataclass(frozen=True)
class Assessment:
    """How to estimate: see ``ope.evaluate``."""

    estimators: tuple[str, ...] = ("ips", "snips", "dr")
    against: str = LOGGED
    by: str | None = None
    q: str = "ridge"
    method: str = "jackknife"
    level: float = 0.95
    slice: str = "select"
    seed: int = 0
    propensity: str = "logged"
    outcome: str = ""
    normalize: bool = False


def assess(
    runs: Sequence[str | Path], *, on: str | Path, how: Assessment, home: str | Path, to: str | Path | None = None
) -> tuple[tuple[Estimate, ...], Path]:
    """Estimates of every policy, of the incumbent, and of each paired difference, as an ``estimates`` artifact.

    The ledger remembers which rows a policy was evaluated on: who then chooses by the figures may not use those rows
    to prove the choice.

    Args:
        runs: policy artifacts, ``runs/a@7`` (epoch 7) or ``runs/a@all`` (each); a folder's name is the policy's name.
        to: the artifact's folder; None is one below ``home``. The same question asked again is answered from it.

    Raises:
        DataError: a policy was trained on rows it would be evaluated on.
        ConfigError: two policies share a name.
    """
    runs = expand(runs)
    place, policies = Home(home), [open_policy(run) for run in runs]
    incumbent = resolve(how.against, place)
    targets = _targets(policies, incumbent)
    seen = {policy.name: policy.trained_on for policy in policies if policy.trained_on is not None}
    found: list[tuple[Estimate, ...]] = []

    def compute() -> tuple[Estimate, ...]:
        data = open_slice(on, how.slice)
        return evaluate(
            data, targets, how.estimators or usual(data.problem), q=how.q, level=how.level, method=how.method,
            by=how.by, against=incumbent.name, trained_on=seen, propensity=how.propensity, seed=how.seed,
            outcome=how.outcome or None, normalize=how.normalize,
        )  # fmt: skip

    def fill(folder: Path) -> None:
        found.append(compute())
        (folder / ESTIMATES).write_bytes(msgspec.json.format(msgspec.json.encode(found[0]), indent=1))

    asked = _manifest(policies, incumbent, on, how)
    folder = Path(home) / "estimates" / asked.recipe if to is None else Path(to)
    write_artifact(folder, asked, fill)
    for artifact in dict.fromkeys((str(on), str(folder), *(str(at_epoch(run)[0]) for run in runs))):
        place.record(artifact)
    return found[0] if found else read_estimates(folder), folder


def usual(problem: Problem) -> tuple[str, ...]:
    """The estimators where nobody says which: of continuous actions those that need no model."""
    if not problem.actions.discrete:
        return ("ips", "snips") if problem.bandit else ("pdis", "cwpdis")
    return ("ips", "snips", "dr") if problem.bandit else ("cwpdis", "wdr", "fqe", "drl")


def split_names(text: str) -> tuple[str, ...]:
    """``"snips,dr(clip=20)"`` → ``("snips", "dr(clip=20)")``."""
    return tuple(name.strip() for name in _COMMA.split(text) if name.strip())


def read_estimates(folder: str | Path) -> tuple[Estimate, ...]:
    """The estimates of an ``estimates`` artifact. Raises: StoreError if its files are not what was written."""
    verify_artifact(folder)
    return msgspec.json.decode((Path(folder) / ESTIMATES).read_bytes(), type=tuple[Estimate, ...])


def estimate_lines(estimates: Sequence[Estimate]) -> list[str]:
    """A table for a terminal; below it why an interval was refused, and what else there is to know of an estimate."""
    normalized = any(e.normalized is not None for e in estimates)
    head = ["target", "estimator", "value", "low", "high", "ESS", "matched", *["of log's"] * normalized]
    rows: list[list[str]] = []
    why: dict[tuple[str, str], list[str]] = {}  # (target, reason) → the estimators it stopped
    beside: dict[str, list[str]] = {}  # note → the estimators it is about
    for e in estimates:
        name = f"{e.target} [{e.segment}]" if e.segment else e.target
        bounds = ["refused", "refused"] if e.low is None or e.high is None else [f"{e.low:.4f}", f"{e.high:.4f}"]
        share = ["" if e.normalized is None else f"{e.normalized:.3f}"] * normalized
        rows.append([name, e.estimator, f"{e.value:.4f}", *bounds, f"{e.ess:.0f}", str(e.matched), *share])
        if e.refused and e.notes:
            why.setdefault((name, e.notes[0]), []).append(e.estimator)
        for note in e.notes[1:] if e.refused else e.notes:
            beside.setdefault(note, []).append(e.estimator)
    lines = [f"{name}, {', '.join(stopped)}: {note}" for (name, note), stopped in why.items()]
    lines += [f"note, {', '.join(dict.fromkeys(about))}: {note}" for note, about in beside.items()]
    return aligned(rows, head) + lines


def aligned(rows: Sequence[Sequence[str]], head: Sequence[str]) -> list[str]:
    """Columns for a terminal: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]
        return "  ".join(padded).rstrip()

    return [line(head), line(["-" * width for width in widths]), *(line(row) for row in rows)]


def _targets(policies: Sequence[Trained], incumbent: Incumbent) -> dict[str, Policy | None]:
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1 or name == incumbent.name:
            raise ConfigError(
                f"two policies are called {name!r}", "An estimate is named after its policy.", "Rename a folder."
            )
    return {policy.name: policy.policy for policy in policies} | {incumbent.name: incumbent.policy}


def _manifest(policies: Sequence[Trained], incumbent: Incumbent, on: str | Path, how: Assessment) -> Manifest:
    data = read_manifest(on)
    parents = [Parent(id=data.id, kind=data.kind), *(Parent(id=p.manifest.id, kind="policy") for p in policies)]
    if incumbent.policy is not None:
        parents.append(Parent(id=incumbent.id, kind="policy"))
    return Manifest(
        kind="estimates",
        problem_hash=data.problem_hash,
        parents=tuple(parents),
        # The release is part of the question: one that mends an estimator must not be answered with old figures.
        config=asdict(how) | {"names": [p.name for p in policies], "incumbent": incumbent.name, "release": __version__},
        seed=how.seed,
        code_version=__version__,
    )
