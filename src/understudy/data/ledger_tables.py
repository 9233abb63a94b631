"""The ledger's tables: plain types, append-only, every race settled by a primary or unique key."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import event

tables = sa.MetaData()

artifacts = sa.Table(
    "artifacts",
    tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)

comparisons = sa.Table(
    "comparisons",
    tables,
    sa.Column("problem_hash", sa.String(64), primary_key=True),
    sa.Column("alias", sa.String(128), primary_key=True),
    sa.Column("k", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("candidate", sa.String(128), nullable=False),
    sa.Column("incumbent", sa.String(128), nullable=False),
    sa.Column("design", sa.String(64), nullable=False),
    sa.Column("stream", sa.String(128), nullable=False),
    sa.UniqueConstraint("problem_hash", "alias", "candidate", "incumbent", "design", "stream"),
)

looks = sa.Table(
    "looks",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("problem_hash", sa.String(64), nullable=False),
    sa.Column("alias", sa.String(128), nullable=False),
    sa.Column("candidate", sa.String(128), nullable=False),
    sa.Column("incumbent", sa.String(128), nullable=False),
    sa.Column("dataset", sa.String(128), nullable=False),
    sa.Column("design", sa.String(64), nullable=False),
    sa.Column("k", sa.Integer, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("alpha", sa.Float(53), nullable=False),
    sa.ForeignKeyConstraint(
        ["problem_hash", "alias", "k"], ["comparisons.problem_hash", "comparisons.alias", "comparisons.k"]
    ),
)

verdicts = sa.Table(
    "verdicts",
    tables,
    sa.Column("look", sa.ForeignKey("looks.id"), primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)

promotions = sa.Table(
    "promotions",
    tables,
    sa.Column("alias", sa.String(128), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("policy", sa.String(128), nullable=False),
    sa.Column("look", sa.ForeignKey("looks.id"), nullable=True),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

traffic = sa.Table(
    "traffic",
    tables,
    sa.Column("alias", sa.String(128), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("candidate", sa.String(128), nullable=True),
    sa.Column("share", sa.Float(53), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

experiments = sa.Table(
    "experiments",
    tables,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("alias", sa.String(128), nullable=False),
    sa.Column("problem_hash", sa.String(64), nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("code_version", sa.String(32), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
)

journal = sa.Table(
    "journal",
    tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("experiment", sa.ForeignKey("experiments.id"), nullable=False),
    sa.Column("workflow", sa.String(16), nullable=False),
    sa.Column("job", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.UniqueConstraint("experiment", "workflow", "job", "number"),
)

# The database itself forbids what no code here does.
_REFUSE = "the ledger is append-only"
_FUNCTION = (
    "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSE}'; END $$"
)
for _table in tables.sorted_tables:
    for _verb in ("UPDATE", "DELETE"):
        _text = (
            f"CREATE TRIGGER IF NOT EXISTS {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSE}'); END"
        )
        event.listen(_table, "after_create", sa.DDL(_text).execute_if(dialect="sqlite"))
    _text = (
        f"CREATE TRIGGER {_table.name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {_table.name} "
        "EXECUTE FUNCTION ledger_refuse()"
    )
    for _statement in (_FUNCTION, _text):
        event.listen(_table, "after_create", sa.DDL(_statement).execute_if(dialect="postgresql"))
