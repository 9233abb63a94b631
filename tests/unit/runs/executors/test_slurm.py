"""Slurm: what sbatch is given, what is refused before it is asked, being queued again; with Debian's own daemons."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from understudy.cli import main
from understudy.core.errors import ConfigError, ExecutorError
from understudy.core.jobs import ALIVE, Job, JobState, Resources
from understudy.runs.executors.array import Array
from understudy.runs.executors.slurm import Slurm
from understudy.runs.executors.slurm_limits import _gpus, minutes
from understudy.runs.executors.slurm_script import asked_for, script

SMALL = Resources(memory_mb=100, minutes=3)


def shell(text: str) -> Job:
    return Job(("sh", "-c", text), SMALL)


def test_the_script_says_all_that_was_asked_for() -> None:
    """Ten jobs, two at a time and three times over: two elements of two cores, thrice as long and some."""
    cluster = Slurm(Path("/s/jobs"), account="def-lab", partition="gpu", modules=("gcc/12", "python"),
                    environment="/shared/env", cores=2, sequential=3, at_once=1, mail="a@b.org",
                    options=("--qos=high",))  # fmt: skip
    asked = asked_for([Resources(cpus=2, memory_mb=3000, gpus=1, minutes=30)] * 10, 2, 3)
    assert script(cluster, "abc-1", Path("/s 100%/jobs/abc-1"), asked) == (
        "#!/bin/bash\n"
        "#SBATCH --job-name=abc-1\n"
        "#SBATCH --array=0-1%1\n"
        '#SBATCH --output="/s 100%%/jobs/abc-1/%a.out"\n'
        "#SBATCH --open-mode=append\n"
        "#SBATCH --requeue\n"
        "#SBATCH --signal=B:USR1@60\n"
        "#SBATCH --nodes=1\n"
        "#SBATCH --ntasks=1\n"
        "#SBATCH --cpus-per-task=4\n"
        "#SBATCH --mem=6000M\n"
        "#SBATCH --time=92\n"
        "#SBATCH --gres=gpu:2\n"
        "#SBATCH --account=def-lab\n"
        "#SBATCH --partition=gpu\n"
        "#SBATCH --mail-user=a@b.org\n"
        "#SBATCH --mail-type=END,FAIL\n"
        "#SBATCH --qos=high\n"
        "set -e\n"
        "command -v module > /dev/null || source /etc/profile\n"
        "module load gcc/12 python\n"
        "source /shared/env/bin/activate\n"
        "exec /shared/env/bin/python -m understudy.runs.executors.element '/s 100%/jobs' abc-1\n"
    )


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"account": "a; rm -rf /"}, "account"),
        ({"partition": "a b"}, "partition"),
        ({"modules": ("$(id)",)}, "modules"),
        ({"options": ("--qos=high --account=x",)}, "options"),
        ({"options": ("qos=high",)}, "options"),
        ({"options": ("--time=10",)}, "options"),
        ({"environment": "env"}, "environment"),
        ({"environment": '/a"b'}, "environment"),
        ({"cores": 0}, "cores"),
        ({"sequential": 0}, "sequential"),
    ],
)
def test_settings_that_would_not_be_one_line_are_refused(settings: dict[str, Any], field: str) -> None:
    """Nothing of a cluster file is read by a shell, and nothing is said twice."""
    with pytest.raises(ConfigError) as caught:
        Slurm(Path("/s/jobs"), **settings)
    assert caught.value.field == field


def test_what_scontrol_says_is_understood() -> None:
    """Times with and without days, accelerators of several kinds."""
    assert [minutes(t) for t in ("7-00:00:00", "2:30:00", "30:00", "UNLIMITED")] == [10080, 150, 30, None]
    assert [_gpus(t) for t in ("gpu:a100:4(S:0-1)", "gpu:2,shard:8", "gpu:v100:1,gpu:t4:2", "(null)")] == [4, 2, 3, 0]


def test_without_sbatch_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The error says what is missing and what to do; no job is written down."""
    file = tmp_path / "e.yaml"
    file.write_text("{name: x, learner: uniform, env: bandit, log: {episodes: 20}, seeds: 1}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["sweep", str(file), "--to", str(tmp_path / "study"), "--at", "slurm"]) == 1
    said = capsys.readouterr().err
    assert "sbatch is not on PATH" in said and "login node" in said
    assert not list(tmp_path.glob("study/submissions/*")) and not list(tmp_path.glob("study/jobs/*/*"))


@pytest.mark.parametrize(
    ("settings", "asked", "field", "text"),
    [
        ({"cores": 64}, {"memory_mb": 10}, "cpus", "64 cpus"),
        ({}, {"memory_mb": 10**8}, "memory_mb", "100000000 memory_mb"),
        ({}, {"memory_mb": 10, "gpus": 1}, "gpus", "1 gpus"),
        ({}, {"memory_mb": 10, "minutes": 2000}, "minutes", "partition debug has 1440"),
        ({"partition": "short", "account": "lab", "sequential": 10}, {"memory_mb": 10, "minutes": 2}, "minutes", "22"),
        ({"partition": "short"}, {"memory_mb": 10, "minutes": 2}, "account", "for accounts lab"),
        ({"partition": "lang"}, {"memory_mb": 10}, "partition", "no partition 'lang'"),
        ({"environment": "/no/such"}, {"memory_mb": 10}, "environment", "no environment"),
        ({"options": ("--constraint=nothing",)}, {"memory_mb": 10}, "cluster", "Slurm would refuse"),
    ],
)
def test_more_than_the_partition_has_is_refused(
    settings: dict[str, Any], asked: dict[str, Any], field: str, text: str, tmp_path: Path, slurm: Path
) -> None:
    """Before anything is submitted, with the setting at fault and what there is."""
    jobs = [Job(("true",), Resources(**asked))] * 100
    with pytest.raises((ConfigError, ExecutorError), match=text) as caught:
        Slurm(tmp_path, **settings).check(jobs)
    assert caught.value.field == field
    assert not subprocess.run(["squeue", "-h"], capture_output=True).stdout


def test_an_array_of_too_many_elements_is_refused(tmp_path: Path, slurm: Path) -> None:
    """The cure is to do several jobs in one."""
    with pytest.raises(ConfigError, match="1001 elements are more than the 1000") as caught:
        Slurm(tmp_path).check([Job(("true",), SMALL)] * 1001)
    assert caught.value.field == "sequential"
    Slurm(tmp_path, sequential=2).check([Job(("true",), SMALL)] * 1001)


def test_a_refused_submission_is_said_and_starts_nothing(tmp_path: Path, slurm: Path) -> None:
    """Its jobs are then cancelled ones, to be sent again under another name."""
    executor = Slurm(tmp_path, partition="lang")
    with pytest.raises(ExecutorError, match="Slurm refused sbatch"):
        executor.submit("x-1", [shell("true")])
    assert executor.poll("x-1") == ("cancelled",)


def settled(executor: Slurm, name: str, patience: float = 60.0) -> tuple[JobState, ...]:
    end = time.monotonic() + patience
    while ALIVE & set(executor.poll(name)):
        assert time.monotonic() < end
        time.sleep(0.1)
    return executor.poll(name)


def printed(executor: Slurm, name: str, job: int, text: str, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while text not in executor.log(name, job):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_element_out_of_time_is_queued_again_and_goes_on(tmp_path: Path, slurm: Path) -> None:
    """USR1, as Slurm sends it before the end: what is done is kept, what ran begins again."""
    executor, flag = Slurm(tmp_path / "jobs", sequential=2, every=0.1), tmp_path / "flag"
    second = f"echo begun; test -e '{flag}' || {{ touch '{flag}'; exec sleep 300; }}"
    executor.submit("q-1", [shell("echo once"), shell(second)])
    printed(executor, "q-1", 1, "begun")
    job = executor._id("q-1")
    subprocess.run(["scancel", "--signal=USR1", "--batch", f"{job}_0"], check=True)
    out = tmp_path / "jobs" / "q-1" / "0.out"
    end = time.monotonic() + 60
    while "queued once more" not in out.read_text() or "RUNNING" in states(job) or "COMPLETING" in states(job):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert executor.poll("q-1") == ("done", "waiting")
    time.sleep(3)  # Slurm itself leaves two minutes between; a launch on a node that still cleans up is refused
    subprocess.run(["scontrol", "update", f"JobId={job}_0", "StartTime=now"], check=True)  # else minutes go by
    assert settled(executor, "q-1") == ("done", "done")
    assert executor.log("q-1", 0).split() == ["once"] and executor.log("q-1", 1).split() == ["begun", "begun"]


def states(job: str) -> str:
    return subprocess.run(["squeue", "-h", "-r", "-j", job, "-o", "%T"], capture_output=True, text=True).stdout


def test_an_element_that_gets_nowhere_is_not_queued_again(tmp_path: Path, slurm: Path) -> None:
    """A job that takes all its element's time has failed, so that nothing is queued for ever."""
    executor = Slurm(tmp_path / "jobs", every=0.1)
    executor.submit("n-1", [shell("echo begun; exec sleep 300")])
    printed(executor, "n-1", 0, "begun")
    subprocess.run(["scancel", "--signal=USR1", "--batch", f"{executor._id('n-1')}_0"], check=True)
    assert settled(executor, "n-1") == ("failed",)


def test_a_scheduler_that_does_not_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy controller refuses at times: squeue's second answer counts."""
    tool = tmp_path / "squeue"
    tool.write_text(
        f"#!/bin/sh\ntest -e {tmp_path}/asked && echo '0|RUNNING' && exit\ntouch {tmp_path}/asked; exit 1\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("understudy.runs.executors.slurm_ask.PAUSES", (0.0,))
    Array(tmp_path / "jobs" / "a-1").take([shell("true")], {"layout.json": '{"size":1,"cpus":1}', "slurm.json": "{}"})
    assert Slurm(tmp_path / "jobs").poll("a-1") == ("waiting",)


def test_questions_are_not_repeated_too_soon(tmp_path: Path, slurm: Path) -> None:
    """Within ``every`` seconds the last answer counts, and an array that has ended is not asked for at all."""
    executor = Slurm(tmp_path / "jobs", every=30.0)
    executor.submit("p-1", [shell("true")])
    assert ALIVE & set(executor.poll("p-1"))
    before = dict(executor._heard)
    end = time.monotonic() + 60
    while executor.poll("p-1") != ("done",):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert executor._heard == before


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """A wheel of these files: what pip installs is a zip with three small texts beside them."""
    import zipfile

    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "understudy":
        texts[f"{info}/entry_points.txt"] = "[console_scripts]\nunderstudy = understudy.cli:run\n"
    record = "".join(f"{each},,\n" for each in [*files, *texts, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, body in [*files.items(), *texts.items(), (f"{info}/RECORD", record)]:
            archive.writestr(each, body)
    return path


def test_an_environment_is_made_once_and_jobs_run_in_it(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """A real venv, this package as a wheel; its dependencies lie where they are, since nothing is fetched here."""
    import understudy

    source = Path(understudy.__file__).parent
    ours = {str(p.relative_to(source.parent)): p.read_bytes() for p in source.rglob("*") if p.suffix in (".py", ".j2")}
    beside = next(path for path in sys.path if path.endswith("site-packages"))
    wheels = [wheel(tmp_path, "understudy", understudy.__version__, ours),
              wheel(tmp_path, "beside", "1.0", {"beside.pth": beside.encode()})]  # fmt: skip
    modules = tmp_path / "modules.sh"
    modules.write_text(f'module() {{ echo "$@" >> {tmp_path}/loaded; }}\n')
    monkeypatch.setenv("BASH_ENV", str(modules))
    environment, file = tmp_path / "env", tmp_path / "cluster.yaml"
    fields = {"kind": "slurm", "environment": str(environment), "python": sys.executable, "modules": ["python/3.11"],
              "install": ["--no-index", "--no-deps", *map(str, wheels)], "every": 0.2}  # fmt: skip
    file.write_bytes(msgspec.yaml.encode(fields))
    experiment = tmp_path / "e.yaml"
    experiment.write_text("{name: x, learner: uniform, env: bandit, log: {episodes: 20}, seeds: 1,"
                          " resources: {memory_mb: 300, minutes: 3}}")  # fmt: skip
    sweep = ["sweep", str(experiment), "--to", str(tmp_path / "s"), "--at", "slurm", "--cluster", str(file)]
    assert main(sweep) == 2
    assert "understudy cluster setup" in capsys.readouterr().err
    assert main(["cluster", "setup", str(file), "--dry-run"]) == 0 and not environment.exists()
    assert main(["cluster", "setup", str(file)]) == 0
    assert "made" in capsys.readouterr().out and (environment / "bin" / "understudy").exists()
    before = {path: path.stat().st_mtime_ns for path in environment.rglob("*")}
    assert main(["cluster", "setup", str(file)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in environment.rglob("*")} == before
    assert main(sweep) == 0
    assert set((tmp_path / "loaded").read_text().splitlines()) == {"load python/3.11"}
    (script,) = (tmp_path / "s" / "jobs").glob("*/job.sh")
    assert f"exec {environment}/bin/python" in script.read_text()


def test_an_environment_takes_no_folder_of_others(tmp_path: Path) -> None:
    """What is no environment is left as it is; a failing step leaves no stamp, and says what failed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="something else"):
        Slurm(tmp_path, environment=str(tmp_path / "data")).setup()
    with pytest.raises(ConfigError, match="names no environment"):
        Slurm(tmp_path).setup()
    with pytest.raises(ExecutorError, match="no-such-python"):
        Slurm(tmp_path, environment=str(tmp_path / "env"), python="no-such-python").setup()
    assert not (tmp_path / "env").exists()
