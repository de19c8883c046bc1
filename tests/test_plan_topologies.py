"""The devices that --on names: slices of TPUs, GPUs, this processor, and any that are described."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from fits.base.errors import UserError
from scaling.planning.compiled import ENVIRONMENT
from scaling.planning.devices import GPUS, TPUS, topology
from scaling.planning.slices import near_slices


def said_of(name):
    with pytest.raises(UserError) as found:
        topology(name)
    return str(found.value)


def test_a_slice_of_v3_has_two_devices_a_chip_and_one_of_v5e_one():
    assert (topology("v3:2x2").devices, topology("v5e:4x4").devices) == (8, 16)
    assert topology("v4:2x2x4").devices == 16


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v5:2x2", "Use a slice of v2, v3, v4"),
        ("v3:2x2x2", "v3, which has 2 dimensions. Write v3:2x2."),
        ("v4:2x2", "Write v4:2x2x2"),
        ("v3:0x2", "no slice of v3"),
        ("v3", "no slice of v3"),
        ("v3:2x" + "9" * 5000, "no slice of v3"),
        ("v3:3x7", "sides must be 1 or even, as hosts have 2x2 chips. Try v3:2x4 or v3:4x8."),
        ("v4:2x3x4", "the first two sides must be 1 or even"),
        ("v5e:640x640", "the largest pod of v5e has 256 chips, 16x16. Try v5e:16x16."),
        ("v5e:1x32", "Try v5e:1x16."),
        ("v3:1x1024", "the largest pod of v3 has 1,024 chips, 32x32. Try v3:1x32."),
        ("v2:16x32", "has 256 chips"),
        ("v6e:16x18", "has 256 chips"),
        ("v4:16x16x17", "the largest pod of v4 has 4,096 chips, 16x16x16. Try v4:16x16x16."),
        ("v4:1x1x4096", "Try v4:1x1x256."),
        ("v5p:16x20x29", "has 8,960 chips"),
    ],
)
def test_a_slice_that_does_not_exist_is_named_with_what_does(name, said):
    assert said in said_of(name)


@pytest.mark.parametrize("pods", [(16, 16), (32, 32), (16, 16, 16), (16, 20, 28)])
def test_the_slices_that_are_tried_instead_exist(pods):
    """In closed form: whatever the sides are that were asked for."""
    kind = next(kind for kind in TPUS.values() if kind.pod == pods)
    for sides in (3, 7, 17, 33, 1000, 10**9):
        for shape in ([sides] * len(pods), [1] * (len(pods) - 1) + [sides]):
            name = f"{kind.name}:{'x'.join(map(str, shape))}"
            for near in near_slices(name, pods):
                assert topology(near).devices > 0


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("v3:3x3", ["v3:2x2", "v3:4x4"]),
        ("v5e:5x8", ["v5e:4x8", "v5e:8x8"]),
        ("v4:64x64x64", ["v4:16x16x16"]),
        ("v4:4x4x4", ["v4:2x2x1"]),
    ],
)
def test_a_slice_that_is_not_made_is_answered_with_those_beside_it(name, near):
    assert near_slices(name, TPUS[name.partition(":")[0]].pod) == near


MADE = [
    "v3:6x6",
    "v3:1x2",
    "v3:32x32",
    "v5e:12x12",
    "v5e:1x16",
    "v4:2x2x3",
    "v4:1x1x3",
    "v4:4x4x256",
    "v5p:16x20x28",
]
NOT_MADE = ["v3:3x7", "v5e:1x3", "v6e:3x3", "v4:3x4x4", "v4:1x3x1"]


def test_slices_whose_sides_are_no_powers_of_two_exist_as_the_compiler_has_them():
    """test_the_compiler_makes_the_same_slices asks it."""
    assert [topology(name).devices for name in MADE] == [72, 4, 2048, 144, 16, 12, 3, 4096, 8960]
    for name in NOT_MADE:
        assert "1 or even" in said_of(name)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_compiler_makes_the_same_slices():
    code = (
        "import sys\n"
        "from jax.experimental.topologies import get_topology_desc\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        get_topology_desc(platform='tpu', topology_name=name)\n"
        "    except Exception as error:\n"
        "        print('not', name)\n"
        "    else:\n"
        "        print('made', name)\n"
    )
    command = [sys.executable, "-c", code, *MADE, *NOT_MADE]
    found = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    made = re.findall(r"^made (\S+)$", found.stdout, flags=re.MULTILINE)
    assert made == MADE
    assert re.findall(r"^not (\S+)$", found.stdout, flags=re.MULTILINE) == NOT_MADE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cpu:2", "this machine's processor is one device, all cores; write --on cpu."),
        ("CPU", "Did you mean 'cpu'? Use"),
        ("TPU", "A TPU is named by its kind and the shape of its slice. Use a slice of v2"),
        ("tpu:v3:2x2", "A TPU is named by its kind"),
        ("V3:2x2", "Did you mean 'v3'? Use"),
        ("GPU:h100", "Did you mean 'gpu'? Use"),
        ("H100", "Did you mean 'gpu:h100'"),
        ("gpu", "which GPU is not said. There are t4"),
        ("gpu:", "which GPU is not said"),
        ("gpu:h100x1000001", "at most 1,000,000 devices"),
        ("gpu:h100x" + "9" * 5000, "at most 1,000,000 devices"),
    ],
)
def test_devices_that_are_not_known_are_answered_with_what_there_is(name, said):
    assert said in said_of(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("memory=1GiB,peak=1e12,count=1e999", "'count=1e999': write a number from 1 to 1000000"),
        ("memory=1GiB,peak=1e12,count=1e7", "from 1 to 1000000, a whole number of devices"),
        ("memory=1GiB,peak=1e12,count=1.5", "a whole number of devices"),
        ("memory=1e999,peak=1e12", "'memory=1e999': write a number from 1MiB to 1048576GiB"),
        ("memory=24,peak=1e12", "as in memory=24GiB"),
        ("memory=1048577GiB,peak=1e12", "from 1MiB to 1048576GiB"),
        ("memory=1GiB,peak=1e999", "from 1e6 to 1e18, in FLOP/s"),
        ("memory=1GiB,peak=1e-320", "from 1e6 to 1e18, in FLOP/s"),
        ("memory=1GiB,peak=165", "from 1e6 to 1e18, in FLOP/s"),
        ("memory=1GiB,peak=1e12,bandwidth=1e999", "in bytes/s, as in bandwidth=1e12"),
        ("memory=1GiB,peak=1e12,link=1e-320", "in bytes/s, as in link=64e9"),
        ("memory=1GiB,peak=1e12,efficiency=1e-320", "from 0.0001 to 1, a share of the peak"),
        ("memory=1GiB,peak=1e12,efficiency=2", "'efficiency=2'"),
        ("peak=1e12,peak=2e12,memory=1GiB", "'peak=2e12': peak is given twice"),
        ("peak=1e12,,memory=1GiB", "nothing stands before or after a comma"),
        ("peak=1e12,memory=1GiB,", "nothing stands before or after a comma"),
        ("", "memory and peak must be given"),
    ],
)
def test_numbers_that_no_device_has_are_refused_with_those_that_one_may(text, said):
    assert said in said_of(f"device:{text}")


def test_the_least_and_the_most_that_may_be_described_are_devices():
    least = "memory=1MiB,peak=1e6,bandwidth=1e6,link=1e3,efficiency=0.0001,count=1"
    most = "memory=1048576GiB,peak=1e18,bandwidth=1e18,link=1e18,efficiency=1,count=1e6"
    assert topology(f"device:{least}").kind.hbm == 2**20
    assert topology(f"device:{most}").devices == 10**6


@pytest.mark.parametrize(
    ("gpu", "gb_s"), [("h100", 450), ("a100", 300), ("v100", 150), ("l4", 32), ("h100-pcie", 64)]
)
def test_a_gpu_sends_half_of_what_its_links_send_and_receive(gpu, gb_s):
    """NVIDIA's data sheets give both together: H100 SXM 900, A100 600, V100 300 GB/s by NVLink;
    L4 64 by PCI Express 4, H100 PCIe 128 by PCI Express 5."""
    assert GPUS[gpu].link == gb_s * 1e9


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_compiler_counts_as_many_devices_as_a_plan():
    names = ("v2:2x2", "v3:2x2", "v4:2x2x2", "v5e:2x2", "v5p:2x2x2", "v6e:2x2")
    code = (
        "import sys\n"
        "from scaling.planning.compiled import _devices\n"
        "from scaling.planning.devices import topology\n"
        "for name in sys.argv[1:]:\n"
        "    print(name, len(_devices(topology(name))))\n"
    )
    command = [sys.executable, "-c", code, *names]
    found = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    counts = dict(line.split() for line in found.stdout.splitlines() if line.startswith("v"))
    assert counts == {name: f"{topology(name).devices}" for name in names}, found.stderr
