"""What lies in the repository is the project's own."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked(*options):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.split("\0") if line]


def test_no_file_of_one_machine_is_tracked():
    """A `.venv` that is a link is ignored as the folder is: a checkout would replace the folder."""
    assert tracked("--cached", "--ignored", "--exclude-standard") == []
    assert [line for line in tracked("--stage") if line.startswith("120000")] == []
