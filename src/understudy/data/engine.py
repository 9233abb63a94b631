"""What runs the texts of timeline and join: DuckDB in this process, or Spark. Texts are in DuckDB's words."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from understudy.core.errors import ConfigError
from understudy.core.manifest import Manifest
from understudy.core.problem import Problem
from understudy.core.registry import unknown
from understudy.data.artifact import Fill, write_artifact
from understudy.data.log import copy_to, database, exactly, scratch
from understudy.data.sources import Source, resolve

if TYPE_CHECKING:
    from understudy.data.timeline.source import Look
    from understudy.data.timeline.table import Table

ENGINES = ("duckdb", "spark")
MASTER = "local[2]"
PARQUET = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
SPILL = "spill"


class Engine(Protocol):
    """One engine at work for one artifact.

    ``local`` is a DuckDB connection for questions about files that were written: an engine's results end up in files
    of this machine, whose rows, names and types do not depend on the engine.
    """

    name: str
    orderly: bool  # whether rows mostly come as they lie in a file, unsorted
    local: Any

    def execute(self, query: str) -> Any:
        """Run a query that gives few rows; ``fetchall()`` and the like as DuckDB has them."""
        ...

    def keep(self, name: str, query: str) -> None:
        """Hold the rows of a query as relation ``name`` for later queries."""
        ...

    def fetch(self, name: str, query: str) -> None:
        """Bring the rows of a query into ``local`` as table ``name``."""
        ...

    def copy(self, query: str, path: Path) -> int:
        """Write the rows of a query to a Parquet file, in their order. Returns how many there are."""
        ...

    def numbered(self, path: Path) -> str:
        """A relation of a Parquet file's rows with their place in it, ``file_row_number``."""
        ...

    def written(self, path: Path) -> str:
        """A relation of the rows of a Parquet file that was made."""
        ...

    def said(self, query: str) -> str:
        """The text in the engine's words, as it runs."""
        ...

    def table(self, sources: list[Source], problem: Problem | None, columns: Mapping[str, str]) -> Table:
        """Open a decision table as relation ``decisions``."""
        ...

    def look(self, table: Table) -> Look:
        """Count its rows."""
        ...

    def close(self) -> None:
        """Give back what was held."""
        ...


class DuckDB:
    """The engine in this process."""

    name, orderly = "duckdb", True

    def __init__(self, local: Any) -> None:
        self.local = local

    def execute(self, query: str) -> Any:
        """See Engine."""
        return self.local.execute(query)

    def keep(self, name: str, query: str) -> None:
        """See Engine."""
        self.local.execute(f"CREATE TEMP TABLE {name} AS {query}").fetchall()

    fetch = keep

    def copy(self, query: str, path: Path) -> int:
        """See Engine."""
        return copy_to(self.local, query, path, PARQUET)

    def numbered(self, path: Path) -> str:
        """See Engine."""
        return f"read_parquet('{exactly(path)}', file_row_number = true)"

    def written(self, path: Path) -> str:
        """See Engine."""
        return f"read_parquet('{exactly(path)}')"

    def said(self, query: str) -> str:
        """See Engine."""
        return query

    def table(self, sources: list[Source], problem: Problem | None, columns: Mapping[str, str]) -> Table:
        """See Engine."""
        from understudy.data.timeline.source import open_table

        return open_table(self.local, sources, problem, columns)

    def look(self, table: Table) -> Look:
        """See Engine."""
        from understudy.data.timeline.source import look

        return look(self.local, table)

    def close(self) -> None:
        """See Engine."""
        self.local.close()


@contextmanager
def opened(name: str, master: str, folder: Path, connect: Callable[[Path], Any] = database) -> Iterator[Engine]:
    """The engine of that name, working in ``folder``; what it spilled there is removed at the end."""
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / SPILL, ignore_errors=True)
        if name == "duckdb":
            engine: Engine = DuckDB(connect(folder))
        else:
            from understudy.data.spark.engine import Spark
            from understudy.data.spark.session import running

            engine = Spark(connect(folder), folder / SPILL / "spark", stack.enter_context(running(master)))
        stack.callback(engine.close)
        yield engine


@contextmanager
def reaching(name: str, master: str, *places: Any) -> Iterator[None]:
    """One session for everything in the block where a place is Spark's; otherwise nothing is started.

    Raises:
        ConfigError: there is no such engine, or a place is given that it does not reach.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    items = [item for place in places for item in (place if isinstance(place, (list, tuple)) else [place])]
    far = [item for item in items if distant(item)]
    if not far:
        yield
        return
    if name != "spark":
        raise ConfigError(
            f"{far[0]} is a location that engine {name} does not reach",
            hint="Add: --engine spark; or copy it to this machine's disk.",
            field="engine",
        )
    from understudy.data.spark.session import running

    with running(master):
        yield


def located(what: Any, master: str) -> list[Source]:
    """The sources behind what the caller gave, wherever they lie."""
    if not any(map(distant, what if isinstance(what, (list, tuple)) else [what])):
        return resolve(what)
    from understudy.data.spark.places import locate
    from understudy.data.spark.session import running

    with running(master) as session:
        return locate(what, session)


def write(
    to: str | Path | None, name: str, manifest: Manifest, fill: Fill, *, master: str, replace: bool
) -> tuple[Path, Manifest]:
    """As ``write_artifact``; None makes a folder that lives as long as the process, and so does a distant place.

    Returns: the folder on this machine, and the manifest.
    """
    if not distant(to):
        folder = scratch(name) if to is None else Path(to)
        return folder, write_artifact(folder, manifest, fill, replace=replace)
    from understudy.data.spark.places import check_place, publish
    from understudy.data.spark.session import running

    folder = scratch(name)
    with running(master) as session:
        check_place(session, str(to), manifest, replace=replace)
        made = write_artifact(folder, manifest, fill)
        publish(session, folder, str(to), made)
    return folder, made


def distant(what: Any) -> bool:
    """Whether this is a location for Spark: ``scheme://…``, or ``table:NAME`` of its catalog."""
    if not isinstance(what, str):
        return False
    scheme, colon, rest = what.partition(":")
    return bool(colon) and (scheme == "table" or (rest.startswith("//") and scheme.isascii() and len(scheme) > 1))
