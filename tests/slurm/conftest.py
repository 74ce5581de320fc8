"""A real SLURM of one node: munged, slurmctld and slurmd of this machine, in a folder of the test's own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel", "squeue", "srun")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """What a test asks of the cluster.

    Attributes:
        environment: in which its commands find it.
    """

    environment: dict[str, str]

    def command(self, *words: str, cwd: Path | None = None) -> str:
        """Run one of SLURM's commands and return what it prints."""
        done = subprocess.run(words, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def states(self, job: str) -> dict[str, str]:
        """Return the state of every task of an array that SLURM still knows, as {"1": "RUNNING"}."""
        lines = self.command("squeue", "--noheader", "--array", "--states=all", "--format=%K %T", "--jobs", job)
        return dict(line.split() for line in lines.splitlines())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start the three daemons; skip with the reason where they are not installed or cannot run."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: on Debian, apt-get install slurmctld slurmd slurm-client munge")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # short: a socket's path may have 107 characters
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    text = CONF.format(folder=folder, host=host, user=user, control=free_port(), node=free_port())
    (folder / "slurm.conf").write_text(text)
    environment = os.environ | {"PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    daemons = [subprocess.Popen(command, env=environment) for command in commands_of(folder, host)]
    found = Cluster(environment)
    try:
        wait_for_node(found, folder, daemons)
        yield found
    finally:
        subprocess.run(["scancel", "--user", user], env=environment, capture_output=True, timeout=60, check=False)
        for daemon in reversed(daemons):
            end(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:  # slurmd waits for its steps
        daemon.kill()
        daemon.wait(10)


def commands_of(folder: Path, host: str) -> list[list[str]]:
    """Return the daemons' command lines; each stays in the foreground, so that the test ends it."""
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key"]
    munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
    quiet = ["bash", "-c", 'exec "$@" >/dev/null 2>&1', "-"]
    return [[*quiet, *munge], [*quiet, "slurmctld", "-D"], [*quiet, "slurmd", "-D", "-N", host]]


def wait_for_node(found: Cluster, folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    for _ in range(120):
        if any(daemon.poll() is not None for daemon in daemons):
            break
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=found.environment, capture_output=True, text=True)
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = [path.read_text(errors="replace")[-500:] for path in folder.glob("*.log")]
    pytest.skip(f"SLURM is installed but does not start here: {' | '.join(logs)}")
