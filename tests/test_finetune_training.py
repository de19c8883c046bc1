"""Fine-tuning inside a worker: it begins at what was measured, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from simulated import simulated
from study_texts import GOOD
from test_finetune import a_vtab, task
from test_work import free_port
from test_work import work as in_processes

import scaling.task
from fits.base.errors import UserError
from models.positions import resize_positions
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.trained import trainings as module
from scaling.evaluate.trained.outcomes import FOLDER, Outcome, outcome_text, outcomes, steps_done
from scaling.evaluate.trained.protocols import HyperRule, Sides, SizeClass, ViTProtocol
from scaling.evaluate.trained.trainings import Trainings
from scaling.planning.closed_form import study_cost
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study
from scaling.training import checkpoints
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.initial import on_grid
from scaling.training.leaving import Leaving, Left
from scaling.training.loop import CheckpointPaths
from scaling.training.placement import WHOLE_UP_TO
from scaling.training.recipe import Recipe
from scaling.training.run import Run
from scaling.training.trainer import Trainer
from scaling.watch import Blind
from scaling.worker import Ended, work

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=1, mlp=16, heads=2)
DATA = Procedural(classes=8, heldout_size=1000)
RUN = Run(
    model=NANO,
    data=DATA,
    recipe=Recipe(warmup_steps=2, learning_rate=1e-2),
    images_seen=160,
    batch=16,
)
TUNED = task(protocol=ViTProtocol(resolution=32, steps=6, warmup_steps=2, batch=16, validation=0.1))
ONE_RATE = task(
    protocol=ViTProtocol(resolution=32, steps=6, warmup_steps=2, batch=16, learning_rates=(0.03,))
)
SCRATCH = TUNED.model_copy(update={"scratch_steps": (8,)})
EVERY_STEP = CheckpointSpec(every_steps=1)


def written(root, *evaluations, **more):
    path = root / RUN.id
    write_run_file(path, RUN, evaluations, print, **more)
    return RunFolder(path)


def params(resolution=16):
    """Of a backbone that never saw an image, as a network that was measured has them."""
    from scaling.evaluate.trained.trainings import host_arrays

    run = RUN.model_copy(update={"model": ViTShape(**vars(NANO) | {"resolution": resolution})})
    trainer = Trainer(run)
    return host_arrays(trainer.module(trainer.start().state))


def trainings(folder, **changes):
    paths = CheckpointPaths(folder / "trunk", folder / "own", EVERY_STEP)
    fields = {
        "folder": folder,
        "params": params(),
        "paths": paths,
        "spec": changes.pop("spec", scaling.task.DEFAULT),
        "leaving": Leaving(),
        "watch": Blind(),
    }
    return Trainings(**fields | changes)


@pytest.mark.slow
def test_a_worker_fine_tunes_and_leaves_only_results(tmp_path):
    folder = written(tmp_path, ONE_RATE)
    assert work([folder.path]) == Ended.DONE
    error, rate = folder.results([ONE_RATE])
    assert (error.metric, error.n) == ("digits_finetune_error", 797)
    assert (rate.metric, rate.value) == ("digits_finetune_learning_rate", 0.03)
    assert not (folder.path / FOLDER).exists()
    (done,) = folder.manifest()["finetune"]
    assert (done["steps"], done["error"]) == (6, error.value)
    lines = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == RUN.steps  # of the run itself


@pytest.mark.slow
def test_an_evaluation_that_is_added_later_trains_alone_and_the_manifest_keeps_both(tmp_path):
    folder = written(tmp_path, TUNED)
    assert work([folder.path]) == Ended.DONE
    before = {row.metric: row for row in folder.results()}
    assert before["digits_finetune_error"].n == 797
    assert before["digits_finetune_learning_rate"].value in (0.03, 0.01)
    assert before["digits_finetune_learning_rate"].n == 100
    written(tmp_path, SCRATCH, Upstream())
    assert work([folder.path]) == Ended.DONE
    assert folder.results()[: len(before)] == tuple(before.values())
    errors = {row.metric for row in folder.results([SCRATCH])}
    assert {"digits_finetune_error", "digits_scratch_8steps_error"} <= errors
    assert len(folder.manifest()["finetune"]) == 3 + 6


@pytest.mark.slow
def test_fine_tuning_begins_with_the_network_that_was_measured(tmp_path):
    (run, *_) = TUNED.runs(RUN)
    find = trainings(tmp_path)
    trainer = Trainer(run, begin=lambda: on_grid(find.params, run.model))
    begun = jax.device_get(trainer.start().state.params)
    wanted = dict(find.params)
    wanted["position"] = resize_positions(wanted["position"], 4)
    jax.tree.map(np.testing.assert_array_equal, begun["backbone"], wanted)
    assert begun["head"]["kernel"].shape == (8, 10)
    assert not np.any(begun["head"]["kernel"])


@pytest.mark.slow
def test_told_to_leave_in_the_middle_it_resumes_to_the_same_bits(tmp_path, monkeypatch):
    (run, *_) = TUNED.runs(RUN)
    monkeypatch.setattr(module, "forget", lambda folder, check: None)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    found = trainings(whole)(run)
    leaving, left = Leaving(), []

    class Leaves(Blind):
        def beside(self, name, step, steps):
            if len(left) < 2:
                leaving.status = 143  # of SIGTERM

    while not outcomes(parts):
        try:
            trainings(parts, leaving=leaving, watch=Leaves())(run)
        except Left as error:
            left.append(error.step)
        leaving.status = None
    first, second = left
    assert first < second < run.steps
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained again"))
    again = trainings(parts)(run)
    assert again.model_copy(update={"seconds": found.seconds}) == found
    ends = [
        checkpoints.parameters(folder / FOLDER / run.id / "own" / "6") for folder in (whole, parts)
    ]
    jax.tree.map(np.testing.assert_array_equal, *ends)


@pytest.mark.slow
def test_a_run_whose_lease_is_lost_publishes_nothing_of_its_fine_tuning(tmp_path):
    class Lost(Exception):
        pass

    def guard():
        raise Lost

    find = trainings(tmp_path)
    paths = CheckpointPaths(tmp_path / "trunk", tmp_path / "own", EVERY_STEP, guard=guard)
    (run, *_) = TUNED.runs(RUN)
    with pytest.raises(Lost):
        trainings(tmp_path, paths=paths, params=find.params)(run)
    assert outcomes(tmp_path) == []
    assert not list(tmp_path.rglob("passing"))


@pytest.mark.slow
def test_a_fine_tuning_that_diverges_fails_its_run_and_not_the_trunk(tmp_path):
    wild = ViTProtocol(
        resolution=16, steps=20, warmup_steps=0, batch=16, learning_rates=(1e30,), clip_norm=None
    )
    folder = written(tmp_path, task(protocol=wild))
    assert work([folder.path]) == Ended.FAILED
    assert folder.failure().startswith("digits: fine-tuning diverged: the loss is")
    assert not list(tmp_path.rglob("diverged.json"))


@pytest.mark.slow
def test_a_fine_tuning_whose_last_step_destroys_the_network_has_diverged(tmp_path):
    """Its loss was read before that step and was finite."""
    once = ViTProtocol(
        resolution=16, steps=2, warmup_steps=0, batch=16, learning_rates=(1e25,), clip_norm=None
    )
    (run,) = task(protocol=once).runs(RUN)
    found = trainings(tmp_path)(run)
    assert (found.error, found.n) == (None, 0)
    assert found.reason == "after its last step its scores are no finite numbers"


@pytest.mark.slow
def test_a_fine_tuning_without_memory_stops_its_run_and_says_which_step_had_none(
    tmp_path, monkeypatch
):
    def full(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    folder = written(tmp_path, ONE_RATE)
    monkeypatch.setattr(module, "train", full)
    assert work([folder.path]) == Ended.FAILED
    assert folder.stopped().startswith("nano on digits ran out of the device's memory")
    assert folder.failure() is None


def test_only_images_with_a_label_count_and_a_pre_logits_layer_is_left_behind(
    tmp_path, monkeypatch
):
    """The training itself is replaced; what is measured and begun with is not."""
    (run,) = ONE_RATE.runs(RUN)
    pre_logits = {"kernel": np.ones((8, 12), np.float32), "bias": np.ones(12, np.float32)}
    begun = {}

    class Trained:
        placement = None

        def of(self, run, begin):
            begun.update(begin())
            return self

        def module(self, state):
            return None

    monkeypatch.setattr(module, "_trainer", lambda step: Trained())
    end = SimpleNamespace(seconds=1.0, state=None)
    monkeypatch.setattr(module, "train", lambda *_: end)
    wrong = np.array([0, 1, 1], np.float32)
    monkeypatch.setattr(module, "losses", lambda *_: (wrong, wrong))
    plain = params()
    find = trainings(tmp_path, params={**plain, "pre_logits": pre_logits})
    found = find(run)
    assert (found.n, found.error) == (3, pytest.approx(2 / 3))
    assert {*begun} == {*plain}


def test_an_outcome_that_was_damaged_counts_for_nothing(tmp_path):
    path = tmp_path / FOLDER / "run.json"
    path.parent.mkdir()
    found = Outcome(
        run="run", model="nano", learning_rate=0.1, steps=5, images_seen=80, flops=1.0, seconds=1.0,
        error=0.25, n=100,
    )  # fmt: skip
    path.write_text(outcome_text(found))
    assert outcomes(tmp_path) == [found]
    for text in (path.read_text().replace("0.25", "0.20"), path.read_text()[:-9], "[]", ""):
        path.write_text(text)
        assert outcomes(tmp_path) == []
        assert steps_done(tmp_path) == 0


@pytest.mark.slow
def test_weights_of_another_network_are_refused_in_words(tmp_path):
    (run, *_) = TUNED.runs(RUN)
    there = params()
    del there["blocks"]
    with pytest.raises(UserError, match=r"none as blocks/.* they are of another network"):
        trainings(tmp_path, params=there)(run)


@pytest.mark.slow
def test_hyperrule_trains_with_mixup_at_the_side_of_the_image_area(tmp_path):
    rule = HyperRule(
        sizes=(SizeClass(name="medium", steps=5, mixup=0.1),),
        sides=(Sides(area_below=96 * 96, resize=20, crop=16), Sides(resize=40, crop=32)),
        batch=16,
    )
    evaluation = task(protocol=rule)
    folder = written(tmp_path, evaluation)
    assert work([folder.path]) == Ended.DONE
    (row, rate) = folder.results([evaluation])
    assert (row.metric, row.n, rate.value) == ("digits_finetune_error", 797, 0.003)


@pytest.mark.slow
def test_fine_tuning_learns_digits_and_averages_where_it_is_told_to(tmp_path):
    learning = ViTProtocol(
        resolution=16, steps=400, warmup_steps=10, batch=64, learning_rates=(0.03,)
    )
    flat = learning.model_copy(update={"schedule": "constant", "polyak": 0.9})
    both = [  # a part of a digit is another digit, or none
        task(protocol=learning, crops=False),
        task(name="flat", protocol=ViTProtocol(**flat.model_dump()), crops=False),
    ]
    folder = written(tmp_path, *both)
    assert work([folder.path]) == Ended.DONE
    errors = {row.metric: row.value for row in folder.results() if row.metric.endswith("_error")}
    assert max(errors.values()) < 0.6  # of 0.9 by chance


@pytest.mark.slow
def test_a_vtab_is_measured_whole(tmp_path):
    folder = written(tmp_path, a_vtab())
    assert work([folder.path]) == Ended.DONE
    found = {row.metric: row.value for row in folder.results()}
    groups = [found[f"vtab_{each}_error"] for each in ("natural", "specialized", "structured")]
    assert found["vtab_error"] == pytest.approx(np.mean(groups))


KEPT = """
import sys
from pathlib import Path
import scaling.task
from scaling.evaluate.trained import trainings
from scaling.worker import work

scaling.task.forget = trainings.forget = lambda *_: None  # so that ends can be compared
print(work([Path(sys.argv[1])]).name)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_has_the_bits_of_one_that_was_left_alone(tmp_path, monkeypatch):
    slow = ViTProtocol(resolution=32, steps=6, warmup_steps=2, batch=16, validation=0.1)
    evaluation = task(protocol=slow)
    alone, killed = (
        written(tmp_path / name, evaluation, checkpoints=EVERY_STEP) for name in ("alone", "killed")
    )
    with monkeypatch.context() as patch:
        patch.setattr(module, "forget", lambda *_: None)
        patch.setattr(scaling.task, "forget", lambda *_: None)
        assert work([alone.path]) == Ended.DONE

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", KEPT, str(killed.path)],
            env=simulated(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    for wanted in (8, 14):  # steps: in the second learning rate, and in the end
        process = start()
        end = time.monotonic() + 200
        while steps_done(killed.path) < wanted:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    said, _ = (process := start()).communicate(timeout=300)
    assert process.returncode == 0, said
    rows = [Path(folder.path / "results.jsonl").read_bytes() for folder in (alone, killed)]
    assert rows[0] == rows[1]
    runs = {each["run"] for each in alone.manifest()["finetune"]}
    assert len(runs) == 3
    for run in runs:
        ends = [
            checkpoints.parameters(folder.path / FOLDER / run / "own" / "6")
            for folder in (alone, killed)
        ]
        jax.tree.map(np.testing.assert_array_equal, *ends)


MLP = WHOLE_UP_TO // 8 + 8  # so wide that devices share it
STUDY = (
    GOOD.replace(
        "\n[[grid]]",
        """
[[evaluate]]
kind = "finetune"
name = "tuned"
data = { kind = "digits", resolution = 8 }
protocol = { kind = "vit", resolution = 32, steps = 6, warmup_steps = 2, batch = 16 }

[[grid]]""",
    )
    .replace('["nano", "mu/4"]', '"nano"')
    .replace("[2_560, 5_120]", "320")
    .replace("batch = 128", "batch = 16")
    .replace(
        "patch = 4\nwidth = 32\ndepth = 2\nmlp = 128",
        f"patch = 8\nwidth = 8\ndepth = 1\nmlp = {MLP}",
    )
)


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def tuned(study, runs):
    """Outcomes by learning rate and number of images behind them, of the only run."""
    (run,) = read_study(study).runs
    done = RunFolder(runs / run.id).manifest()["finetune"]
    return {(each["learning_rate"], each["n"]): each["error"] for each in done}


@pytest.mark.slow
def test_two_hosts_that_share_the_state_tune_as_one_does_which_takes_the_flops_of_the_plan(
    study, tmp_path
):
    found = read_study(study)
    (run,) = found.runs
    alone = tmp_path / "one" / run.id
    write_run_file(alone, run, found.evaluate, print)
    assert work([alone]) == Ended.DONE
    words = "--coordinator", f"localhost:{free_port()}", "--processes", "2", "--fsdp", "2"
    processes = [((*words, "--process", str(number)), {}) for number in range(2)]
    statuses, said = in_processes(study, tmp_path / "two", *processes)
    assert statuses == [0, 0], said
    one, two = (tuned(study, tmp_path / name) for name in ("one", "two"))
    assert [n for _, n in sorted(one)].count(20) == 2  # 2 % of 1,000, for each learning rate
    assert {n for _, n in two} == {20, 797}
    for key in one.keys() & two.keys():
        assert two[key] == pytest.approx(one[key], abs=0.1 if key[1] == 20 else 0.01)
    done = RunFolder(alone).manifest()["finetune"]
    planned = study_cost(found).fine_tuning
    assert sum(each["flops"] for each in done) == planned.flops
    assert sum(each["images_seen"] for each in done) == planned.images
