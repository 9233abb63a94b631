"""A real Spark for tests: pyspark on a Java of Debian's, installed where there is none. Skips, visibly, without it."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec

import pytest

JAVA = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless")
# One compiler, one collector: starting matters here, not running for hours.
QUICK = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


def need_java() -> None:
    """Java is there after this, from Debian's packages where it was not.

    Raises: pytest.skip where pyspark is not installed, or Java cannot be.
    """
    if find_spec("pyspark") is None:
        pytest.skip('pyspark is not installed (pip install "understudy[spark]")')
    if shutil.which("java") or os.environ.get("JAVA_HOME"):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip(f"Java is not installed (Debian: apt-get install --no-install-recommends {JAVA[0]})")
    said = [subprocess.run(["apt-get", "update"], capture_output=True, text=True)]
    for package in JAVA:
        install = ["apt-get", "install", "-y", "--no-install-recommends", package]
        said.append(subprocess.run(install, capture_output=True, text=True, env=os.environ | _SILENT))
        if said[-1].returncode == 0 and shutil.which("java"):
            return
    pytest.skip(f"Java is not installed and could not be: {said[-1].stderr.strip()[-300:]}")


_SILENT = {"DEBIAN_FRONTEND": "noninteractive"}
