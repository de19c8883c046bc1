"""What is said where nobody reads, and tables of text."""

import subprocess
import sys
from pathlib import Path

import pytest

from scaling.base.console import print_table

SAYS = """
import sys
from scaling.base.console import note, say
for k in range(3):
    say(f"line {k}")
    note(f"note {k}")
sys.exit(7)
"""
FULL = Path("/dev/full")


def ended(**streams):
    return subprocess.run([sys.executable, "-c", SAYS], text=True, **streams)


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_full_disk_under_standard_output_is_said_once_and_changes_no_exit_status():
    with FULL.open("w") as full:
        done = ended(stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 7
    assert done.stderr.splitlines() == [
        "standard output: No space left on device; going on without.",
        *(f"note: note {k}" for k in range(3)),
    ]


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_full_disk_under_the_log_of_a_worker_changes_no_exit_status():
    with FULL.open("w") as full:
        assert ended(stdout=full, stderr=full).returncode == 7


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    ("command", "words", "status"),
    [
        (("scaling.cli.main", "models"), "standard output: No space left on device.\n", 1),
        (("fits.fit_laws", "-h"), "fit-laws: standard output: No space left on device.\n", 2),
        (("fits.fit_laws", "schema"), "fit-laws: standard output: No space left on device.\n", 2),
    ],
)
def test_a_command_whose_output_has_no_room_names_it(command, words, status):
    module, *arguments = command
    program = f"import sys; from {module} import main; sys.exit(main())"
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.stderr, done.returncode) == (words, status)


def test_numbers_stand_right_and_names_left(capsys):
    print_table(("name", "runs", "state"), [("a", "7", "x"), ("long", "1_000", "")], ("name",))
    assert capsys.readouterr().out.splitlines() == [
        "name   runs  state",
        "a         7      x",
        "long  1_000",
    ]
