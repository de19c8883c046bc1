"""Every file operation of a study goes wrong once: nothing is lost, no half file believed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIFE = Path(__file__).with_name("faulty_life.py")
KINDS = {"open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="follows descriptors through /proc")


@pytest.mark.parametrize(
    ("every", "offset"),
    [(97, 0), pytest.param(13, 5, marks=pytest.mark.slow)],
    ids=["every-97th", "every-13th"],
)
def test_whatever_file_operation_fails_or_kills_the_rest_is_done_and_tables_are_the_same(
    every, offset
):
    """All of them, in every way: benchmarks/faults.py."""
    command = [sys.executable, str(LIFE), "--every", str(every), "--offset", str(offset)]
    environment = {"PYTHONPATH": str(LIFE.parents[1]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(ended.stdout)
    assert found["operations"].keys() == KINDS
    assert sum(found["tried"].values()) > 2500 / every
    assert found["wrong"] == [], ended.stderr
