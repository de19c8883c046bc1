"""A launch as a file, from which any machine can work on it."""

import subprocess
import sys
from pathlib import Path

import pytest
from launched import Pretended, a_study

from fits.base.errors import UserError
from scaling.launch.here import meant
from scaling.launch.jobs import jobs
from scaling.launch.launch import prepare
from scaling.launch.launch_file import FOLDER, read_launch_file, runs_of, write_launch_file
from scaling.launch.launch_spec import LaunchSpec, chosen, ordered, selected
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import read_run_file
from scaling.training.checkpoint_spec import CheckpointSpec

SPEC = LaunchSpec(turns={a_study(1).runs[0].id: 0}, hang_after=60.0)


@pytest.fixture
def launched(tmp_path):
    study = a_study(0, 1, durations=(640, 1280))
    prepare(study, tmp_path, retry=False, say=pytest.fail)
    return study, write_launch_file(study, tmp_path, SPEC)


def test_what_is_read_back_is_what_was_launched(launched, tmp_path):
    study, path = launched
    found, spec = read_launch_file(path)
    assert found == study
    assert spec == SPEC
    assert runs_of(path) == tmp_path
    assert write_launch_file(study, tmp_path, SPEC) == path
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_work_on_a_launch_keeps_the_checkpoints_that_its_study_asks_for(tmp_path):
    """As the hosts of one training do, which write the folders of the launch anew."""
    study = a_study(0).model_copy(update={"checkpoints": CheckpointSpec(every_steps=5)})
    prepare(study, tmp_path, retry=False, say=pytest.fail)
    found = meant(str(write_launch_file(study, tmp_path, SPEC)), tmp_path).study
    prepare(found, tmp_path, retry=False, say=pytest.fail)
    (run,) = study.runs
    assert read_run_file(tmp_path / run.id).checkpoints == study.checkpoints


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not what a launch writes"),
        ('{"study": "x", "question": "", "runs": ["../../etc"], "evaluate": []}', "is not what"),
        (None, "there is no such file"),
    ],
)
def test_a_file_that_is_none_is_said_in_a_sentence(launched, text, said):
    _, path = launched
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_launch_file(path)


def test_a_run_that_is_gone_is_named(launched, tmp_path):
    study, path = launched
    (tmp_path / study.runs[0].id / "run.json").unlink()
    with pytest.raises(UserError, match=study.runs[0].id):
        read_launch_file(path)


def test_work_can_be_named_by_a_launch_or_by_the_folder_of_runs(launched, tmp_path):
    study, path = launched
    assert meant(str(path), Path("elsewhere")) == (study, tmp_path, 60.0)
    found = meant(str(tmp_path), Path("elsewhere"))
    assert (found.runs, found.hang_after) == (tmp_path, None)
    assert {run.id for run in found.study.runs} == {run.id for run in study.runs}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no run"):
        meant(str(empty), Path("elsewhere"))


def test_jobs_that_meet_a_condition_come_first_and_the_longest_among_equals():
    study = a_study(0, 1, 2, durations=(640,))
    longer = a_study(0, durations=(1280,))
    study = study.model_copy(update={"runs": (*study.runs, *longer.runs)})
    queue = jobs(study.runs, {run.id for run in study.runs})

    def seeds(*first):
        _, spec = chosen(study, LaunchSpec(first=first))
        return [job.segments[0].run.seed for job in ordered(queue, spec)]

    assert seeds() == [0, 1, 2]
    assert seeds("seed=2") == [2, 0, 1]
    assert seeds("seed=2", "seed=1") == [2, 1, 0]
    assert seeds("images_seen=1_280", "seed!=1") == [0, 2, 1]
    assert selected(longer, ["images_seen=1_280"]) == longer


@pytest.mark.slow
def test_a_pool_ends_when_others_are_at_all_that_is_left(launched, tmp_path, monkeypatch):
    """Elsewhere a worker is at each run; this pool waits no longer than it was told."""
    from scaling.launch import node

    study, path = launched
    monkeypatch.setattr(node, "IDLE_FOR", 2.0)
    broken = Pretended(workers=1, idle_for=2.0).with_command(lambda folders: ["false"])
    monkeypatch.setattr(node, "Local", lambda **fields: broken)
    held = [hold_run(tmp_path / run.id) for run in study.runs]
    for each in held:
        each.__enter__()
    assert node.work_on(path, 1, 1, pin=False) == 75
    for each in held:
        each.__exit__(None, None, None)


@pytest.mark.slow
def test_a_pool_without_a_launch_is_said_in_a_sentence(tmp_path):
    command = [sys.executable, "-m", "scaling", "pool", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    assert "Traceback" not in done.stderr
