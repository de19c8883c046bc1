"""A Slurm cluster of two nodes on this machine, for as long as a test needs it.

munged, slurmctld and two slurmd, all on loopback, with everything they write in one folder. No
accounting and no cgroups, as on the smallest cluster there is, so that nothing but the queue can be
asked.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

NODES = ("127.0.0.1", "127.0.0.2")  # JAX takes the first for an address
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")

CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmctldParameters=idle_on_node_suspend
CommunicationParameters=NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=10
KillWait=15
MinJobAge=30
ReturnToService=2
SlurmdParameters=config_overrides
{nodes}
PartitionName=work Nodes=ALL Default=YES PriorityTier=1 PreemptMode=CANCEL GraceTime=60
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why there can be no cluster here; None where there can."""
    absent = [name for name in NEEDED if _program(name) is None]
    if absent:
        return f"{absent[0]} is not installed (Debian: slurmctld slurmd slurm-client munge)"
    return None if os.geteuid() == 0 else "only root can start slurmd"


class SlurmCluster:
    """Use as a context; `environment` is what finds it."""

    def __init__(self, folder: Path):
        """
        Args:
          folder: new and empty; root's own, with a short path.
        """
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> SlurmCluster:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        for name in ("munge", "state", *NODES):
            (folder / name).mkdir(mode=0o700)
        (folder / "munge" / "key").write_bytes(secrets.token_bytes(128))
        (folder / "munge" / "key").chmod(0o600)
        controller, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} "
            "CPUs=1 RealMemory=2000"
            for name, port in zip(NODES, ports, strict=True)
        )
        text = CONFIGURATION.format(folder=folder, controller=controller, nodes=nodes)
        (folder / "slurm.conf").write_text(text)
        munge = folder / "munge"
        named = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        options = [f"--{option}={munge / name}" for option, name in named.items()]
        self._run("munged", "--force", f"--seed-file={munge / 'seed'}", *options)
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self.until(lambda: self.said("sinfo", "-h", "-o", "%t").split() == ["idle"])

    def __exit__(self, *_: object) -> None:
        for name in NODES:
            self.kill_node(name)
        self._end("slurmctld.pid", signal.SIGKILL)
        self._end("munge/pid", signal.SIGTERM)

    def start_controller(self) -> None:
        self._run("slurmctld", "-f", str(self.folder / "slurm.conf"))

    def stop_controller(self) -> None:
        """As an administrator restarts it: the queue is kept on disk."""
        self._end("slurmctld.pid", signal.SIGTERM)

    def start_node(self, name: str) -> None:
        self._run("slurmd", "-f", str(self.folder / "slurm.conf"), "-N", name)

    def kill_node(self, name: str) -> None:
        """As a machine that loses its power: slurmd and all that it has started."""
        for each in _of_node(self.folder, name):
            for process in (each, *_descendants(each)):
                _kill(process)

    def said(self, *command: str) -> str:
        """What one of Slurm's commands prints; "" where it cannot."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def until(self, happened, seconds: float = 60.0) -> None:
        """Wait for what must happen."""
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        """The last that each daemon has written."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))]
        return "\n".join([self.said("squeue", "-t", "all"), *(text[-1500:] for text in texts)])

    def _run(self, program: str, *arguments: str) -> None:
        path = _program(program)
        assert path is not None
        subprocess.run(
            [path, *arguments],
            env=self.environment,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _pid(self, name: str) -> int | None:
        try:
            return int((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    def _end(self, name: str, number: signal.Signals) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        _kill(pid, number)
        end = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.05)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    """Below those that outgoing connections take."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _of_node(folder: Path, name: str) -> list[int]:
    """slurmd of a node and its slurmstepd, which outlive it: all that have its log open."""
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/3"):
        try:
            if os.readlink(path) == str(folder / f"{name}.log"):
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found


def _descendants(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(word) for task in tasks for word in task.read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *_descendants(child))]


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
