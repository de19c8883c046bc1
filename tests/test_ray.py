"""`scaling launch --on ray`, on a cluster of several nodes on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_work import STUDY, free_port

from fits.base.errors import UserError
from scaling.launch.protocol import launcher
from scaling.launch.ray.engine import Demand
from scaling.launch.ray.launcher import Ray, connect
from scaling.launch.ray.task import run_in_task
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed, or has no wheel for this Python"
)
TREE = Path(__file__).parent
ON_LOOPBACK = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
STALE = {"CUDA_VISIBLE_DEVICES": "7", "JAX_COORDINATOR_ADDRESS": "nowhere:1"}


class Cluster:
    """A cluster in a process of its own; `ray_cluster.py` says what it does."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(TREE / "ray_cluster.py")],
            env={**os.environ, **ON_LOOPBACK, "JAX_COORDINATOR_ADDRESS": "nowhere:1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._process.stdout.readline().strip()
        self._count = 0

    def tell(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ok\n"

    def add(self, **node):
        """Its number."""
        self.tell("add " + json.dumps({"num_cpus": 1, "num_gpus": 0, **node}))
        self._count += 1
        return self._count - 1

    def stop(self):
        self._process.communicate("stop\n", timeout=200)


@pytest.fixture(scope="module")
def cluster():
    found = Cluster()
    yield found
    found.stop()


@pytest.fixture
def study(tmp_path):
    """Beside files of the user's that have names of modules."""
    for name in ("scaling", "models", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the user')\n")
    path = tmp_path / "study.toml"
    path.write_text(
        STUDY.replace("images_seen = [160, 320]", "images_seen = [160, 320]\nseed = [0, 1]")
    )
    return path


def launch(study, runs, *options):
    """A launch as a user's, in the study's folder and an environment that has stale variables."""
    scaling = [sys.executable, "-P", "-m", "scaling"]  # as the console script
    return subprocess.Popen(
        [*scaling, "launch", str(study), "--runs", str(runs), *options],
        cwd=study.parent,
        env={**os.environ, **ON_LOOPBACK, "JAX_PLATFORMS": "cpu", **STALE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def table(study, runs):
    out = runs.parent / f"{runs.name}-out"
    command = [sys.executable, "-m", "scaling", "collect", str(study)]
    subprocess.run(
        [*command, "--runs", str(runs), "--out", str(out)], check=True, capture_output=True
    )
    (found,) = out.glob("*.csv")
    return found.read_bytes()


def wait_until(what, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@needs_ray
@pytest.mark.slow
def test_a_study_outlives_the_loss_of_a_node_and_its_table_is_that_of_a_local_launch(
    cluster, study, tmp_path
):
    """The node dies when its first run is done, and its task has not ended."""
    local = launch(study, tmp_path / "local", "--workers", "1")
    assert "4 of 4 runs done" in local.communicate(timeout=400)[0]
    first = cluster.add()
    runs = tmp_path / "ray"
    elsewhere = launch(study, runs, "--on", "ray", "--address", cluster.address)
    done = wait_until(lambda: list(runs.glob("*/manifest.json")))[0]
    cluster.tell(f"kill {first}")
    before = done.stat()
    cluster.add(resources={"host": 1})
    cluster.add(resources={"host": 1})
    said = elsewhere.communicate(timeout=400)[0]
    assert "4 of 4 runs done" in said, said
    assert "ended before the runs were done" in said
    assert "Error" not in said.replace("NodeDiedError", "").replace("WorkerCrashedError", "")
    assert elsewhere.returncode == 0
    assert done.stat().st_mtime_ns == before.st_mtime_ns  # not trained again
    assert table(study, runs) == table(study, tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_two_hosts_train_one_run_in_a_placement_group(cluster, study, tmp_path):
    one = study.with_name("one.toml")
    one.write_text(STUDY.replace("[160, 320]", "160"))
    options = ["--address", cluster.address, "--hosts", "2", "--resource", "host=1"]
    both = launch(one, tmp_path / "both", "--on", "ray", *options)
    said = both.communicate(timeout=400)[0]
    assert "1 of 1 runs done" in said, said
    alone = launch(one, tmp_path / "alone", "--workers", "1")
    assert "1 of 1 runs done" in alone.communicate(timeout=400)[0]
    found = read_study(str(one))
    (run,) = found.runs
    two, one = (RunFolder(tmp_path / name / run.id) for name in ("both", "alone"))
    assert two.manifest()["device"]["count"] == 2
    for ours, theirs in zip(two.results(found.evaluate), one.results(found.evaluate), strict=True):
        if ours.metric == "upstream_loss":
            assert ours.value == pytest.approx(theirs.value, abs=1e-6)


@needs_ray
@pytest.mark.slow
def test_what_no_node_has_is_said_and_a_signal_ends_the_waiting(cluster, study, tmp_path):
    options = ["--on", "ray", "--address", cluster.address, "--resource", "nowhere=2"]
    shown = launch(study, tmp_path / "runs", *options, "--dry-run").communicate(timeout=200)[0]
    assert "No node can have it now" in shown, shown
    assert "nowhere 0" in shown
    waiting = launch(study, tmp_path / "runs", *options)
    said = ""
    while "waits for a node with" not in said:
        line = waiting.stdout.readline()
        assert line, said
        said += line
    waiting.send_signal(signal.SIGTERM)
    rest = waiting.communicate(timeout=20)[0]
    assert waiting.returncode == 143, rest
    assert "0 of 4 runs are done" in rest


SLICES = """
import sys, time
from pathlib import Path
from scaling.launch.ray.launcher import Ray, connect
from scaling.launch.ray.engine import RayEngine

connect(sys.argv[1])
code = "import sys; print(sys.argv[1:])"
engine = RayEngine(Ray(tpu="v5e-8").demand, ["-c", code], Path(sys.argv[2]), print)
seats = engine.start(1)
while not seats[0].has_ended():
    time.sleep(0.2)
print(seats[0].last_words())
import ray
print(ray.available_resources().get("TPU"))
"""


@needs_ray
@pytest.mark.slow
def test_a_seat_on_a_tpu_slice_has_every_host_of_one_slice(cluster, tmp_path):
    head = {"TPU-v5litepod-8-head": 1}
    for number in range(2):
        cluster.add(
            resources={"TPU": 4, "slice-a": 1, **(head if number == 0 else {})},
            labels={"ray.io/tpu-slice-name": "slice-a"},
        )
    cluster.add(resources={"TPU": 4, "slice-b": 1}, labels={"ray.io/tpu-slice-name": "slice-b"})
    done = subprocess.run(
        [sys.executable, "-c", SLICES, cluster.address, str(tmp_path)],
        env={**os.environ, **ON_LOOPBACK, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.startswith("there was nothing for it to do"), done.stdout + done.stderr
    logs = sorted(tmp_path.glob("*.log"))
    assert [log.read_text() for log in logs] == ["['--cluster', 'tpu']\n"] * 2


def test_without_ray_or_a_cluster_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install"):
        connect("auto")
    code = "import sys; sys.modules['ray'] = None; from scaling.cli.main import main; main()"
    command = [sys.executable, "-c", code, "launch", "demo", "--on", "ray"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@needs_ray
def test_an_address_where_nobody_answers_is_named_at_once():
    address = f"localhost:{free_port()}"
    command = [sys.executable, "-m", "scaling", "launch", "demo", "--on", "ray", "--address"]
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert f"--address {address}: no cluster of Ray there" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resource": ["TPU"]}, "'TPU' is no NAME=AMOUNT"),
        ({"resource": ["GPU=1"]}, "CPU and GPU are said by"),
        ({"gpus": 1.5}, "use whole GPUs"),
        ({"tpu": "v5"}, "is no TPU slice"),
        ({"hosts": 2, "workers": 2}, "several hosts are one training"),
    ],
)
def test_what_ray_cannot_be_asked_for_is_said_in_a_sentence(given, said):
    with pytest.raises(UserError, match=said):
        launcher("ray", given)


def test_a_slice_is_asked_for_by_its_first_host_and_a_share_of_a_gpu_has_as_much_memory():
    assert Ray(tpu="v5e-16").demand == Demand(
        {"CPU": 1.0, "TPU": 4}, 4, "TPU-v5litepod-16-head", 16.0
    )
    assert Ray(tpu="v4-32").demand.hosts == 4  # 32 cores, two a chip, four chips a host
    half = Ray(gpus=0.5).demand
    assert half.bundle == {"CPU": 1.0, "GPU": 0.5}
    assert half.environment == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.450"}


def test_a_demand_fits_where_as_many_nodes_have_as_much():
    two = Demand({"CPU": 2, "x": 1}, hosts=2)
    assert two.fits([{"CPU": 2, "x": 1}, {"CPU": 4, "x": 1}])
    assert not two.fits([{"CPU": 2, "x": 1}, {"CPU": 4}])
    assert not two.fits([{"CPU": 9, "x": 9}])


def test_a_command_in_a_task_has_no_variables_of_ray_or_of_another_training(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    monkeypatch.setenv("MEGASCALE_COORDINATOR_ADDRESS", "gone:8080")  # of a preempted slice
    log = tmp_path / "logs" / "seat.log"
    code = "import os; print(sorted(k for k in os.environ if k[:4] in ('RAY_', 'JAX_', 'MEGA')))"
    assert run_in_task(["-c", code], str(log), {"JAX_PLATFORMS": "cpu"}, "") == ""
    listed = log.read_text()
    assert "RAY_ADDRESS" not in listed
    assert "JAX_PROCESS_ID" not in listed
    assert "MEGASCALE" not in listed
    assert "JAX_PLATFORMS" in listed


def test_a_command_that_fails_in_a_task_is_told_by_its_last_line(tmp_path):
    log = tmp_path / "seat.log"
    said = run_in_task(["-c", "import sys; print('all is lost'); sys.exit(3)"], str(log), {}, "")
    assert said == "exit status 3 (all is lost)"


def test_a_command_in_a_task_runs_where_the_launch_was_typed_if_its_node_has_that_folder(tmp_path):
    """Relative paths of a study begin there, such as that of its images."""
    log, there = tmp_path / "seat.log", tmp_path / "typed here"
    there.mkdir()
    code = "import os; print(os.getcwd())"
    for folder in (there, tmp_path / "not on this node"):
        assert run_in_task(["-c", code], str(log), {}, str(folder)) == ""
    assert log.read_text().splitlines() == [str(there), os.getcwd()]
