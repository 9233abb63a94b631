"""A Spark session that leaves nothing behind: no catalog, warehouse or log in the working directory, no open port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from understudy.core.errors import ConfigError, ExecutorError
from understudy.data.engine import MASTER

NEEDED_JAVA = 17
_WAIT = 30  # seconds for the JVM to end

# What the text relies on, set in every session of ours, also in one that shares a caller's context.
_MEANING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
}


@contextmanager
def running(master: str = MASTER) -> Iterator[Any]:
    """A ``SparkSession`` of our own: on the context that this process has, else on one that ends with the block.

    Where ``SPARK_CONF_DIR`` is set, its spark-defaults.conf names catalog and warehouse; else both are thrown away.

    Raises:
        ConfigError: pyspark or Java is missing. ExecutorError: Spark does not start under this master.
    """
    context = _pyspark()
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        if context._active_spark_context is None:
            stack.enter_context(_context(master))
        from pyspark.sql import SparkSession

        session = SparkSession.builder.getOrCreate().newSession()
        for name, value in _MEANING.items():
            session.conf.set(name, value)
        yield session


def _pyspark() -> Any:
    try:
        with warnings.catch_warnings():  # its advice on versions of pandas, which we do not use with it
            warnings.simplefilter("ignore", FutureWarning)
            from pyspark import SparkContext

            with suppress(ImportError):  # a DataFrame imports it sooner or later
                import pyspark.testing.utils  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "engine spark needs the package 'pyspark', which is not installed",
            hint='pip install "understudy[spark]"; and Java 17 or newer.',
            field="engine",
        ) from error
    return SparkContext


@contextmanager
def _quiet() -> Iterator[None]:
    """What Spark has to say of a query reaches the caller as an error, and not as lines on standard error besides."""
    from pyspark.logger import PySparkLogger

    logger = PySparkLogger.getLogger("SQLQueryContextLogger")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _context(master: str) -> Iterator[None]:
    """A running context, in a Java process of its own whose words go to a file; both end with the block."""
    _check_java()
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    root = Path(tempfile.mkdtemp(prefix="understudy-spark-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        said = stack.enter_context((root / "said.txt").open("wb"))
        conf = SparkConf(loadDefaults=False).setAll(list(settings(master, root).items()))
        try:
            gateway = launch_gateway(conf, {"stdout": said, "stderr": said, "cwd": root})
            stack.callback(_end, gateway)
            context = SparkContext(conf=conf, gateway=gateway)
        except Exception as error:  # what pyspark raises here has no common base
            raise ExecutorError(
                f"Spark does not start with master {master!r}: {_reason(error, root / 'said.txt')}",
                hint="Check --master and Java; local[2] runs in this machine.", field="master",
            ) from error  # fmt: skip
        stack.callback(context.stop)
        yield


def settings(master: str, root: Path) -> dict[str, str]:
    """The configuration of a context of ours. ``root``: a folder for everything it writes beside its results."""
    own = {
        "spark.master": master, "spark.app.name": "understudy", "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false", "spark.local.dir": str(root), "spark.log.level": "ERROR",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={root} -Dderby.system.home={root} -XX:-UsePerfData",
    }  # fmt: skip
    if master.startswith("local"):
        own |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
                "spark.sql.shuffle.partitions": "8"}  # fmt: skip
    if "SPARK_CONF_DIR" not in os.environ:
        own |= {"spark.sql.catalogImplementation": "in-memory", "spark.sql.warehouse.dir": str(root / "warehouse")}
    return own


def _end(gateway: Any) -> None:
    """End the Java process, and forget it, so that the next session starts another."""
    from pyspark import SparkContext

    gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    process = gateway.proc
    process.stdin.close()  # Java watches this pipe
    try:
        process.wait(_WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check_java() -> None:
    """Raises: ConfigError unless there is a Java that Spark runs on."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    cure = "Debian: apt-get install --no-install-recommends openjdk-17-jre-headless; or set JAVA_HOME."
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"engine spark needs Java {NEEDED_JAVA} or newer, and {program} does not run", hint=cure,
                          field="engine") from error  # fmt: skip
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < NEEDED_JAVA:
        version = found[1] if found else "of an unknown version"
        raise ConfigError(f"engine spark needs Java {NEEDED_JAVA} or newer; {program} is {version}", hint=cure,
                          field="engine")  # fmt: skip


def _reason(error: Exception, said: Path) -> str:
    """The line that tells most: the last one Java called an error, or the exception's first."""
    lines = [line for line in said.read_text(errors="replace").splitlines() if "rror" in line or "xception" in line]
    return lines[-1].strip() if lines else first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of a message; Java's go on for pages, and where it failed to translate them, they come last."""
    thrown = getattr(error, "java_exception", None)
    if thrown is not None:
        return thrown.toString().splitlines()[0]
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
