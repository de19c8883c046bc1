"""Every file operation of a study goes wrong once: nothing is lost, no half file believed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIFE = Path(__file__).with_name("faulty_life.py")
KINDS = {"open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="follows descriptors through /proc")


@pytest.mark.slow
def test_whatever_file_operation_fails_or_kills_the_rest_is_done_and_tables_are_the_same():
    """Every 29th of them; all, in every way: benchmarks/faults.py."""
    found = lives("--every", 29, "--offset", 5)
    assert found["operations"].keys() == KINDS
    assert sum(found["tried"].values()) > 2500 / 29


@pytest.mark.slow
def test_on_a_slow_disk_tables_are_the_same():
    assert lives("--ways", "slow")["tried"] == {"every | slow": 1}


@pytest.mark.parametrize("stages", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_whatever_file_is_cut_emptied_or_flipped_at_any_stage_the_tables_are_the_same(stages):
    found = lives("--damage", stages)
    kinds = {what.partition(" | ")[0] for what in found["tried"]}
    assert {"run.json", "lease", "trunk's checkpoint.json", "trunk's metrics.jsonl"} <= kinds


def lives(*words):
    command = [sys.executable, str(LIFE), *map(str, words)]
    environment = {"PYTHONPATH": str(LIFE.parents[1]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(ended.stdout)
    assert found["wrong"] == [], ended.stderr
    return found
