"""Folders that are full or read-only, and a real training in them: it says so, and goes on."""

import subprocess

import pytest
from test_worker import RUN, UPSTREAM

from scaling import worker
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.worker import Ended

pytestmark = [
    pytest.mark.slow,
    # Orbax's writes that fail late call back into its event loop, which the first failure closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def disk(tmp_path):
    """A file system of 300 kB; skipped where this process may not mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=300k", "tmpfs", path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not allowed here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What the run finds where nothing disturbs it."""
    folder = begun(tmp_path_factory.mktemp("quiet"))
    assert worker.work([folder.path]) == Ended.DONE
    return folder.results()


def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def begun(runs):
    write_run_file(runs / RUN.id, RUN, [UPSTREAM], pytest.fail)
    return RunFolder(runs / RUN.id)


def test_a_full_disk_is_named_with_its_place_and_with_more_room_the_run_is_done(disk, wanted):
    folder = begun(disk)
    assert worker.work([folder.path]) == Ended.FAILED
    said = folder.stopped()
    assert "No space left on device" in said
    assert f"{disk / 'trunks' / RUN.trunk}" in said
    assert folder.failure() is None
    mount("-o", "remount,size=64m", disk)
    assert worker.work([folder.path]) == Ended.DONE
    assert folder.results() == wanted
    assert folder.stopped() is None


def test_a_read_only_folder_is_said_and_left_as_it_was(disk, wanted, capfd):
    mount("-o", "remount,size=64m", disk)
    folder = begun(disk)
    mount("-o", "remount,ro", disk)
    before = sorted(disk.rglob("*"))
    assert worker.work([folder.path]) == Ended.FAILED
    said = capfd.readouterr().err
    assert f"{RUN.id}: [Errno 30] Read-only file system: '{folder.path / 'lease'}'" in said
    assert "Traceback" not in said
    assert sorted(disk.rglob("*")) == before
    mount("-o", "remount,rw", disk)
    assert worker.work([folder.path]) == Ended.DONE
    assert folder.results() == wanted
