"""The Dockerfile's RUN lines are executed, in a folder that stands for the image: there is no engine here.

What stands in for the rest: COPY copies, WORKDIR makes and enters, ENV is set, and the absolute folders of the image
lie below a temporary one. Dependencies that this environment has are not fetched again; the package itself is built
and installed as the line says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("/opt/understudy", "/src", "/work")


def instructions() -> list[tuple[str, str]]:
    """(instruction, its text) in order; continued lines are one."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    told = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]
    return [(name, text) for name, text in told]


@dataclass
class Image:
    """A folder in the place of an image's root."""

    root: Path
    place: Path = Path()
    given: dict[str, str] = field(default_factory=dict)

    def inside(self, text: str) -> str:
        """The folders of the image, below ours."""
        for folder in OURS:
            text = re.sub(rf"(?<![\w/]){folder}(?![\w-])", str(self.root) + folder, text)
        return text

    def run(self, line: str | list[str]) -> subprocess.CompletedProcess[str]:
        site = sysconfig.get_path("purelib")
        here = {"PATH": os.environ["PATH"], "PYTHONPATH": site, "HOME": str(self.root)}
        here |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        return subprocess.run(
            ["sh", "-ec", self.inside(line)] if isinstance(line, str) else line,
            cwd=self.place, env=here | self.given, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def copy(self, text: str) -> None:
        *sources, to = text.split()
        for source in sources:
            assert (ROOT / source).exists(), f"COPY {source}: there is none"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, self.place / to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, self.place / to)

    def set(self, text: str) -> None:
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            before = self.given.get(name, os.environ.get(name, ""))
            self.given[name] = self.inside(value).replace(f"${name}", before)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Image:
    """The image, made line by line."""
    made, python = Image(tmp_path_factory.mktemp("image")), Path(sys.executable).parent
    made.given["PATH"] = f"{python}:{os.environ['PATH']}"
    for name, text in instructions():
        if name == "WORKDIR":
            made.place = Path(made.inside(text))
            made.place.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            made.copy(text)
        elif name == "ENV":
            made.set(text)
        elif name == "RUN":
            done = made.run(text)
            assert done.returncode == 0, f"RUN {text}\n{done.stdout}\n{done.stderr}"
    return made


def test_every_instruction_is_one_that_this_test_knows() -> None:
    """Nothing passes unexecuted but what only an engine can do."""
    names = [name for name, _ in instructions()]
    assert set(names) <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "CMD"}
    assert names[0] == "FROM" and "USER" in names and names.count("RUN") >= 3
    floor = re.search(r'requires-python = ">=(\d+\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert floor and f"python:{floor[1]}" in instructions()[0][1]


def test_the_package_of_the_image_is_the_one_copied_into_it(image: Image) -> None:
    """It is installed, not linked to a folder that is gone; with the templates and pages that are no code."""
    told = image.run('python -c "import understudy; print(understudy.__file__)"')
    module = Path(told.stdout.strip())
    assert module.is_relative_to(image.root / "opt/understudy"), told.stderr
    assert (module.parent / "runs/executors/aws/job-queue.json").exists()
    assert list((module.parent / "report").rglob("*.j2"))


def test_the_image_does_a_run(image: Image) -> None:
    """CMD, and then what a job of AWS Batch is told to do, in the image's own folder."""
    (command,) = [json.loads(text) for name, text in instructions() if name == "CMD"]
    assert "sweep" in image.run(command).stdout
    experiment = "name: one\nenv: bandit\nlog: {episodes: 50}\nlearner: direct\nsettings: {model: ridge}\nseeds: 1\n"
    (image.place / "exp.yaml").write_text(experiment)
    done = image.run("understudy run exp.yaml --to study")
    assert done.returncode == 0 and "1 done" in done.stdout, done.stderr
    assert image.given["OMP_NUM_THREADS"] == "1"
