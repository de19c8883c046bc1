"""Whose device is whose: what a machine has, dealt out to workers that see their own alone."""

import json
import os
import sys
from pathlib import Path

import pytest

from fits.base.errors import UserError
from scaling.cli.main import main
from scaling.launch import devices
from scaling.launch.devices import Machine, deal, find_machine
from scaling.study.schema import EXAMPLE

LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-cccc)
GPU 3: NVIDIA H100 80GB HBM3 (UUID: GPU-dddd)
"""
SPLIT = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""
FOUR = Machine("gpu", ("a", "b", "c", "d"), "H100", tuple(range(16)))
CHIPS = Machine("tpu", ("0", "1", "2", "3"), "v4-8", tuple(range(8)))
CORES = Machine("cpu", ("0", "1", "2", "3"), "", (0, 1, 2, 3))


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No word of the devices of the machine that tests run on."""
    for name in ("CUDA_VISIBLE_DEVICES", "TPU_VISIBLE_CHIPS", "JAX_PLATFORMS", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "cores", lambda: list(range(8)))


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an nvidia-smi first on the PATH, and a JAX that knows GPUs."""

    def lists(text):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\nprint({text!r}, end='')\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(devices, "installed_version", lambda package: "1")

    return lists


# What there is


def test_gpus_are_found_by_what_nvidia_smi_lists(smi):
    smi(LISTED)
    machine = find_machine()
    assert machine.names == ("GPU-aaaa", "GPU-bbbb", "GPU-cccc", "GPU-dddd")
    assert str(machine) == "4 GPUs (NVIDIA H100 80GB HBM3)"


def test_the_parts_of_a_gpu_take_its_place(smi):
    smi(SPLIT)
    assert find_machine().names == ("MIG-1111", "MIG-2222", "GPU-bbbb")


@pytest.mark.parametrize(
    ("visible", "names"), [("2,0", ("2", "0")), ("GPU-cccc", ("GPU-cccc",)), ("1,-1,3", ("1",))]
)
def test_no_gpu_is_taken_that_the_user_has_hidden(smi, monkeypatch, visible, names):
    smi(LISTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_machine().names == names


@pytest.mark.parametrize("hidden", ["CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"])
def test_with_its_gpus_hidden_a_machine_has_cores(smi, monkeypatch, hidden):
    smi(LISTED)
    monkeypatch.setenv(hidden, {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}[hidden])
    machine = find_machine()
    assert (machine.kind, machine.cores, machine.remark) == ("cpu", tuple(range(8)), None)


def test_gpus_that_this_jax_cannot_use_are_said_and_cores_are_used(smi, monkeypatch):
    smi(LISTED)
    monkeypatch.setattr(devices, "installed_version", lambda package: None)
    machine = find_machine()
    assert machine.kind == "cpu"
    assert "4 GPUs are here" in machine.remark
    assert "pip install" in machine.remark


def test_an_nvidia_smi_that_fails_means_no_gpus(smi, tmp_path):
    smi(LISTED)
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert find_machine().kind == "cpu"


def test_chips_of_a_tpu_are_those_that_the_user_shows(monkeypatch):
    monkeypatch.setattr(devices, "installed_version", lambda package: "1")
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "0,1")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v3-8")
    machine = find_machine()
    assert (machine.kind, machine.names, machine.each) == ("tpu", ("0", "1"), 2)
    monkeypatch.setattr(devices, "installed_version", lambda package: None)
    machine = find_machine()
    assert machine.kind == "cpu"
    assert "2 TPU chips are here" in machine.remark


# Dealt out


def test_each_worker_sees_one_gpu_and_no_two_the_same():
    slots = deal(FOUR, 1)
    assert [slot.environment for slot in slots] == [
        {"CUDA_VISIBLE_DEVICES": name} for name in "abcd"
    ]
    assert [slot.cores for slot in slots] == [tuple(range(k, k + 4)) for k in (0, 4, 8, 12)]


def test_a_run_on_several_gpus_has_them_to_itself():
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in deal(FOUR, 2)] == ["a,b", "c,d"]
    assert [slot.devices for slot in deal(FOUR, 3)] == [("a", "b", "c")]


def test_small_runs_share_a_gpu_each_with_a_part_of_its_memory():
    slots = deal(FOUR, 1, runs_per_device=3)
    assert [slot.devices for slot in slots[:4]] == [("a",), ("a",), ("a",), ("b",)]
    assert len(slots) == 12
    assert {slot.environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] for slot in slots} == {"0.300"}


def test_no_more_workers_than_asked_for():
    assert [slot.devices for slot in deal(FOUR, 1, workers=2)] == [("a",), ("b",)]
    assert [slot.cores for slot in deal(CORES, 1, workers=6)] == [
        *((k,) for k in (0, 1, 2, 3, 0, 1))
    ]


def test_a_worker_on_a_tpu_sees_its_chips_and_how_they_lie():
    assert deal(CHIPS, 1)[3].environment == {
        "TPU_VISIBLE_CHIPS": "3",
        "TPU_PROCESS_BOUNDS": "1,1,1",
        "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",
    }
    two = deal(CHIPS, 2)
    assert [slot.environment["TPU_VISIBLE_CHIPS"] for slot in two] == ["0,1", "2,3"]
    assert two[0].environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"


def test_a_chip_of_two_cores_counts_as_two_devices():
    chips = Machine("tpu", ("0", "1", "2", "3"), "v3-8", (0, 1), each=2)
    assert len(deal(chips, 1)) == len(deal(chips, 2)) == 4
    assert [slot.devices for slot in deal(chips, 4)] == [("0", "1"), ("2", "3")]


def test_on_a_cpu_a_worker_has_a_core_and_several_devices_are_simulated():
    assert [slot.environment["XLA_FLAGS"] for slot in deal(CORES, 1)] == [
        "--xla_cpu_multi_thread_eigen=false"
    ] * 4
    slots = deal(CORES, 2)
    assert [slot.cores for slot in slots] == [(0, 1), (2, 3)]
    assert slots[0].environment["XLA_FLAGS"].endswith("_device_count=2")
    assert slots[0].environment["NPROC"] == str(len(slots[0].cores))
    (slot,) = deal(CORES, 8)
    assert slot.cores == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("machine", "count", "sharing", "said"),
    [
        (FOUR, 8, 1, r"8 devices a run, but this machine has 4 GPUs \(H100\): 4 at most"),
        (FOUR, 2, 2, "runs that share a GPU have one each"),
        (CHIPS, 3, 1, "3 TPU chips a run: use 1, 2, 4, 8"),
        (CHIPS, 1, 2, "a TPU chip has one process at a time"),
        (CORES, 1, 2, "is for GPUs, and this machine has 4 cores; --workers"),
    ],
)
def test_what_cannot_be_dealt_out_is_told_with_what_is_there(machine, count, sharing, said):
    with pytest.raises(UserError, match=said):
        deal(machine, count, runs_per_device=sharing)


# The command line


@pytest.fixture
def scaling(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(EXAMPLE)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["scaling", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def test_a_dry_run_says_who_gets_what_and_writes_nothing(scaling, smi, tmp_path):
    smi(LISTED)
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = scaling("launch", "study.toml", "--dry-run", "--devices-per-run", "2")
    assert status == 0
    assert "example on this machine: 4 GPUs (NVIDIA H100 80GB HBM3)" in out
    assert "CUDA_VISIBLE_DEVICES=GPU-aaaa,GPU-bbbb" in out
    assert out.count("next that is free") == 3  # of five trunks
    words = ("launch", "study.toml", "--dry-run", "--json", "-", "--remat", "full")
    found = json.loads(scaling(*words)[1])
    assert [slot["environment"]["CUDA_VISIBLE_DEVICES"] for slot in found["slots"]] == [
        *("GPU-aaaa", "GPU-bbbb", "GPU-cccc", "GPU-dddd")
    ]
    assert [job["slot"] for job in found["jobs"]] == [0, 1, 2, 3, None]
    assert sum(len(job["runs"]) for job in found["jobs"]) == 13
    assert found["placement"]["remat"] == "full"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--remat ful", "--remat: no 'ful'. Did you mean 'full'? Use none, dots, full, offload."),
        ("--update fused --microbatches 2", "microbatches=2: a fused step updates a layer"),
        ("--devices-per-run 3 --fsdp 2", "groups of 2 devices; use 4 devices, or other groups"),
        ("--devices-per-run 3", "a batch of 128 cannot be split over 3 devices; use 126 or 129"),
        ("--microbatches 3", "a batch of 128 cannot be split into microbatches = 3 parts; use 126"),
        ("--tensor 5 --devices-per-run 5", "which tensor = 5 does not divide"),
        ("--devices-per-run 8 ", "this machine has 4 GPUs (NVIDIA H100 80GB HBM3): 4 at most"),
        ("--json -", "--json -: is for --dry-run"),
    ],
)
def test_a_placement_that_cannot_be_is_refused_in_words(scaling, smi, tmp_path, words, said):
    smi(LISTED)
    status, out, errors = scaling("launch", "study.toml", *words.split())
    assert (status, out) == (2, "")
    assert said in errors
    assert not (tmp_path / "runs").exists()


def test_a_study_says_on_how_many_devices_its_runs_are_trained(scaling, smi):
    smi(LISTED)
    Path("study.toml").write_text("[placement]\ndevices = 4\nfsdp = 2\n" + EXAMPLE)
    text = Path("study.toml").read_text()
    head, _, rest = text.partition("name = ")
    Path("study.toml").write_text("name = " + rest + head)
    found = json.loads(scaling("launch", "study.toml", "--dry-run", "--json", "-")[1])
    assert [len(slot["devices"]) for slot in found["slots"]] == [4]
