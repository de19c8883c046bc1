"""Studies on a real Slurm: two nodes on this machine, started here."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from slurm_cluster import NODES, SlurmCluster, why_not

from fits.base.errors import UserError
from scaling.launch.local.launcher import Local
from scaling.launch.protocol import launcher
from scaling.launch.seats import Seats
from scaling.launch.slurm.launcher import Slurm, SlurmEngine, SlurmSeat
from scaling.launch.slurm.queue import SlurmQueue, own_environment
from scaling.study.parse import read_study

STUDY = """
name = "queued"
question = "Does a queue move a digit?"
compute = "float32"

[data]
kind = "procedural"
classes = 4
resolution = 16

[models.nano]
patch = 8
width = 16
depth = 1
mlp = 32
heads = 2
pool = "gap"

[recipe]
learning_rate = 1e-2
warmup_steps = 2
optimizer = "adam"

[checkpoints]
every_steps = 100

[[evaluate]]
kind = "upstream"
images = 100

[[grid]]
model = "nano"
images_seen = {images}
batch = 16
seed = {seeds}
"""

on_a_cluster = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(images=[160, 320], seeds=[0]))
    return path


# What needs no cluster


def test_the_command_line_takes_the_place_of_what_the_study_says():
    table = {"kind": "slurm", "partition": "gpu", "time": "4h"}
    assert launcher(None, {"time": "1h"}, table) == Slurm(partition="gpu", time="1h")
    assert launcher("local", {"workers": 2}, table) == Local(workers=2)


@pytest.mark.parametrize(
    ("kind", "given", "table", "said"),
    [
        ("local", {"partition": "gpu"}, {}, "--partition is for --on slurm."),
        ("slum", {}, {}, "--on slum: no such launcher. Did you mean 'slurm'?"),
        ("slurm", {"time": "soon"}, {}, "--time: 'soon' is no time"),
        (None, {}, {"kind": "slurm", "partitoin": "gpu"}, "Did you mean 'partition'?"),
        (None, {}, {"kind": "slurm", "gpus": 0}, "[launcher] gpus:"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused_in_words(kind, given, table, said):
    with pytest.raises(UserError) as mistake:
        launcher(kind, given, table)
    assert said in str(mistake.value)


def test_a_study_says_where_it_is_trained_and_its_runs_stay_the_same(study):
    before = read_study(study)
    study.write_text(study.read_text() + '[launcher]\nkind = "slurm"\npartition = "gpu"\n')
    after = read_study(study)
    assert after.launcher == {"kind": "slurm", "partition": "gpu"}
    assert [run.id for run in after.runs] == [run.id for run in before.runs]


def test_a_time_of_days_is_asked_for_in_slurms_minutes(study):
    asked = Slurm(time="1.5h").parameters(read_study(study))
    assert asked["time"] == "90"
    assert Slurm(time="1-12:00:00").parameters(read_study(study))["time"] == "1-12:00:00"


def test_nothing_of_an_outer_job_is_handed_on(monkeypatch):
    outer = (
        *("SLURM_JOB_ID", "SBATCH_PARTITION", "JAX_COORDINATOR_ADDRESS", "CUDA_VISIBLE_DEVICES"),
        "MEGASCALE_COORDINATOR_ADDRESS",
    )
    for name in (*outer, "SLURM_CONF", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.setenv(name, "7")
    with own_environment():
        assert not set(outer) & set(os.environ)
        assert {"SLURM_CONF", "JAX_COMPILATION_CACHE_DIR"} <= set(os.environ)
    assert os.environ["SLURM_JOB_ID"] == "7"


def test_a_job_has_not_ended_as_long_as_slurm_cannot_be_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not SlurmQueue().has_ended("12", since=0.0)


class _Refusing:
    """An engine that takes one job and no more."""

    def __init__(self):
        self.asked = 0

    def start(self, count):
        self.asked += 1
        if self.asked > 1:
            raise UserError(["the queue is full."])
        return []


class _Waiting:
    """A tally with two trunks that nobody is at."""

    def waiting(self):
        return [1, 2]

    def takeable(self, job):
        return SimpleNamespace(id=job)

    def jobs_at_work(self):
        return len(self.at_work())

    def at_work(self):
        return []


class _Screen(list):
    say = list.append


def test_a_full_queue_ends_no_launch_that_has_begun():
    screen = _Screen()
    seats = Seats(_Waiting(), _Refusing(), screen=screen, most=9)
    for _ in range(3):
        seats._fill()
    assert len([line for line in screen if "the queue is full" in line]) == 1


class _Granting:
    """Gives a seat for each that it is asked for."""

    def start(self, count):
        return [SlurmSeat(str(number), None, None) for number in range(count)]


class _Many(_Waiting):
    """A tally of very many trunks, of which some are held by others; it counts looks at leases."""

    def __init__(self, held=0):
        self.looks, self._held = 0, held

    def waiting(self):
        return range(10_000)

    def takeable(self, job):
        self.looks += 1
        return None if job < self._held else SimpleNamespace(id=job)


@pytest.mark.parametrize(
    ("held", "each", "seats", "looks"), [(0, 1, 9, 9), (0, 4, 9, 36), (20, 1, 9, 29)]
)
def test_no_more_leases_are_looked_at_than_there_are_seats_to_fill(held, each, seats, looks):
    tally = _Many(held)
    launched = Seats(tally, _Granting(), screen=_Screen(), most=9, each=each)
    launched._fill()
    assert (len(launched._seats), tally.looks) == (seats, looks)
    launched._fill()
    assert (len(launched._seats), tally.looks) == (seats, looks)  # no seat is free


class _LeftBehind(_Waiting):
    """Two trunks; those named are said to be at work, as when they were last looked at."""

    def __init__(self):
        self.names = []

    def at_work(self):
        return [SimpleNamespace(id=name) for name in self.names]


def test_a_seat_that_goes_back_to_the_queue_is_not_replaced():
    """What it was at is free before it is looked at again."""
    tally = _LeftBehind()
    launched = Seats(tally, _Granting(), screen=_Screen(), most=9)
    launched._fill()
    tally.names = [1, 2]
    launched._fill()
    assert len(launched._seats) == 2
    tally.names = [1, 3]  # of a third trunk, which is held by others
    launched._fill()
    assert len(launched._seats) == 3


def test_few_trunks_are_given_no_more_seats_than_they_need():
    launched = Seats(_Many(held=9_990), _Granting(), screen=_Screen(), most=90, each=4)
    launched._fill()
    assert len(launched._seats) == 3


# On a cluster


@pytest.fixture
def cluster():
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        SlurmCluster(Path(folder)) as found,
    ):
        yield found


def launch(study, *arguments, environment):
    """A launch, begun."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "scaling", "launch", study.name, *arguments],
        cwd=study.parent,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def table(study, runs):
    """Bytes of the table of results."""
    command = [
        sys.executable,
        "-m",
        "scaling",
        "collect",
        study.name,
        "--runs",
        runs,
        "--out",
        runs,
    ]
    subprocess.run(command, cwd=study.parent, check=True, capture_output=True, timeout=120)
    return (study.parent / runs / "queued.csv").read_bytes()


@pytest.mark.slow
@on_a_cluster
def test_a_lost_node_a_lost_controller_and_a_job_requeued_twice_move_no_digit(study, cluster):
    study.write_text(STUDY.format(images=[160, 8000], seeds=[0, 1]))
    runs = study.parent / "there"
    outer = {"SLURM_JOB_ID": "999", "SBATCH_PARTITION": "nowhere", "CUDA_VISIBLE_DEVICES": "7"}
    begun = launch(
        study, "--on", "slurm", "--runs", "there", environment={**cluster.environment, **outer}
    )
    try:
        cluster.until(lambda: len(list(runs.glob("trunks/*/[1-9]*"))) >= 2, 120)
        cluster.stop_controller()
        cluster.start_controller()
        cluster.until(lambda: cluster.said("squeue", "-h") != "")
        cluster.said("scancel", "--signal=USR2", "1_0")  # as before a time limit
        cluster.until(lambda: "Restarts=1" in cluster.said("scontrol", "show", "job"))
        cluster.said("scontrol", "requeue", "1_0")  # by hand, once more
        cluster.kill_node(NODES[1])
        said, _ = begun.communicate(timeout=240)
    finally:
        begun.kill()
    assert begun.returncode == 0, said + cluster.logs()
    here = launch(study, "--runs", "here", "--workers", "2", environment=os.environ)
    assert here.communicate(timeout=240)
    assert here.returncode == 0
    assert table(study, "there") == table(study, "here")


LEAVES = 'bash -c \'trap "exit 143" TERM; trap "exit 130" INT; while :; do sleep 0.1; done\''


@pytest.mark.slow
@on_a_cluster
def test_a_preempted_job_goes_back_to_the_queue_though_slurm_would_cancel_it(
    study, cluster, tmp_path, monkeypatch
):
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    parameters = Slurm(partition="work").parameters(read_study(study))
    engine = SlurmEngine(tmp_path / "logs", LEAVES, parameters, devices=2)
    seats = engine.start(2)
    cluster.until(lambda: cluster.said("squeue", "-h", "-o", "%T").split() == ["RUNNING"] * 2)
    time.sleep(2)  # until the jobs can be told anything
    cluster.said("scancel", "--signal=TERM", seats[1].name)  # by hand: that is its end
    cluster.said("sbatch", "-p", "urgent", "-N2", "-o", "/dev/null", "--wrap", "sleep 3")
    cluster.until(lambda: "Restarts=1" in cluster.said("scontrol", "show", "job", seats[0].name))
    cluster.until(seats[1].has_ended)
    assert not seats[0].has_ended()
    assert "FAILED" in seats[1].last_words()
    engine.stop(seats)
    assert seats[0].has_ended()
    assert not list(engine._folder.glob("*.pkl"))


@pytest.mark.slow
@on_a_cluster
def test_one_run_is_trained_on_two_nodes(study, cluster):
    arguments = ("--on", "slurm", "--runs", "both", "--hosts", "2", "--time", "1h")
    begun = launch(study, *arguments, environment=cluster.environment)
    said, _ = begun.communicate(timeout=200)
    assert begun.returncode == 0, said + cluster.logs()
    assert "2 of 2 runs done" in said
    run = read_study(study).runs[0].id
    manifest = json.loads((study.parent / "both" / run / "manifest.json").read_text())
    assert manifest["device"]["count"] == 2


@pytest.mark.slow
@on_a_cluster
def test_slurm_refuses_a_partition_in_its_own_words(study, cluster):
    begun = launch(study, "--on", "slurm", "--partition", "nope", environment=cluster.environment)
    said, _ = begun.communicate(timeout=60)
    assert begun.returncode == 2
    assert "invalid partition specified: nope" in said
