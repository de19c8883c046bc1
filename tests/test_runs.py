"""Run folders: what is to be done, what is measured, and what happens to files that are damaged."""

import json
import math
import os
from collections import defaultdict

import pytest

from fits.base.files import write_text
from models.shapes import ViTShape
from scaling.base.config import digest
from scaling.base.files import set_aside
from scaling.data.procedural.source import Procedural
from scaling.evaluate import FewShot, Upstream
from scaling.evaluate.measured import Measured
from scaling.runs import trunk_folder
from scaling.runs.begun import as_begun
from scaling.runs.damage import DamagedRun, text_of
from scaling.runs.held_run import hold_run, hold_run_if_free
from scaling.runs.results_file import ResultRow
from scaling.runs.run_file import read_run_file, write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

RUN = Run(
    model=ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2),
    data=Procedural(),
    recipe=Recipe(warmup_steps=1),
    images_seen=640,
    batch=64,
)
UPSTREAM = Upstream(images=100)
TRANSFER = FewShot(name="shapes", data=Procedural(seed=1), shots=(1,))


@pytest.fixture
def path(tmp_path):
    """The folder of `RUN`, its lease free."""
    path = tmp_path / "runs" / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    return path


@pytest.fixture
def folder(path):
    """The folder of `RUN`, its lease held."""
    with hold_run(path) as folder:
        yield folder


def found(evaluation, value=0.25):
    return evaluation, [Measured(name, value, 100) for name in evaluation.metrics]


def finished(folder):
    folder.finish([found(UPSTREAM)], {"seconds": 2.5})
    return folder


# The run as it was written


def test_a_run_read_back_from_its_folder_is_the_same_run(folder):
    assert folder.read() == (RUN, (UPSTREAM,))


def test_run_json_spells_out_defaults(folder):
    assert json.loads((folder.path / "run.json").read_text())["run"]["recipe"]["beta1"] == 0.9


def test_asking_again_for_no_more_leaves_run_json_alone(folder):
    write_run_file(folder.path, RUN, [UPSTREAM, TRANSFER], pytest.fail)
    before = (folder.path / "run.json").stat().st_ino
    write_run_file(folder.path, RUN, [UPSTREAM], pytest.fail)
    assert (folder.path / "run.json").stat().st_ino == before
    assert folder.read()[1] == (UPSTREAM, TRANSFER)


def test_two_studies_that_share_a_run_keep_each_others_evaluations(folder):
    write_run_file(folder.path, RUN, [TRANSFER], pytest.fail)
    write_run_file(folder.path, RUN, [Upstream(images=200), UPSTREAM], pytest.fail)
    assert folder.read() == (RUN, (UPSTREAM, TRANSFER, Upstream(images=200)))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:100]), id="torn"),
        pytest.param(lambda path: path.write_bytes(b"\xff\x00\xfe"), id="not-text"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="nested-without-end"),
        pytest.param(lambda path: path.write_text("{}"), id="another-json"),
        pytest.param(
            lambda path: path.write_text(path.read_text().replace('"batch": 64', '"batch": 32')),
            id="edited",
        ),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a-folder"),
    ],
)
def test_a_damaged_run_json_is_said_kept_aside_and_written_anew(folder, damage):
    damage(folder.path / "run.json")
    with pytest.raises(DamagedRun, match=r"run\.json"):
        folder.read()
    said = []
    write_run_file(folder.path, RUN, [UPSTREAM], said.append)
    assert folder.read() == (RUN, (UPSTREAM,))
    assert (folder.path / "run.json.damaged-1").exists()
    assert len(said) == 1
    assert "run.json.damaged-1" in said[0]


def test_a_file_in_place_of_the_folder_is_kept_aside(tmp_path):
    path = tmp_path / RUN.id
    path.write_text("not a folder")
    said = []
    write_run_file(path, RUN, [UPSTREAM], said.append)
    assert RunFolder(path).read()[0] == RUN
    assert said == [f"{path} is not a folder; kept aside as {RUN.id}.damaged-1."]


# What was measured


def test_what_was_measured_is_read_back_once_it_is_confirmed(folder):
    finished(folder)
    assert folder.is_done([UPSTREAM])
    assert [(row.metric, row.value, row.n) for row in folder.results()] == [
        ("upstream_loss", 0.25, 100),
        ("upstream_error", 0.25, 100),
    ]
    assert folder.manifest()["seconds"] == 2.5


def test_values_come_back_with_every_bit(folder):
    folder.finish([found(UPSTREAM, math.pi / 10)], {})
    assert folder.results()[0].value == math.pi / 10


def test_rows_without_a_manifest_are_no_results_and_the_next_finish_replaces_them(folder):
    finished(folder)
    (folder.path / "manifest.json").unlink()
    assert folder.results() == ()
    assert not folder.is_done([UPSTREAM])
    folder.finish([found(UPSTREAM, 0.5)], {})
    assert [row.value for row in folder.results()] == [0.5, 0.5]


def test_a_second_study_adds_its_evaluation_and_the_first_keeps_its_rows(folder):
    finished(folder)
    assert not folder.is_done([UPSTREAM, TRANSFER])
    folder.finish([found(TRANSFER, 0.75)], {"seconds": 3.0})
    assert folder.is_done([UPSTREAM, TRANSFER])
    assert {row.evaluation for row in folder.results([UPSTREAM])} == {digest(UPSTREAM)}
    assert len(folder.results()) == 3


def test_the_same_metric_measured_otherwise_is_another_result(folder):
    finished(folder)
    assert not folder.is_done([Upstream(images=200)])
    assert folder.results([Upstream(images=200)]) == ()


def test_a_kill_between_row_and_manifest_leaves_what_was_confirmed_before(folder):
    finished(folder)
    manifest = (folder.path / "manifest.json").read_bytes()
    folder.finish([found(TRANSFER)], {})
    (folder.path / "manifest.json").write_bytes(manifest)  # as if killed before the rename
    folder.repair(pytest.fail)
    assert folder.is_done([UPSTREAM])
    assert not folder.is_done([UPSTREAM, TRANSFER])
    folder.finish([found(TRANSFER)], {})
    assert folder.is_done([UPSTREAM, TRANSFER])
    assert len((folder.path / "results.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("tail", [b"\x00\xff\n", b'{"evaluation": "0', b"?\n" * 3])
def test_an_append_that_was_torn_takes_nothing_from_what_is_confirmed(folder, tail):
    results = finished(folder).path / "results.jsonl"
    confirmed = results.read_bytes()
    results.write_bytes(confirmed + tail)
    assert folder.is_done([UPSTREAM])
    folder.repair(pytest.fail)
    folder.finish([found(TRANSFER)], {})
    assert results.read_bytes().startswith(confirmed)
    assert tail not in results.read_bytes()
    assert folder.is_done([UPSTREAM, TRANSFER])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_no_result(folder, value):
    with pytest.raises(ValueError, match="finite"):
        folder.finish([found(UPSTREAM, value)], {})
    assert not (folder.path / "results.jsonl").exists()
    assert not (folder.path / "manifest.json").exists()


def test_measuring_the_same_thing_twice_is_refused_and_nothing_is_written(folder):
    before = (finished(folder).path / "results.jsonl").read_bytes()
    with pytest.raises(DamagedRun, match="a second time"):
        folder.finish([found(UPSTREAM)], {})
    assert (folder.path / "results.jsonl").read_bytes() == before
    assert folder.is_done([UPSTREAM])


def _change_a_digit(path):
    path.write_text(path.read_text().replace("0.25", "0.24", 1))


DAMAGES = {
    "results-torn": ("results.jsonl", lambda path: path.write_bytes(path.read_bytes()[:-5])),
    "results-cut-after-a-line": (
        "results.jsonl",
        lambda path: path.write_text(path.read_text().splitlines(keepends=True)[0]),
    ),
    "results-changed": ("results.jsonl", _change_a_digit),
    "results-empty": ("results.jsonl", lambda path: path.write_text("")),
    "results-gone": ("results.jsonl", lambda path: path.unlink()),
    "manifest-torn": ("manifest.json", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "manifest-empty": ("manifest.json", lambda path: path.write_text("")),
    "manifest-garbage": ("manifest.json", lambda path: path.write_bytes(os.urandom(64))),
    "manifest-no-object": ("manifest.json", lambda path: path.write_text("[1]")),
    "manifest-changed": (
        "manifest.json",
        lambda path: path.write_text(path.read_text().replace('"seconds": 2.5', '"seconds": 1.5')),
    ),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_results_are_said_kept_aside_and_count_for_nothing(folder, name, damage):
    damage(finished(folder).path / name)
    with pytest.raises(DamagedRun, match=str(folder.path)):
        folder.results()
    assert not folder.is_done([UPSTREAM])
    said = []
    folder.repair(said.append)
    assert len(said) == 1
    assert str(folder.path) in said[0]
    assert "manifest.json.damaged-1" in said[0]
    assert (folder.path / "manifest.json.damaged-1").exists()
    assert folder.results() == ()
    assert finished(folder).is_done([UPSTREAM])


def test_torn_results_of_an_unfinished_run_are_said_and_kept_aside(folder):
    (folder.path / "results.jsonl").write_text('{"evaluation": "0')
    said = []
    folder.repair(said.append)
    assert "line 1 is torn" in said[0]
    assert (folder.path / "results.jsonl.damaged-1").exists()


def test_a_whole_folder_needs_no_repair(folder):
    folder.report(step=1, steps=10, phase="train")
    folder.repair(pytest.fail)
    finished(folder).repair(pytest.fail)


def test_repeated_damage_is_numbered(folder):
    for n in (1, 2):
        (folder.path / "results.jsonl").write_text("?")
        folder.repair(lambda line: None)
        assert (folder.path / f"results.jsonl.damaged-{n}").exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"evaluation": "0", "metric": "m", "value": NaN, "n": 1}',
        '{"evaluation": "0", "metric": "m", "value": "0.5", "n": 1}',
        '{"evaluation": "0", "metric": "m", "value": 0.5, "n": 0}',
        '{"evaluation": "0", "metric": "m", "value": 0.5}',
        '{"evaluation": "0", "metric": "m", "value": 0.5, "n": 1, "more": 1}',
    ],
)
def test_a_line_that_is_no_result_is_damage(folder, line):
    (folder.path / "results.jsonl").write_text(line + "\n")
    said = []
    folder.repair(said.append)
    assert "line 1 is not a result" in said[0]


# How it stands


def test_a_failed_run_has_a_reason_and_no_row(path):
    row = ResultRow(evaluation="0", metric="m", value=0.5, n=1)
    (path / "results.jsonl").write_text(row.model_dump_json() + "\n")
    with hold_run(path) as folder:
        folder.fail("the loss is nan at step 7.")
    assert folder.status([UPSTREAM]) == "failed"
    assert folder.failure() == "the loss is nan at step 7."
    assert not (path / "results.jsonl").exists()


def test_failing_at_a_second_study_takes_nothing_from_the_first(path):
    with hold_run(path) as folder:
        finished(folder).fail("the transfer data is gone.")
    assert folder.is_done([UPSTREAM])
    assert folder.status([UPSTREAM, TRANSFER]) == "failed"


def test_a_failure_that_is_cleared_waits_again(path):
    with hold_run(path) as folder:
        folder.fail("no memory.")
    assert folder.status([UPSTREAM]) == "failed"
    with hold_run(path) as folder:
        folder.clear_failure()
    assert folder.status([UPSTREAM]) == "waiting"
    assert folder.failure() is None


def test_finishing_forgets_an_earlier_failure(folder):
    folder.fail("no memory.")
    assert finished(folder).failure() is None


def test_a_run_is_running_as_long_as_its_lease_is_held(tmp_path):
    path = tmp_path / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    with hold_run(path) as held:
        assert held.status([UPSTREAM]) == "running"
        with hold_run_if_free(path) as mine:
            assert mine is None
    assert RunFolder(path).status([UPSTREAM]) == "waiting"
    with hold_run_if_free(path) as mine:
        assert mine is not None
        assert RunFolder(path).status([UPSTREAM]) == "running"


def test_the_last_report_is_read_back(folder):
    folder.report(step=3, steps=10, phase="train", images_per_second=12.5, loss=0.5)
    progress = folder.progress()
    assert (progress.step, progress.steps, progress.loss) == (3, 10, 0.5)
    assert progress.pid == os.getpid()


def test_reports_are_written_once_a_second_and_at_every_new_phase(folder, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("scaling.runs.held_run.time.monotonic", lambda: clock[0])
    seen = []
    for step, (now, phase) in enumerate(
        [(0.0, "train"), (0.5, "train"), (0.9, "train"), (1.0, "train"), (1.1, "evaluate")]
    ):
        clock[0] = now
        folder.report(step=step, steps=10, phase=phase)
        seen.append(folder.progress().step)
    assert seen == [0, 0, 0, 3, 4]


def test_a_loss_that_is_not_finite_is_reported_as_none(folder):
    folder.report(step=1, steps=10, phase="train", loss=math.nan)
    assert folder.progress().loss is None


@pytest.mark.parametrize("text", ["", "{", '{"step": "two"}', "[]"])
def test_a_report_that_cannot_be_read_is_said_and_kept_aside(folder, text):
    (folder.path / "progress.json").write_text(text)
    assert folder.progress() is None
    said = []
    folder.repair(said.append)
    assert "progress.json.damaged-1" in said[0]


def test_a_trunk_lies_beside_its_runs_and_longer_runs_share_it(folder):
    longer = RUN.model_copy(update={"images_seen": 1280})
    trunk = TrunkFolder.of(folder, RUN)
    assert trunk.path == folder.path.parent / "trunks" / RUN.trunk
    assert TrunkFolder.of(folder, longer).path == trunk.path


def test_a_divergence_stands_in_the_way_of_later_steps_alone_until_it_is_cleared(folder):
    with hold_trunk(TrunkFolder.of(folder, RUN).path) as trunk:
        trunk.diverge(100, "the loss is nan.")
        assert trunk.divergence(99) is None
        assert trunk.divergence(100) == "the loss is nan."
        trunk.clear_divergence()
        assert trunk.divergence(100) is None


def test_of_runs_of_other_trunks_no_more_is_read_than_tells_them_apart_and_that_once(
    path, monkeypatch
):
    longer = RUN.model_copy(update={"images_seen": 1280})
    others = [RUN.model_copy(update={"seed": seed}) for seed in (1, 2)]
    for run in (longer, *others):
        write_run_file(path.parent / run.id, run, [UPSTREAM], pytest.fail)
    (path.parent / "damaged").mkdir()
    (path.parent / "damaged" / "run.json").write_text("[")
    at_all, whole = [], []

    def counted(read, reads):
        return lambda path: reads.append(path) or read(path)

    monkeypatch.setattr(trunk_folder, "text_of", counted(text_of, at_all))
    monkeypatch.setattr(trunk_folder, "read_run_file", counted(read_run_file, whole))
    monkeypatch.setattr(trunk_folder, "_OF_OTHERS", defaultdict(dict))
    branches = {RUN.branch_step, longer.branch_step}, set()
    assert trunk_folder._branches_of(path.parent, RUN) == branches
    assert {each.name for each in whole} == {RUN.id, longer.id}
    assert len(at_all) == 5
    assert trunk_folder._branches_of(path.parent, longer) == branches
    assert len(at_all) == 5 + 3
    assert trunk_folder._branches_of(path.parent, others[0]) == ({others[0].branch_step}, set())


def test_a_run_that_leaves_out_what_is_the_default_may_be_of_the_same_trunk(path):
    told = json.loads((path / "run.json").read_text())
    written = told["run"]
    del written["seed"], written["recipe"]["optimizer"], told["trunk"]
    (path / "run.json").write_text(json.dumps(told))
    assert trunk_folder._branches_of(path.parent, RUN) == ({RUN.branch_step}, set())


def test_a_run_file_that_names_another_trunk_was_edited(path):
    told = json.loads((path / "run.json").read_text())
    assert told["trunk"] == RUN.trunk
    (path / "run.json").write_text(json.dumps(told | {"trunk": "0123"}))
    with pytest.raises(DamagedRun, match=f"the trunk is 0123, and by its run it is {RUN.trunk}"):
        read_run_file(path)


# Files


def test_a_write_that_is_interrupted_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted(*_):
        raise InterruptedError

    monkeypatch.setattr("fits.base.files.os.replace", interrupted)
    with pytest.raises(InterruptedError):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_setting_aside_works_for_folders_too(tmp_path):
    (tmp_path / "7").mkdir()
    assert set_aside(tmp_path / "7").name == "7.damaged-1"


def test_a_study_that_leaves_its_dtype_open_goes_on_with_that_of_its_folder(tmp_path):
    study = Study(name="s", question="?", runs=(RUN,), evaluate=(UPSTREAM,), compute_open=True)
    assert as_begun(study, tmp_path).runs == (RUN,)
    (there,) = as_begun(study, tmp_path, "bfloat16").runs
    assert there.compute == "bfloat16"
    assert there.id != RUN.id
    write_run_file(tmp_path / there.id, there, (UPSTREAM,), print)
    assert as_begun(study, tmp_path).runs == (there,)
    given = study.model_copy(update={"compute_open": False})
    assert as_begun(given, tmp_path, "bfloat16") is given
