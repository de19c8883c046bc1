"""metrics.jsonl: one line a look, none twice and none out of order, whatever was killed."""

import json
import math

import jax
import pytest
from test_training import run

from scaling.evaluate import Upstream
from scaling.planning.devices import peak_flops
from scaling.runs.held_run import hold_run
from scaling.runs.lease import LeaseLost
from scaling.runs.metrics_file import MetricsLine, MetricsWriter, curve, read_lines
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder, hold_trunk
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.loop import CheckpointPaths, train
from scaling.training.metrics import utilisation
from scaling.training.recipe import schedule
from scaling.training.trainer import Trainer
from scaling.watch import Watch


def line(step, seconds=1.0):
    return MetricsLine(
        step=step,
        images_seen=16 * step,
        loss=2.0,
        learning_rate=1e-3,
        gradient_norm=0.5,
        images_per_second=None,
        mfu=None,
        memory_bytes=None,
        seconds=seconds,
    )


def steps_of(folder):
    return [
        json.loads(text)["step"] for text in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def nothing():
    pass


# The file


def test_lines_past_the_checkpoint_that_training_resumes_from_are_dropped(tmp_path):
    first = MetricsWriter(tmp_path, 20, nothing)
    for since, step in ((0, 1), (1, 5), (5, 12)):
        first.write(line(step), since)
    resumed = MetricsWriter(tmp_path, 20, nothing)
    resumed.write(line(9, seconds=7.0), since=8)
    resumed.write(line(20), since=9)
    assert steps_of(tmp_path) == [1, 5, 9, 20]


def test_a_torn_line_counts_for_nothing_and_is_not_written_on(tmp_path):
    MetricsWriter(tmp_path, 20, nothing).write(line(1), 0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "ima')
    assert [each.step for each in read_lines(tmp_path)] == [1]
    MetricsWriter(tmp_path, 20, nothing).write(line(6), 1)
    assert steps_of(tmp_path) == [1, 6]


def test_a_shorter_run_that_trains_the_trunk_anew_leaves_a_longer_ones_lines(tmp_path):
    longer = MetricsWriter(tmp_path, 32, nothing)
    for since, step in ((0, 3), (3, 20), (20, 32)):
        longer.write(line(step), since)
    shorter = MetricsWriter(tmp_path, 8, nothing)
    for since, step in ((0, 1), (1, 8)):
        shorter.write(line(step), since)
    assert [each.step for each in read_lines(tmp_path)] == [1, 8, 20, 32]


def test_a_column_that_a_later_version_adds_is_not_read(tmp_path):
    later = {**line(1).model_dump(), "temperature": 3}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(later) + "\n")
    assert read_lines(tmp_path) == [line(1)]


def test_who_has_lost_the_folder_writes_no_line(tmp_path):
    def lost():
        raise LeaseLost("another process has taken over.")

    with pytest.raises(LeaseLost):
        MetricsWriter(tmp_path, 20, lost).write(line(1), 0)
    assert list(tmp_path.iterdir()) == []


# A training


@pytest.fixture(scope="module")
def trainer():
    return Trainer(run(20))


@pytest.fixture
def trained(trainer, tmp_path, monkeypatch):
    """Trains a run as a worker does, looking after every step; returns its folder."""
    monkeypatch.setattr("scaling.training.trainer.LOOK_EVERY", 0.0)

    def trained(run, stop_after=None):
        folder = RunFolder(tmp_path / run.id)
        write_run_file(folder.path, run, [Upstream()], pytest.fail)
        trunk_path = TrunkFolder.of(folder, run).path
        with hold_run(folder.path) as held, hold_trunk(trunk_path) as trunk:
            watch = Watch(run, held, trunk)
            every = CheckpointSpec(every_seconds=1e-9 if stop_after else 1e9)
            places = CheckpointPaths(trunk.path, held.checkpoints, every)

            def tell(progress):
                watch.tell(progress)
                if progress.step == stop_after:
                    raise KeyboardInterrupt

            try:
                train(trainer, run, places, tell)
            except KeyboardInterrupt:
                assert stop_after is not None
        return folder

    return trained


@pytest.mark.slow
def test_a_reader_of_one_run_gets_the_whole_curve_from_the_first_step_to_the_end(trained):
    short, long = run(10), run(20)
    trained(short)
    folder = trained(long)
    found = curve(folder, long)
    assert [each.step for each in found] == list(range(1, 21))
    assert [each.images_seen for each in found] == [16 * k for k in range(1, 21)]
    rates = [1e-2 * schedule(long.recipe, k, 20) for k in range(20)]
    assert [each.learning_rate for each in found] == pytest.approx(rates)
    assert all(each.loss > 0 and each.gradient_norm > 0 for each in found)
    assert found == sorted(found, key=lambda each: each.seconds)
    assert steps_of(folder.path) == [17, 18, 19, 20]  # the trunk's are the trunk's
    assert [each.step for each in curve(RunFolder(folder.path.parent / short.id), short)] == (
        list(range(1, 11))
    )


@pytest.mark.slow
@pytest.mark.parametrize("killed", [3, 18])
def test_a_training_that_was_killed_leaves_no_step_twice_or_out_of_order(trained, killed):
    whole = run(20)
    trained(whole, stop_after=killed)
    folder = trained(whole)
    trunk = TrunkFolder.of(folder, whole).path
    assert steps_of(trunk) + steps_of(folder.path) == list(range(1, 21))


def test_the_first_look_of_a_process_which_may_have_compiled_has_no_speed(trained):
    folder = trained(run(20))
    speeds = [each.images_per_second for each in curve(folder, run(20))]
    assert [step + 1 for step, speed in enumerate(speeds) if speed is None] == [1, 17]


# Devices


def test_utilisation_counts_six_flops_a_multiply_add_of_all_devices():
    one = run(20)
    per_image = one.flops / one.images_seen
    assert utilisation(one, 100.0, 4 * per_image, 50) == pytest.approx(0.5)
    assert utilisation(one, None, 1e12, 1) is None
    assert utilisation(one, 100.0, None, 1) is None


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [
        ("TPU v3", 61.5),
        ("TPU v5 lite", 197),
        ("TPU v5p", 459),
        ("TPU v6 lite", 918),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
    ],
)
def test_the_peak_of_a_device_follows_from_what_jax_calls_it(kind, tflops):
    assert math.isclose(peak_flops(kind), tflops * 1e12)


def test_of_a_cpu_and_of_unknown_devices_no_peak_is_known():
    assert peak_flops(jax.devices("cpu")[0].device_kind) is None
    assert peak_flops("NVIDIA GeForce 256") is None
    assert peak_flops("TPU v99") is None
