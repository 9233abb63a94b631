"""What a partition has, compared with what a job asks for: said before anything is submitted."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.errors import ConfigError, ExecutorError
from understudy.runs.executors.slurm_ask import PATIENCE, asked_again
from understudy.runs.executors.slurm_script import Asked

STAMP = "understudy.json"  # in an environment that cluster setup has made: of what
_PAIR = re.compile(r"(\S+?)=(\S*)")


def check_limits(cluster: Any, asked: Asked, script: str) -> None:
    """Raises: ConfigError naming the setting that asks for more than there is; ExecutorError in Slurm's own words."""
    _environment(cluster.environment)
    partition = _partition(cluster.partition)
    name = partition["PartitionName"]
    if partition.get("State") != "UP":
        raise ExecutorError(f"partition {name} is {partition.get('State')}", hint="Choose another.", field="partition")
    _account(cluster.account, partition)
    longest = minutes(partition.get("MaxTime", "UNLIMITED"))
    if longest is not None and asked.minutes > longest:
        raise _beyond("minutes", asked.minutes, longest, name, "sequential times the minutes of a job, and 2 more")
    nodes = [node for node in _records("node") if name in node.get("Partitions", "").split(",")]
    for field, want, key in (("cpus", asked.cpus, "CPUTot"), ("memory_mb", asked.memory_mb, "RealMemory")):
        most = max((int(node[key]) for node in nodes), default=0)
        if want > most:
            raise _beyond(field, want, most, name, "cores jobs side by side")
    most = max((_gpus(node.get("Gres", "")) for node in nodes), default=0)
    if asked.gpus > most:
        raise _beyond("gpus", asked.gpus, most, name, "cores jobs side by side")
    _elements(asked.elements)
    _rehearse(script)


def minutes(text: str) -> int | None:
    """Slurm's ``[days-]hours:minutes:seconds`` in whole minutes; None without a limit.

    >>> minutes("1-00:00:00"), minutes("00:10:00"), minutes("30:00"), minutes("UNLIMITED")
    (1440, 10, 30, None)
    """
    if not text[:1].isdigit():
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, mins, _ = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + mins


def _partition(name: str) -> Mapping[str, str]:
    """The one of that name, or the one Slurm would choose."""
    found = _records("partition")
    chosen = [each for each in found if (each["PartitionName"] == name if name else each.get("Default") == "YES")]
    if not chosen:
        names = ", ".join(each["PartitionName"] for each in found)
        what = f"there is no partition {name!r}" if name else "Slurm has no default partition"
        raise ConfigError(what, hint=f"There are: {names}. Say which in the cluster file.", field="partition")
    return chosen[0]


def _account(account: str, partition: Mapping[str, str]) -> None:
    allowed = partition.get("AllowAccounts", "ALL")
    if allowed != "ALL" and account not in allowed.split(","):
        raise ConfigError(
            f"partition {partition['PartitionName']} is for accounts {allowed}; account: is {account!r}",
            "Its jobs would wait for ever.", "Set account: in the cluster file.", field="account",
        )  # fmt: skip


def _elements(n: int) -> None:
    told = dict(re.findall(r"(\w+)\s*=\s*(\S+)", asked_again(["scontrol", "show", "config"])))
    most = int(told.get("MaxArraySize", "1001")) - 1  # the size counts from 0
    if n > most:
        raise ConfigError(
            f"{n} elements are more than the {most} that an array may have here",
            "Slurm would refuse it.", "Raise sequential or cores in the cluster file, or group in the experiment.",
            field="sequential",
        )  # fmt: skip


def _environment(place: str) -> None:
    if not place:
        return
    stamp = Path(place) / STAMP
    if not stamp.exists():
        raise ConfigError(
            f"there is no environment at {place}", "Jobs could not start.", "understudy cluster setup FILE makes it.",
            field="environment",
        )  # fmt: skip
    version = msgspec.json.decode(stamp.read_bytes()).get("version")
    if version != __version__:
        raise ConfigError(
            f"the environment at {place} holds understudy {version}, and this is {__version__}",
            "Runs of one study are made by one version.", "understudy cluster setup FILE brings it up to date.",
            field="environment",
        )  # fmt: skip


def _rehearse(script: str) -> None:
    """Ask Slurm itself, which knows rules that no partition tells of; it submits nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        line = ["sbatch", "--test-only", file.name]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = " ".join(text.strip() for text in done.stderr.splitlines() if text.strip())
        raise ExecutorError(f"Slurm would refuse this: {said}", hint="Look at the cluster file.", field="cluster")


def _beyond(field: str, want: int, most: int, partition: str, sum_of: str) -> ConfigError:
    return ConfigError(
        f"an element of the array asks for {want} {field} ({sum_of}), and partition {partition} has {most}",
        "It would never start.", "Ask for less under resources:, or change the cluster file.", field=field,
    )  # fmt: skip


def _records(kind: str) -> list[dict[str, str]]:
    text = asked_again(["scontrol", "show", kind, "--oneliner"])
    return [dict(_PAIR.findall(line)) for line in text.splitlines() if "=" in line]


def _gpus(gres: str) -> int:
    """``gpu:a100:4(S:0-1),shard:2`` → 4."""
    counts: Iterable[str] = re.findall(r"gpu(?::[^:,()]+)*:(\d+)", gres)
    return sum(map(int, counts))
