"""`scaling work`: a study in one process, and in several that are one training."""

import signal
import socket
import subprocess
import sys
import time

import pytest
from simulated import simulated

from fits.base.errors import UserError
from scaling.launch.here import together
from scaling.runs.attempts import read_attempts
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study
from scaling.training.hosts import join

STUDY = """
name = "two-hosts"
question = "Do two hosts train what one trains?"

[data]
kind = "procedural"
classes = 4
resolution = 16

[models.nano]
patch = 8
width = 16
depth = 2
mlp = 32
heads = 2
pool = "gap"

[recipe]
learning_rate = 1e-2
warmup_steps = 2
optimizer = "adam"

[[evaluate]]
kind = "upstream"
images = 100

[[grid]]
model = "nano"
images_seen = [160, 320]
batch = 16
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def start(study, runs, arguments, environment):
    return subprocess.Popen(
        [sys.executable, "-m", "scaling", "work", str(study), "--runs", str(runs), *arguments],
        env=simulated(**environment),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for(happens, seconds=200):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def work(study, runs, *processes):
    """Exit statuses and outputs of one process each, given (arguments, environment)."""
    started = [start(study, runs, *each) for each in processes]
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], said


def measured(study, runs):
    found = read_study(study)
    return [
        {row.metric: row.value for row in RunFolder(runs / run.id).results(found.evaluate)}
        for run in found.runs
    ]


@pytest.mark.slow
def test_two_hosts_joined_by_hand_or_by_slurm_measure_what_one_process_measures(study, tmp_path):
    statuses, said = work(study, tmp_path / "one", ((), {}))
    assert statuses == [0], said
    one = measured(study, tmp_path / "one")

    together = "--coordinator", f"localhost:{free_port()}", "--processes", "2", "--process"
    statuses, said = work(
        study, tmp_path / "hand", *(((*together, str(number)), {}) for number in range(2))
    )
    assert statuses == [0, 0], said
    assert "2 of 2 runs done" in said[0]
    assert "runs done" not in said[1]

    def slurm(number):
        told = {"JOB_ID": str(free_port()), "STEP_NODELIST": "localhost", "NTASKS": "2"}
        return {f"SLURM_{k}": v for k, v in (told | {"PROCID": number, "LOCALID": number}).items()}

    first = slurm("0")
    second = first | {"SLURM_PROCID": "1", "SLURM_LOCALID": "1"}
    statuses, said = work(
        study, tmp_path / "slurm", *((("--cluster", "slurm"), each) for each in (first, second))
    )
    assert statuses == [0, 0], said

    for runs in ("hand", "slurm"):
        for alone, shared in zip(one, measured(study, tmp_path / runs), strict=True):
            assert shared["upstream_loss"] == pytest.approx(alone["upstream_loss"], abs=1e-6)
        folders = [RunFolder(tmp_path / runs / run.id) for run in read_study(study).runs]
        assert {folder.manifest()["device"]["count"] for folder in folders} == {2}


@pytest.mark.slow
def test_where_one_of_two_hosts_hangs_both_end_and_the_attempt_is_written_down(study, tmp_path):
    study.write_text(study.read_text().replace("[160, 320]", "[1_600_000]"))
    (run,) = read_study(study).runs
    folder = RunFolder(tmp_path / "runs" / run.id)
    join = "--coordinator", f"localhost:{free_port()}", "--processes", "2", "--hang-after", "30"
    first, second = (
        start(study, tmp_path / "runs", (*join, "--process", str(number)), {})
        for number in range(2)
    )
    try:
        wait_for(lambda: (seen := folder.progress()) is not None and seen.phase == "train")
        second.send_signal(signal.SIGSTOP)
        said, _ = first.communicate(timeout=200)
        assert first.returncode == 75, said
        second.send_signal(signal.SIGCONT)
        second.communicate(timeout=200)
        assert second.returncode != 0
    finally:
        first.kill()
        second.kill()
    (reason,) = read_attempts(folder.path).reasons
    assert reason == "it made no step for 30 s, and its worker was ended."
    assert folder.status([]) != "failed"


@pytest.mark.slow
def test_two_hosts_told_to_leave_keep_a_checkpoint_and_say_so(study, tmp_path):
    study.write_text(study.read_text().replace("[160, 320]", "[1_600_000]"))
    (run,) = read_study(study).runs
    folder = RunFolder(tmp_path / "runs" / run.id)
    join = "--coordinator", f"localhost:{free_port()}", "--processes", "2"
    both = [
        start(study, tmp_path / "runs", (*join, "--process", str(number)), {})
        for number in range(2)
    ]
    try:
        wait_for(lambda: (seen := folder.progress()) is not None and seen.phase == "train")
        for each in both:
            each.send_signal(signal.SIGTERM)
        said = [each.communicate(timeout=60)[0] for each in both]
    finally:
        for each in both:
            each.kill()
    assert [each.returncode for each in both] == [143, 143], said
    (trunk,) = (tmp_path / "runs" / "trunks").iterdir()
    assert (trunk / "passing" / "checkpoint.json").is_file()


@pytest.mark.slow
def test_a_run_has_the_digits_of_a_launch_though_the_machine_has_more_cores(study, tmp_path):
    arguments = "launch", str(study), "--runs", str(tmp_path / "launched")
    command = [sys.executable, "-m", "scaling", *arguments]
    subprocess.run(command, check=True, capture_output=True)
    statuses, said = work(study, tmp_path / "worked", ((), {}))
    assert statuses == [0], said
    assert measured(study, tmp_path / "worked") == measured(study, tmp_path / "launched")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fsdp", "2"), "fsdp=2: does not divide 1 device; use fsdp=1."),
        (("--tensor", "2"), "tensor=2: does not divide 1 device; use tensor=1."),
        (("--microbatches", "3"), "a batch of 16 cannot be split into microbatches = 3 parts"),
    ],
)
def test_a_placement_that_the_devices_cannot_have_is_said_before_anything_is_written(
    study, tmp_path, words, said
):
    statuses, (out,) = work(study, tmp_path / "runs", (words, {}))
    assert statuses == [2]
    assert out.count("\n") == 1
    assert said in out
    assert not (tmp_path / "runs").exists()


def refused(**given):
    with pytest.raises(UserError) as mistake:
        join(given.pop("cluster", "hand"), **given)
    return str(mistake.value)


def test_what_is_missing_to_join_by_hand_is_named():
    assert "--processes and --process missing" in refused(coordinator="localhost:1")
    wrong = refused(coordinator="localhost", processes=2, process=0)
    assert wrong.startswith("--coordinator localhost: is no HOST:PORT, such as 10.0.0.1:1234; ")
    wrong = refused(coordinator="localhost:99999", processes=2, process=0)
    assert wrong.endswith("ports go from 1 to 65535.")
    wrong = refused(coordinator="localhost:1", processes=2, process=2)
    assert wrong == "--process 2: of 2 processes; use 0 to 1."


def test_a_process_that_srun_did_not_start_is_told_how_to_be_started(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert "SLURM_JOB_ID is not set" in refused(cluster="slurm")


def test_a_cluster_that_is_none_and_one_that_is_told_what_it_knows_are_refused():
    with pytest.raises(UserError, match="Did you mean 'slurm'"):
        together("slrum", None, None, None)
    with pytest.raises(UserError, match="--cluster tpu: knows the processes"):
        together("tpu", "localhost:1", 2, 0)


LISTENS = """
import sys
from pathlib import Path
import jax
from scaling.training.hosts import join

for coordinator in sys.argv[1:]:
    join("hand", coordinator=coordinator, processes=1, process=0)
    port = int(coordinator.rpartition(":")[2])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            host, _, number = address.partition(":")
            if state == "0A" and int(number, 16) == port:
                print(coordinator, host)
    jax.distributed.shutdown()
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are listed in /proc")
def test_a_coordinator_on_loopback_is_reached_from_this_machine_alone():
    named = [f"{host}:{free_port()}" for host in ("localhost", "127.0.0.1")]
    done = subprocess.run(
        [sys.executable, "-c", LISTENS, *named], env=simulated(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listens = [line.split() for line in done.stdout.splitlines()]
    assert {coordinator for coordinator, _ in listens} == set(named)
    assert {address for _, address in listens} <= LOOPBACK


@pytest.mark.parametrize(
    ("coordinator", "bound"),
    [
        ("localhost:1", "localhost:1"),
        ("127.3.2.1:1", "127.3.2.1:1"),
        ("[::1]:1", "[::1]:1"),
        ("10.0.0.1:1", None),
        ("localhost.example.org:1", None),
    ],
)
def test_only_a_coordinator_on_loopback_is_told_where_to_listen(monkeypatch, coordinator, bound):
    told = {}
    monkeypatch.setattr("jax.distributed.initialize", lambda *_, **given: told.update(given))
    monkeypatch.setattr("jax.config.update", lambda *_: None)
    join("hand", coordinator=coordinator, processes=1, process=0)
    assert told == {"coordinator_bind_address": bound}
