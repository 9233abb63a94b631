"""Files between this machine and Spark: the same disk under a local master, else Hadoop's default file system."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def shares_disk(session: Any) -> bool:
    """Whether what runs the tasks sees this machine's disk."""
    return session.sparkContext.master.startswith("local")


def local_uri(path: Path) -> str:
    """A file of this machine as a location in which nothing is taken for a pattern."""
    return "file://" + re.sub(r"([\\{}\[\]*?])", r"\\\1", str(path.resolve()))


@contextmanager
def staged(session: Any, files: Sequence[Path]) -> Iterator[list[str]]:
    """Locations under which the tasks read files of this machine."""
    if shares_disk(session):
        yield [local_uri(file) for file in files]
        return
    with _shared(session) as (system, root):
        places = []
        for i, file in enumerate(files):
            places.append(f"{root}/{i:06d}-{file.name}")
            system.copyFromLocalFile(
                False, True, _path(session, f"file://{file.resolve()}"), _path(session, places[-1])
            )
        yield places


def write_parts(session: Any, rows: Any, folder: Path) -> list[Path]:
    """Write a DataFrame as Parquet files of ``folder``; in the order of their names they hold its order."""
    if shares_disk(session):
        rows.write.parquet(f"file://{folder.resolve()}", compression="snappy")
    else:
        with _shared(session) as (system, root):
            rows.write.parquet(f"{root}/parts", compression="snappy")
            system.copyToLocalFile(False, _path(session, f"{root}/parts"), _path(session, f"file://{folder.resolve()}"))
    return sorted(folder.glob("part-*.parquet"))


@contextmanager
def _shared(session: Any) -> Iterator[tuple[Any, str]]:
    """(the default file system, a new folder in it that lives as long as the block)."""
    system = session._jvm.org.apache.hadoop.fs.FileSystem.get(session._jsc.hadoopConfiguration())
    root = f"{system.getHomeDirectory().toString()}/.understudy-{uuid.uuid4().hex}"
    try:
        yield system, root
    finally:
        system.delete(_path(session, root), True)


def _path(session: Any, location: str) -> Any:
    return session._jvm.org.apache.hadoop.fs.Path(location)
