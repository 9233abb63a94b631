"""The ledger: every look, every verdict, who is live; append-only, one winner."""

from __future__ import annotations

import multiprocessing as mp

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from understudy.core.errors import ConfigError, EvidenceError, StoreError
from understudy.core.evidence import Verdict
from understudy.core.manifest import Manifest, Parent
from understudy.data.ledger import Ledger


def look(ledger: Ledger, candidate: str, incumbent: str = "base", dataset: str = "d1", **changes):
    settings = {"time": 1, "problem_hash": "p", "alias": "live", "dataset": dataset, "alpha": 0.05} | changes
    return ledger.record_look(candidate=candidate, incumbent=incumbent, **settings)


def judged(outcome: str, candidate: str, incumbent: str = "base") -> Verdict:
    return Verdict(outcome=outcome, candidate=candidate, incumbent=incumbent, checks=(), reason="because")


def shipped(ledger: Ledger, candidate: str, incumbent: str = "base") -> None:
    ledger.record_verdict(look(ledger, candidate, incumbent), judged("ship", candidate, incumbent), time=2)


def test_a_look_is_on_disk_before_there_is_a_verdict(url):
    """Another connection sees the look as soon as record_look returns: a result that is thrown away still counts."""
    look(Ledger(url), "a")
    seen = Ledger(url).looks("live")
    assert [(item.candidate, item.k, item.outcome) for item in seen] == [("a", 1, None)]


def test_candidates_are_counted_in_order_of_first_appearance(url):
    """The second candidate is k = 2 however often the first is looked at; other problems count on their own."""
    ledger = Ledger(url)
    assert [look(ledger, c, stream="log").k for c in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert look(ledger, "z", problem_hash="other").k == 1


def test_what_changes_the_question_costs_another_comparison(url):
    """Another incumbent, another design, or an unrelated dataset is a new comparison; the same dataset is not."""
    ledger = Ledger(url)
    assert look(ledger, "a").k == 1
    assert look(ledger, "a").k == 1
    assert look(ledger, "a", dataset="d2").k == 2
    assert look(ledger, "a", design="margin .01").k == 3
    assert look(ledger, "a", incumbent="other").k == 4


def test_a_growing_log_is_one_comparison_with_numbered_looks(url):
    """Looks at one stream share k; each new dataset is the next look, the same dataset is the same look."""
    ledger = Ledger(url)
    seen = [look(ledger, "a", dataset=d, stream="log") for d in ("d1", "d2", "d2", "d3", "d1")]
    assert [item.k for item in seen] == [1] * 5
    assert [item.number for item in seen] == [1, 2, 2, 3, 1]


def test_promotion_needs_a_ship_verdict_against_who_is_live(url):
    """No verdict, hold, or a proof against somebody else: refused, with the verb that would help."""
    ledger = Ledger(url)
    ledger.install("live", "base", time=0, reason="what ran before")
    with pytest.raises(EvidenceError, match="there is no verdict") as caught:
        ledger.promote("live", "a", time=3)
    assert caught.value.hint == "understudy gate RUN --on DATA --for live"
    ledger.record_verdict(look(ledger, "a"), judged("hold", "a"), time=2)
    with pytest.raises(EvidenceError, match="'hold'"):
        ledger.promote("live", "a", time=3)
    shipped(ledger, "a", incumbent="somebody else")
    with pytest.raises(EvidenceError):
        ledger.promote("live", "a", time=3)
    shipped(ledger, "a")
    assert ledger.promote("live", "a", time=3).policy == "a"
    assert ledger.current("live").policy == "a"
    shipped(ledger, "b")  # against base, who is not live any more
    with pytest.raises(EvidenceError):
        ledger.promote("live", "b", time=4)


def test_the_latest_verdict_counts(url):
    """A ship that a later look took back (say, the audit refused the log) promotes nobody."""
    ledger = Ledger(url)
    shipped(ledger, "a")
    ledger.record_verdict(look(ledger, "a"), judged("refused", "a"), time=3)
    with pytest.raises(EvidenceError, match="'refused'"):
        ledger.promote("live", "a", time=4)


def test_promoting_who_is_live_changes_nothing(url):
    """A retried promotion is not a second one."""
    ledger = Ledger(url)
    shipped(ledger, "a")
    assert ledger.promote("live", "a", time=3) == ledger.promote("live", "a", time=4)
    assert len(ledger.history("live")) == 1


def test_rollback_goes_back_one_and_then_further(url):
    """Rollback needs a reason and no verdict; it is itself part of the history."""
    ledger = Ledger(url)
    ledger.install("live", "base", time=0, reason="what ran before")
    for before, after in (("base", "a"), ("a", "b")):
        shipped(ledger, after, before)
        ledger.promote("live", after, time=1)
    with pytest.raises(ConfigError):
        ledger.rollback("live", reason=" ", time=2)
    assert ledger.rollback("live", reason="errors", time=2).policy == "a"
    assert ledger.rollback("live", reason="errors", time=3).policy == "base"
    with pytest.raises(StoreError):
        ledger.rollback("live", reason="errors", time=4)
    assert [(e.version, e.kind, e.policy) for e in ledger.history("live")] == [
        (1, "install", "base"),
        (2, "promote", "a"),
        (3, "promote", "b"),
        (4, "rollback", "a"),
        (5, "rollback", "base"),
    ]


def test_a_verdict_closes_its_own_look_once(url):
    """A second verdict, one for other policies, or one for no look is refused."""
    ledger = Ledger(url)
    first = look(ledger, "a")
    ledger.record_verdict(first, judged("hold", "a"), time=2)
    assert ledger.verdict(first) == judged("hold", "a")
    for target, verdict in (
        (first, judged("ship", "a")),
        (look(ledger, "a"), judged("ship", "b")),
        (99, judged("ship", "a")),
    ):
        with pytest.raises(StoreError):
            ledger.record_verdict(target, verdict, time=3)


def test_nothing_can_be_changed_or_removed(url):
    """The database itself refuses UPDATE and DELETE on every table."""
    ledger = Ledger(url)
    shipped(ledger, "a")
    ledger.promote("live", "a", time=3)
    ledger.record_artifact(Manifest(kind="log", problem_hash="p"), "logs", time=1)
    raw = sa.create_engine(url)
    for table in ("artifacts", "comparisons", "looks", "verdicts", "promotions"):
        with raw.connect() as db:
            assert db.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() > 0
        column = "id" if table in ("artifacts", "looks") else {"verdicts": "look"}.get(table, "alias")
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
            with pytest.raises(sa.exc.DatabaseError, match="append-only"), raw.begin() as db:
                db.execute(sa.text(statement))
    raw.dispose()


def test_lineage_leads_back_to_the_log(url):
    """verdict ← policy ← dataset ← log, nearest first, each once, unknown ancestors named without a path."""
    ledger = Ledger(url)
    log = Manifest(kind="log", problem_hash="p")
    data = Manifest(kind="dataset", problem_hash="p", parents=(Parent(id=log.id, kind="log"),))
    policy = Manifest(kind="policy", problem_hash="p", parents=(Parent(id=data.id, kind="dataset"),))
    both = tuple(Parent(id=item.id, kind=item.kind) for item in (policy, data))
    verdict = Manifest(kind="verdict", problem_hash="p", parents=both)
    for item in (data, policy, verdict, verdict):
        ledger.record_artifact(item, f"runs/{item.kind}", time=1)
    found = ledger.lineage(verdict.id)
    assert [(item.kind, item.depth) for item in found] == [("verdict", 0), ("policy", 1), ("dataset", 1), ("log", 2)]
    assert [item.path for item in found] == ["runs/verdict", "runs/policy", "runs/dataset", None]
    with pytest.raises(StoreError):
        ledger.lineage("nobody")


def test_a_url_nobody_understands_is_a_config_error():
    """The error names what can be used instead."""
    with pytest.raises(ConfigError, match="no ledger"):
        Ledger("nonsense://x")


def test_a_database_that_refuses_is_a_store_error(tmp_path):
    """No such folder, no database, a full disk: StoreError, and what was acknowledged stays."""
    with pytest.raises(StoreError, match="unable to open"):
        Ledger(f"sqlite:///{tmp_path}/nowhere/ledger.db")
    (tmp_path / "text.db").write_text("certainly no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Ledger(f"sqlite:///{tmp_path}/text.db")
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(url)
    look(ledger, "a")

    def full(connection, _):
        connection.execute("PRAGMA max_page_count = 1")

    ledger._engine.dispose()
    event.listen(ledger._engine, "connect", full)
    with pytest.raises(StoreError, match="full"):
        for i in range(2000):
            look(ledger, f"candidate {i}")
    seen = Ledger(url).looks()
    assert [item.candidate for item in seen] == ["a", *(f"candidate {i}" for i in range(len(seen) - 1))]


def test_an_override_may_ask_that_nobody_came_in_between(url: str) -> None:
    """Look and change are one transaction: whoever saw version 1 does not replace version 2."""
    ledger = Ledger(url)
    first = ledger.override("app", "a", time=1, reason="a start", after=0)
    ledger.override("app", "b", time=2, reason="an operator")
    with pytest.raises(StoreError, match="somebody else made b live"):
        ledger.override("app", "c", time=3, reason="a learner", after=first.version)
    live = ledger.current("app")
    assert live is not None and live.policy == "b"


def test_the_plain_schema_fits_postgresql():
    """Every table compiles for PostgreSQL, and none of SQLite's triggers comes along."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from understudy.data.ledger_tables import tables

    texts = [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in tables.sorted_tables]
    assert len(texts) == len(tables.sorted_tables) >= 6
    assert all("TRIGGER" not in text for text in texts)


def _promote(url: str, policy: str, gate, results) -> None:
    ledger = Ledger(url)
    gate.wait()
    try:
        results.put((policy, ledger.promote("live", policy, time=9).version))
    except EvidenceError:
        results.put((policy, None))


def test_exactly_one_of_eight_concurrent_promotions_wins(url):
    """Eight processes, each with a proof against the same incumbent: the first makes the others' proofs stale."""
    ledger = Ledger(url)
    ledger.install("live", "base", time=0, reason="what ran before")
    names = [f"c{i}" for i in range(8)]
    for name in names:
        shipped(ledger, name)
    context = mp.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    writers = [context.Process(target=_promote, args=(url, name, gate, results)) for name in names]
    for writer in writers:
        writer.start()
    seen = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    winners = [name for name, version in seen if version is not None]
    assert len(winners) == 1
    assert ledger.current("live").policy == winners[0]
    assert len(ledger.history("live")) == 2


def _roll_back(url: str, number: int, gate, results) -> None:
    ledger = Ledger(url)
    gate.wait()
    try:
        results.put((number, ledger.rollback("live", reason=f"by {number}", time=9).version))
    except StoreError:
        results.put((number, None))


def test_exactly_one_of_eight_concurrent_rollbacks_wins(url):
    """Eight processes roll the same promotion back: it is undone once, not eight times over."""
    ledger = Ledger(url)
    ledger.install("live", "base", time=0, reason="what ran before")
    shipped(ledger, "a")
    ledger.promote("live", "a", time=3)
    context = mp.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    writers = [context.Process(target=_roll_back, args=(url, i, gate, results)) for i in range(8)]
    for writer in writers:
        writer.start()
    seen = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    assert [version for _, version in seen if version is not None] == [3]
    assert [item.policy for item in ledger.history("live")] == ["base", "a", "base"]


def _announce(url: str, candidate: str, gate, results) -> None:
    gate.wait()
    ledger = Ledger(url)
    results.put([look(ledger, candidate, dataset=f"{candidate}{i}", stream="log").k for i in range(10)])


def test_concurrent_looks_each_get_a_number_of_their_own(url):
    """Eight processes announce ten looks each, on a ledger none of them made: no look lost, no k given twice."""
    context = mp.get_context("fork")
    gate, results = context.Barrier(8), context.Queue()
    writers = [context.Process(target=_announce, args=(url, f"c{i}", gate, results)) for i in range(8)]
    for writer in writers:
        writer.start()
    seen = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join()
    assert sorted(ks[0] for ks in seen) == list(range(1, 9))
    assert all(len(set(ks)) == 1 for ks in seen)
    assert len(Ledger(url).looks()) == 80


def test_a_rollback_with_nothing_to_go_back_to_says_so(tmp_path) -> None:
    """Nobody ever live, or only one: plainly, and with the aliases there are."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(StoreError, match="nobody was ever live under 'production'") as nobody:
        ledger.rollback("production", reason="complaints", time=1)
    assert nobody.value.hint == "Nothing was ever promoted here."
    ledger.install("prod", "aa", time=2, reason="first")
    with pytest.raises(StoreError, match="nobody was ever live") as other:
        ledger.rollback("production", reason="complaints", time=3)
    assert other.value.hint == "Aliases: prod" and ledger.aliases() == ("prod",)
    with pytest.raises(StoreError, match="nobody was live under 'prod' before aa"):
        ledger.rollback("prod", reason="complaints", time=4)
