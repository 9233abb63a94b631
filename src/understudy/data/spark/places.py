"""Locations that Spark reads and writes: ``hdfs://``, ``s3a://``, ``file://`` and others of Hadoop's, and tables."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from understudy.core.errors import ConfigError, DataError, StoreError
from understudy.core.manifest import Manifest
from understudy.data.artifact import MANIFEST
from understudy.data.engine import distant
from understudy.data.parquet import STEPS
from understudy.data.sources import FORMATS, Source, resolve
from understudy.data.spark.session import first_line
from understudy.data.spark.stage import staged

TABLE = "table:"
MARK = "understudy.recipe"  # the property of a table that says it is ours


def locate(what: Any, session: Any) -> list[Source]:
    """As ``sources.resolve``; what Spark reads is told apart by where its files lie, how long and how old they are.

    Raises: ConfigError where both kinds are mixed. DataError where nothing can be read.
    """
    items = list(what) if isinstance(what, Sequence) and not isinstance(what, str) else [what]
    far = [str(item) for item in items if distant(item)]
    if not far:
        return resolve(what)
    if len(far) < len(items):
        raise ConfigError(
            f"{far[0]} is read by Spark and {next(i for i in items if not distant(i))} from this machine's disk",
            hint="Put the table in one place, or name local files file:///… too.", field="sources",
        )  # fmt: skip
    return [Source(name, "spark", sha256=_digest(frame(session, [name]), session)) for name in far]


def frame(session: Any, names: list[str]) -> Any:
    """A DataFrame of locations of one kind: Parquet unless their suffix says .csv, .jsonl, .ndjson or .json."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    tables = [name.removeprefix(TABLE) for name in names if name.startswith(TABLE)]
    kinds = {next((k for end, k in FORMATS.items() if n.endswith((end, f"{end}.gz"))), "parquet") for n in names}
    if (tables and len(names) > 1) or len(kinds) > 1:
        raise ConfigError("give one table, or locations of one format", field="sources")
    try:
        if tables:
            return session.table(tables[0])
        if kinds == {"csv"}:
            return session.read.csv(names, header=True, inferSchema=True)
        if kinds == {"jsonl"}:
            return session.read.json(names)
        return session.read.option("mergeSchema", len(names) > 1).parquet(*names)
    except (PySparkException, Py4JError) as error:
        raise DataError(
            f"{names[0]} cannot be read by Spark: {first_line(error)}",
            hint="Check the location; further file systems and catalogs are set in SPARK_CONF_DIR/spark-defaults.conf.",
        ) from error


def _digest(rows: Any, session: Any) -> str:
    """Names what stands there now. A relation without files has no name that would tell whether it changed."""
    digest, files = hashlib.sha256(), sorted(rows.inputFiles())
    for name in files:
        status = _system(session, name)[0].getFileStatus(_path(session, name))
        digest.update(f"{name}\0{status.getLen()}\0{status.getModificationTime()}\n".encode())
    if not files:
        digest.update(uuid.uuid4().bytes)
    return digest.hexdigest()


def _path(session: Any, location: str) -> Any:
    return session._jvm.org.apache.hadoop.fs.Path(location)


def _system(session: Any, location: str) -> tuple[Any, Any]:
    """(Hadoop's file system of a location, the location as its path)."""
    path = _path(session, location)
    system = path.getFileSystem(session._jsc.hadoopConfiguration())
    system.setWriteChecksum(False)
    return system, path


# ------------------------------------------------------------------------------------------------------------- results


def check_place(session: Any, to: str, wanted: Manifest, *, replace: bool) -> None:
    """Raises: StoreError where something else is there: only what we made from the same inputs is written over."""
    recipe = _table_recipe(session, to) if to.startswith(TABLE) else _folder_recipe(session, to)
    if recipe is None or recipe == wanted.recipe or (replace and recipe):
        return
    raise StoreError(
        f"{to} already holds {'another artifact' if recipe else 'something else'}",
        "Only what this command wrote before, from the same inputs, is written over.",
        "Give another location, or delete this one first.",
        field="to",
    )


def _folder_recipe(session: Any, to: str) -> str | None:
    """The recipe of the artifact there; "" of something that is none; None where nothing is."""
    from py4j.protocol import Py4JError

    try:
        system, path = _system(session, to)
        if not system.exists(path) or not list(system.listStatus(path)):
            return None
        manifest = _path(session, f"{to.rstrip('/')}/{MANIFEST}")
        if not system.exists(manifest):
            return ""
        stream = system.open(manifest)
        try:
            body = bytes(stream.readAllBytes())
        finally:
            stream.close()
        return msgspec.json.decode(body, type=Manifest).recipe
    except msgspec.MsgspecError:
        return ""
    except Py4JError as error:
        raise _unreachable(to, error) from error


def _table_recipe(session: Any, to: str) -> str | None:
    name = to.removeprefix(TABLE)
    if not session.catalog.tableExists(name):
        return None
    found = {row[0]: row[1] for row in session.sql(f"SHOW TBLPROPERTIES {name}").collect()}
    return found.get(MARK, "")


def publish(session: Any, folder: Path, to: str, made: Manifest) -> None:
    """Put an artifact's folder at a location: whole or not at all. Of a table only the rows, from its Parquet file."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        if to.startswith(TABLE):
            _publish_table(session, folder, to.removeprefix(TABLE), made)
        else:
            _publish_folder(session, folder, to.rstrip("/"))
    except (Py4JError, PySparkException) as error:
        raise _unreachable(to, error) from error


def _publish_folder(session: Any, folder: Path, to: str) -> None:
    system, path = _system(session, to)
    head, _, last = to.rpartition("/")
    partial = _path(session, f"{head}/.{last}.{uuid.uuid4().hex[:8]}.partial")
    try:
        system.mkdirs(partial)
        for file in sorted(p for p in folder.iterdir() if p.is_file()):
            system.copyFromLocalFile(False, True, _path(session, f"file://{file.resolve()}"), partial)
        if system.exists(path):
            system.delete(path, True)
        if not system.rename(partial, path):
            raise StoreError(f"{to} could not be put in place", hint="Another process may have written it.")
    finally:
        with suppress(Exception):
            system.delete(partial, True)


def _publish_table(session: Any, folder: Path, name: str, made: Manifest) -> None:
    (file,) = (p for p in folder.glob("*.parquet") if p.name in (STEPS, "transitions.parquet"))
    with staged(session, [file]) as (source,):
        session.read.parquet(source).write.mode("overwrite").saveAsTable(name)
    session.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('{MARK}' = '{made.recipe}')")


def _unreachable(to: str, error: Exception) -> StoreError:
    return StoreError(
        f"{to} cannot be written: {first_line(error)}",
        hint="Check the location; further file systems and catalogs are set in SPARK_CONF_DIR/spark-defaults.conf.",
        field="to",
    )
