"""The gate at work: announce the look, compute the proof, record the verdict; then promotion and its undoing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from understudy import __version__
from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.core.evidence import Finding, Lift, Verdict
from understudy.core.hashing import content_id
from understudy.core.manifest import Manifest, Parent
from understudy.core.registry import unknown
from understudy.core.steps import concat
from understudy.data.artifact import verify_artifact, write_artifact
from understudy.data.dataset import decision_hashes, open_dataset
from understudy.data.eventlog.export import is_segment
from understudy.data.ledger import Look
from understudy.data.traffic import Direction, Traffic
from understudy.gate import GateRules, Lineage, Turn, disjoint, gate, plan
from understudy.ope.audit import Known, audit
from understudy.ope.evaluate import evaluate
from understudy.ope.lift import lift, no_lift
from understudy.runs.epochs import at_epoch
from understudy.runs.home import LOGGED, Home, now
from understudy.runs.incumbent import PRODUCTION, Incumbent, is_artifact, resolve
from understudy.runs.settings import read_yaml
from understudy.runs.slices import open_slice
from understudy.runs.train import Trained, open_policy

VERDICT, LIFT, TRAIL = "verdict.json", "lift.json", "trail.json"


@dataclass(frozen=True)
class Proof:
    """How to prove: for which alias, against whom, by which rules, on which slice.

    ``against`` "" is whoever is live under the alias; an alias there is also the one that is to be promoted to.
    ``alias`` "" is that one, or production.
    ``stream`` names a log that only grows: all looks at it by one candidate are one comparison.
    """

    against: str = ""
    alias: str = ""
    rules: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    slice: str = "gate"
    seed: int = 0
    stream: str = ""

    @property
    def family(self) -> str:
        """The alias whose family of comparisons this one belongs to, and shares its α with.

        Raises: ConfigError if ``against`` names one alias and ``alias`` another.
        """
        named = self.against if self.against != LOGGED and not is_artifact(self.against) else ""
        if named and self.alias and named != self.alias:
            raise ConfigError(
                f"the incumbent is who is live under {named!r}, but the promotion is to be to {self.alias!r}",
                "A proof counts where the candidate would go live, against who is live there.",
                f"Leave out one of the two, or name the incumbent by its folder or id: --for {self.alias}.",
                field="for",
            )
        return named or self.alias or PRODUCTION

    def resolved(self) -> GateRules:
        """Defaults < file < settings. Raises: ConfigError on an unknown rule or a value out of range."""
        given = {} if self.rules is None else msgspec.structs.asdict(read_yaml(self.rules, GateRules))
        names = [f.name for f in msgspec.structs.fields(GateRules)]
        for key in self.settings:
            if key not in names:
                raise unknown("gate rule", key, names)
        try:
            return msgspec.convert({**given, **self.settings}, GateRules)
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"the gate's rules are not valid: {error}") from error


def prove(run: str | Path, *, on: str | Path, how: Proof, home: str | Path) -> tuple[Verdict, Path]:
    """May this policy replace the incumbent? The look is in the ledger before anything is computed.

    Returns the verdict and the folder of its artifact, which also holds the lift it rests on.
    """
    _refuse_epoch(run, how.against)
    place, rules, candidate = Home(home), how.resolved(), open_policy(run)
    family = how.family
    incumbent = resolve(how.against or family, place, how.alias or PRODUCTION)
    dataset, data = verify_artifact(on), open_slice(on, how.slice)  # a proof rests on what join wrote, to the byte
    _refuse_itself(candidate, incumbent)
    look = place.ledger.record_look(
        time=now(), problem_hash=dataset.problem_hash, alias=family, candidate=candidate.manifest.id,
        incumbent=incumbent.id, dataset=f"{dataset.id}/{how.slice}", alpha=rules.alpha,
        design=f"margin {rules.margin}, seed {how.seed}", stream=how.stream or None,
    )  # fmt: skip
    _refuse_rewritten(look, data, place)
    findings = audit(open_dataset(on), known=Known(dataset.counts, witnessed=_witnessed(dataset, place)))
    terms = _Terms(rules, Turn(k=look.k, number=look.number), place, findings)
    verdict, proof = _judge(candidate, incumbent, data, how, terms)
    signed = msgspec.structs.replace(verdict, candidate=look.candidate, incumbent=look.incumbent)  # ids, not names
    place.ledger.record_verdict(look, signed, time=now())
    parents = [Parent(id=dataset.id, kind="dataset"), Parent(id=candidate.manifest.id, kind="policy")]
    if incumbent.policy is not None:
        parents.append(Parent(id=incumbent.id, kind="policy"))
    manifest = Manifest(
        kind="verdict", problem_hash=dataset.problem_hash, parents=tuple(parents), seed=how.seed,
        config={"rules": msgspec.to_builtins(rules), "against": incumbent.name, "slice": how.slice, "look": look.id},
        code_version=__version__,
    )  # fmt: skip
    folder, files = verdict_folder(home, look.id), {VERDICT: verdict, LIFT: proof, TRAIL: trail(data)}

    def fill(part: Path) -> None:
        for name, body in files.items():
            (part / name).write_bytes(msgspec.json.format(msgspec.json.encode(body), indent=1))

    write_artifact(folder, manifest, fill, replace=True)
    for artifact in (on, run, folder):
        place.record(artifact)
    return verdict, folder


def _witnessed(dataset: Manifest, place: Home) -> bool:
    """Whether every event was exported from an event log, which holds each context before its action is answered."""
    logs = [place.known(parent.id) for parent in dataset.parents]
    return bool(logs) and all(path is not None and path.exists() and is_segment(path) for path in logs)


def trail(data: Any, rows: int | None = None) -> dict[str, Any]:
    """How many decisions were looked at, and a hash of them and their rewards in log order; of the first ``rows``."""
    steps = concat(list(data.scan()))
    n = steps.n if rows is None else rows
    order = np.argsort(steps.time, kind="stable")[:n]
    decision = steps.row_unit if steps.origin is None else steps.origin.decision  # u64[n]
    columns = (decision[order], steps.reward[order], steps.action[order])
    return {"rows": n, "hash": content_id(*(np.ascontiguousarray(column).tobytes() for column in columns))}


def _refuse_itself(candidate: Trained, incumbent: Incumbent) -> None:
    if candidate.manifest.id == incumbent.id:
        raise ConfigError(
            f"{candidate.name} and the incumbent {incumbent.name} are one policy ({incumbent.id})",
            "It cannot be better than itself, and asking would cost a comparison.",
            "Train another candidate, or name another incumbent with --against.",
            field="against",
        )


def _refuse_epoch(*runs: str | Path) -> None:
    for run in runs:
        if at_epoch(run)[1] is not None:
            raise ConfigError(
                f"{run} is one epoch of a training, not a policy with an id of its own",
                "What is proven or promoted is an id, and this one stands for the epoch that the training chose.",
                "Name the training's folder; --choose and --epochs of train say which of its policies that is.",
                field="run",
            )


def _refuse_rewritten(look: Look, data: Any, place: Home) -> None:
    """A stream may only grow: what an earlier look at this comparison saw must stand unchanged at its beginning."""
    for earlier in place.ledger.looks(look.alias):
        path = verdict_folder(place.folder, earlier.id) / TRAIL
        if earlier.k != look.k or earlier.problem_hash != look.problem_hash or not path.exists():
            continue
        seen = msgspec.json.decode(path.read_bytes())
        if seen["rows"] > data.n_steps or trail(data, seen["rows"]) != seen:
            raise EvidenceError(
                f"the stream was rewritten: the {seen['rows']} decisions that look {earlier.id} saw are not its first",
                "The proof adds up over a log that only grows; on a log that changes it proves nothing.",
                "Look at this dataset without --stream: it is then a comparison of its own.",
                field="stream",
            )


def verdict_folder(home: str | Path, look: int) -> Path:
    """Where the verdict of a look lies, with the lift it rests on."""
    return Path(home) / "verdicts" / str(look)


def last_verdict(policy_id: str, home: str | Path) -> tuple[Verdict, Lift] | None:
    """The newest verdict on a policy and its lift; None if it was never looked at."""
    place = Home(home)
    looks = [look for look in place.ledger.looks() if look.candidate == policy_id] if place.exists else []
    for look in reversed(looks):
        folder = verdict_folder(home, look.id)
        if (folder / VERDICT).exists():
            verify_artifact(folder)
            verdict = msgspec.json.decode((folder / VERDICT).read_bytes(), type=Verdict)
            return verdict, msgspec.json.decode((folder / LIFT).read_bytes(), type=Lift)
    return None


@dataclass(frozen=True)
class _Terms:
    """What a verdict depends on besides policies and data."""

    rules: GateRules
    turn: Turn
    place: Home
    findings: tuple[Finding, ...]  # of the whole dataset: what is wrong anywhere in a log is wrong with its slices


def _judge(candidate: Trained, incumbent: Incumbent, data: Any, how: Proof, terms: _Terms) -> tuple[Verdict, Lift]:
    rules, names = terms.rules, (candidate.name, incumbent.name)
    try:
        proof = lift(data, candidate.policy, incumbent.policy, names=names, margin=rules.margin, level=1 - rules.alpha,
                     seed=how.seed)  # fmt: skip
    except EvidenceError as error:  # the question was asked and is in the ledger: it gets an answer
        said = " ".join(part.rstrip(".") + "." for part in (error.what, error.why, error.hint) if part)
        proof = no_lift(names, said, margin=rules.margin)
    estimates = ()
    if rules.test == "asymptotic":
        targets = {candidate.name: candidate.policy, incumbent.name: incumbent.policy}
        estimates = evaluate(data, targets, ["dr"], against=incumbent.name, seed=how.seed)
    lineage = _lineage(candidate, incumbent, terms.place, data)
    verdict = gate(
        estimates, rules, against=incumbent.name, lift=proof, findings=terms.findings, turn=terms.turn, lineage=lineage
    )
    return verdict, proof


def _lineage(candidate: Trained, incumbent: Incumbent, place: Home, data: Any) -> Lineage:
    """Row by row: what training, selection and this gate share."""
    learned = [policy for policy in (candidate.trained_on, incumbent.trained_on) if policy is not None]
    training = None if candidate.trained_on is None else np.concatenate(learned)
    return disjoint({"training": training, "selection": _selection(candidate, place), "gate": decision_hashes(data)})


def _selection(candidate: Trained, place: Home) -> np.ndarray | None:
    """Hashes of every decision the candidate was ever evaluated on; None if some of them cannot be found any more."""
    seen = [np.empty(0, np.uint64)]
    for manifest in place.ledger.made("estimates"):
        parents = {parent.kind: parent.id for parent in manifest.parents}
        if candidate.manifest.id not in [parent.id for parent in manifest.parents]:
            continue
        where = place.known(parents["dataset"])
        if where is None or not where.exists():
            return None
        seen.append(decision_hashes(open_slice(where, manifest.config["slice"])))
    return np.concatenate(seen)


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict and every check, for a terminal."""
    lines = [f"{verdict.outcome.replace('_', ' ').upper()}: {verdict.reason}"]
    lines += [f"  {'ok ' if check.passed else 'NOT'} {check.name}: {check.why}" for check in verdict.checks]
    return lines


def promote(run: str | Path, *, alias: str, home: str | Path) -> dict[str, Any]:
    """Point an alias at a policy, after copying it to safety. Raises: EvidenceError without a "ship" verdict."""
    _refuse_epoch(run)
    place, id = Home(home), open_policy(run).manifest.id
    proven = any(look.candidate == id and look.outcome == "ship" for look in place.ledger.looks(alias))
    if proven:  # otherwise the ledger refuses below, and nothing may have been copied or named by then
        place.record(place.keep(run))
        if place.ledger.current(alias) is None:
            reason = "before the first promotion the log's own policy acts"
            place.ledger.install(alias, LOGGED, time=now(), reason=reason)
    promotion = place.ledger.promote(alias, id, time=now())
    return {"alias": alias, "policy": id, "version": promotion.version, "path": str(place.kept(id))}


def rollback(alias: str, *, why: str, home: str | Path) -> dict[str, Any]:
    """Put back who was live before, and end any trial beside it: that was judged against whoever is gone now.

    Raises: StoreError if nobody was live before.
    """
    place = Home(home)
    if not place.exists:
        raise StoreError(f"there is no ledger in {home}, so nothing was ever promoted", field=str(home))
    promotion = place.ledger.rollback(alias, reason=why, time=now())
    traffic = Traffic(place.ledger)
    if traffic.current(alias).candidate is not None:
        traffic.direct(Direction(alias=alias, time=now(), reason=f"rollback: {why}"))
    return {"alias": alias, "policy": promotion.policy, "version": promotion.version, "reason": why}


def plan_lines(
    actions: int, exploration: float, lift: float, disagreement: float, reward: float, alpha: float
) -> tuple[list[str], dict[str, Any]]:
    """How many decisions prove a lift; in words and as data."""
    made = plan(k=actions, epsilon=exploration, gap=lift, disagreement=disagreement, reward=reward, alpha=alpha)
    needed = f"more than {made.limit:,}" if made.decisions is None else f"about {made.decisions:,}"
    lines = [
        f"to prove a lift of {lift:g} (of the reward range) with {actions} actions, exploring {exploration:.1%}:",
        f"  {needed} decisions, with power {made.power:.0%} at α = {alpha:g}",
        f"  by weights alone, without a reward model: about {made.rule_of_thumb:,}",
    ]
    return lines, msgspec.to_builtins(made)
