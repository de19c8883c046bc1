"""Trains a study's runs in jobs of Slurm: an array of them, each with a pool of workers on one
node, or with one training over several nodes.

submitit writes the job's script and hands it to sbatch. The command in it is our own, with the path
of a launch file, in place of submitit's pickled function, so that nothing is ever unpickled; the
script's last line does what submitit's signal handler would: it requeues a job that was told to
leave. Knows no JAX.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from fits.base.errors import UserError
from models.precision import Compute
from scaling.base.config import Clash, Config
from scaling.launch.dry_run import Places
from scaling.launch.launch import AtWork, Launch, check_batches, check_detached
from scaling.launch.launch_spec import HOURS, SECONDS, LaunchSpec
from scaling.launch.progress.display import Display
from scaling.launch.seats import Seat, Seats
from scaling.launch.slurm.queue import (
    SECONDS_BETWEEN_QUESTIONS,
    SlurmQueue,
    own_environment,
    slurm_said,
)
from scaling.runs.logs import logs_folder
from scaling.study.study import Study

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
MOST = 1000  # jobs at the same time; Slurm's arrays end at 1000 unless configured otherwise
SECONDS_BEFORE_LIMIT = 120  # at which a job is told to leave
SECONDS_TO_STOP = 20.0  # between telling jobs to leave and cancelling them
SLURM_TIME = re.compile(r"\d+|(\d+-)?\d+(:\d\d){1,2}|\d+-\d+")
REQUEUE = r"""status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}
preempted() { scontrol -o show job "$job" | grep -q 'JobState=RUNNING .*PreemptTime=[0-9]'; }
if [ $status = 140 ] || { [ $status = 143 ] && preempted; }; then scontrol requeue "$job"; fi
exit $status"""
"""After the command. 140: SIGUSR2, which comes before a time limit; 143: SIGTERM, which comes from
scancel too, where the job is to end."""


class Slurm(Config):
    """What is asked of Slurm for each job; what is left out, Slurm decides."""

    kind: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    """Quality of service."""
    time: str | None = None
    """The limit of a job's time: "4h", "30min" or Slurm's own "1-12:00:00"."""
    hosts: int = Field(1, gt=0)
    """Nodes of one job; on several, each run is trained by all of them."""
    gpus: int | None = Field(None, gt=0)
    """GPUs a node."""
    cpus: int | None = Field(None, gt=0)
    """Cores a node; without GPUs a worker has one, or `devices` of `[placement]`."""
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?B?$")
    """Of a node, such as "64G"."""
    constraint: str | None = None
    """Features that a node must have."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, without dashes: "reservation=big", "exclusive"."""
    requeue: bool = True
    """Whether a job that meets its time limit or is preempted goes back to the queue."""
    detach: bool = False
    """Whether the launch ends when the jobs are asked for, and leaves them to themselves."""
    workers: int | None = Field(None, gt=0)
    """Worker processes of a job; left out: as many as there are devices for."""
    runs_per_device: int = Field(1, gt=0)
    """Runs that are trained side by side on one GPU."""

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, text: str | None) -> str | None:
        if text is not None and not HOURS.fullmatch(text) and not SLURM_TIME.fullmatch(text):
            raise ValueError(f"'{text}' is no time; write 30min, 4h, 2d or Slurm's 1-12:00:00")
        return text

    def clashes(self) -> Iterator[Clash]:
        if self.hosts > 1 and (self.workers is not None or self.runs_per_device > 1):
            words = "several hosts are one training; leave out workers and runs_per_device."
            yield Clash(("hosts", "workers", "runs_per_device"), words)

    def computes_in(self) -> Compute | None:
        """As `scaling.launch.protocol.StartsWorkers` says: of GPUs, only the job sees which."""
        on_gpus = self.gpus or any("gpu" in option for option in self.sbatch)
        return None if on_gpus else "float32"

    def places(self, study: Study, spec: LaunchSpec) -> Places:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        _check_installed()
        self._check_devices(study)
        if self.detach:
            check_detached(spec)
        most = spec.max_parallel or MOST
        asked = {key: value for key, value in self.parameters(study).items() if value is not None}
        asked |= asked.pop("additional_parameters")
        for inner in ("srun_args", "setup", "teardown", "stderr_to_stdout"):
            asked.pop(inner, None)
        asked |= {
            "jobs at a time": f"{most} at most",
            "trunks a job": self.jobs_each(study),
            "command": shlex.join(self.command(study, Path("RUNS/launches/NAME.json"))),
        }
        return Places(where="Slurm, which decides on which nodes", asked=asked)

    def workers_of(self, launch: Launch, screen: Display) -> AtWork:
        """As `scaling.launch.protocol.StartsWorkers` says."""
        folder = (logs_folder(launch.runs) / f"slurm-{os.getuid()}").absolute()
        command = shlex.join(self.command(launch.study, launch.file.absolute()))
        devices = self.hosts * (self.gpus or self.cpus or 1)
        engine = SlurmEngine(folder, command, self.parameters(launch.study), devices)
        return Seats(
            launch.tally,
            engine,
            screen=screen,
            most=launch.spec.max_parallel or MOST,
            each=self.jobs_each(launch.study),
            budget=launch.spec.budget,
            stays=not self.detach,
            stopping=launch.stopping(),
        )

    def command(self, study: Study, file: Path) -> list[str]:
        """What each job runs. -P: no file of the folder that this runs in is taken for a module."""
        scaling = [sys.executable, "-P", "-m", "scaling"]
        if self.hosts > 1:
            return [*scaling, "work", str(file), "--cluster", "slurm", "--no-wait"]
        workers = self.workers if self.gpus else self.workers or self.jobs_each(study)
        several = [] if workers is None else ["--workers", str(workers)]
        if self.runs_per_device > 1:
            several += ["--runs-per-device", str(self.runs_per_device)]
        return [*scaling, "pool", str(file), "--no-pin", *several]

    def parameters(self, study: Study) -> dict[str, Any]:
        """What submitit is told of each job."""
        further = dict(option.partition("=")[::2] for option in self.sbatch)
        more: dict[str, Any] = {key: value or True for key, value in further.items()}
        more["requeue" if self.requeue else "no-requeue"] = True
        if self.memory is not None:
            more["mem"] = self.memory.removesuffix("B")
        tasks = (self.gpus or 1) if self.hosts > 1 else 1
        cores = None if self.cpus is None else max(1, self.cpus // tasks)
        # srun has not taken this over from sbatch since Slurm 22.05
        srun = [] if cores is None else [f"--cpus-per-task={cores}"]
        return {
            "job_name": f"scaling-{study.name}",
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": _minutes(self.time),
            "nodes": self.hosts,
            "ntasks_per_node": tasks,
            "gpus_per_node": self.gpus,
            "cpus_per_task": cores,
            "constraint": self.constraint,
            "signal_delay_s": SECONDS_BEFORE_LIMIT,
            "wckey": None,
            "stderr_to_stdout": True,
            "srun_args": [*srun, "--wait=60"],
            "setup": ["trap : TERM  # the last line is reached"],
            "teardown": [REQUEUE] if self.requeue else None,
            "additional_parameters": more,
        }

    def jobs_each(self, study: Study) -> int:
        """Trunks that one of Slurm's jobs works on side by side."""
        if self.hosts > 1:
            return 1
        have = self.gpus or self.cpus or 1
        devices = study.placement.devices_per_run
        return self.workers or max(1, have * self.runs_per_device // devices)

    def _check_devices(self, study: Study) -> None:
        """Raise UserError where the devices of a job are too few, or batches cannot be split."""
        devices = study.placement.devices_per_run
        if self.hosts > 1:
            devices = self.hosts * (self.gpus or 1)
        elif self.gpus is not None and devices > self.gpus:
            raise UserError(
                [f"{devices} devices a run, but --gpus {self.gpus} a job; ask for more."]
            )
        check_batches(study, max(1, devices // study.placement.tensor))


class SlurmSeat:
    """One job, or one of an array."""

    def __init__(self, name: str, queue: SlurmQueue, folder: Path):
        self._name, self._queue, self._folder = name, queue, folder
        self._asked_at = time.monotonic()

    @property
    def name(self) -> str:
        """As `scaling.launch.seats.Seat` says."""
        return self._name

    def has_ended(self) -> bool:
        """As `scaling.launch.seats.Seat` says."""
        return self._queue.has_ended(self._name, self._asked_at)

    def last_words(self) -> str:
        """As `scaling.launch.seats.Seat` says."""
        log = self._folder / f"{self._name}_0_log.out"
        try:
            lines = log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        last = f", which ends: {lines[-1].strip()}" if lines else ""
        return f"{self._queue.words(self._name)}; its log is {log}{last}"


class SlurmEngine:
    """Asks for jobs by sbatch, through submitit."""

    def __init__(self, folder: Path, command: str, parameters: Mapping[str, Any], devices: int):
        """
        Args:
          folder: of scripts and logs, this user's alone.
          command: what each job runs, quoted for a shell.
          parameters: as submitit takes them.
          devices: that each job has.
        """
        self._folder, self._command = folder, command
        self._parameters, self._devices = parameters, devices
        self._queue = SlurmQueue()

    def start(self, count: int) -> Sequence[SlurmSeat]:
        """As `scaling.launch.seats.Engine` says."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with own_environment(), contextlib.redirect_stderr(io.StringIO()):
                executor = SlurmExecutor(self._folder)
                executor.update_parameters(**self._parameters)
                if count > 1:
                    executor.parameters["map_count"] = count
                name = executor._submit_command(self._command).job_id
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError([f"sbatch: {' '.join(str(error).split())}"]) from None
        names = [name] if count == 1 else [f"{name}_{number}" for number in range(count)]
        return [SlurmSeat(each, self._queue, self._folder) for each in names]

    def stop(self, seats: Sequence[Seat]) -> None:
        """As `scaling.launch.seats.Engine` says.

        By SIGINT, after which no job is requeued; those that wait are cancelled at once.
        """
        names = [seat.name for seat in seats]
        slurm_said("scancel", "--state=PENDING", *names)
        slurm_said("scancel", "--signal=INT", *names)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while not all(seat.has_ended() for seat in seats) and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
        slurm_said("scancel", "--quiet", *names)

    def device_seconds(self, seat: Seat) -> float:
        """As `scaling.launch.seats.Engine` says."""
        return self._queue.seconds(seat.name) * self._devices


def _check_installed() -> None:
    """Raise UserError where Slurm or submitit is not here."""
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise UserError(
            [f"--on slurm: {absent[0]} is not here; launch from a login node of the cluster."]
        )
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(
            ["--on slurm needs submitit: pip install 'vit-scaling-laws[slurm]'."]
        ) from None


def _minutes(text: str | None) -> str | None:
    """A time as sbatch takes it."""
    match = HOURS.fullmatch(text or "")
    if match is None:
        return text
    return str(max(1, math.ceil(float(match[1]) * SECONDS[match[2]] / 60)))
