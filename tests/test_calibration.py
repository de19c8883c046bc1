"""The file of measurements that plans read: what is written, passed over, and nearest."""

import json
import math
import os

import pytest

from scaling.planning import calibration
from scaling.planning.calibration import Measurement, nearest, read, record
from scaling.planning.devices import TPUS


def a_measurement(**fields):
    found = {
        "device_kind": "TPU v3",
        "platform": "tpu",
        "model": "B/16",
        "compute": "bfloat16",
        "remat": "none",
        "update": "plain",
        "images_per_device": 8,
        "devices": 8,
        "flops_an_image": 1e11,
        "seconds": 0.1,
    }
    return Measurement(**{**found, **fields})


def test_what_is_recorded_is_read_again(tmp_path):
    path = tmp_path / "new" / "calibration.jsonl"
    two = a_measurement(), a_measurement(seconds=0.2, peak_bytes=5e9, versions={"jax": "1"})
    assert all(record(each, path) for each in two)
    assert read(path) == list(two)


def test_a_measurement_is_one_write_at_the_end_of_the_file(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(calibration.os, "write", lambda handle, data: written.append(data))
    record(a_measurement(), tmp_path / "c.jsonl")
    assert len(written) == 1
    assert written[0].endswith(b"}\n")


def test_damaged_lines_are_passed_over(tmp_path):
    path = tmp_path / "c.jsonl"
    record(a_measurement(), path)
    good = path.read_text()
    damaged = ["{", "[]", "null", "3", '{"model": "B/16"}', good[: len(good) // 2], "\x00\x01"]
    damaged += ["[" * 100_000, good.rstrip()[:-1] + ', "more": ' + "[" * 100_000, "9" * 100_000]
    path.write_text("\n".join(damaged) + "\n" + good)
    assert read(path) == [a_measurement()]
    assert read(tmp_path / "absent.jsonl") == []


NO_NUMBER = [0, -1, -1e-3, 1e-320, 1e300, 10**400, math.inf, math.nan, "1", True, None, [1.0]]
NO_TEXT = [5, None, True, ["B/16"], {"a": "B/16"}]
IMPOSSIBLE = {
    **dict.fromkeys(("seconds", "flops_an_image", "images_per_device"), NO_NUMBER),
    **{key: [*NO_NUMBER, 1.5] for key in ("devices", "fsdp")},
    **dict.fromkeys(("device_kind", "platform", "model", "compute", "remat", "update"), NO_TEXT),
    "peak_bytes": [-1, math.inf, "1", True],
    "versions": [None, 3, [], {"jax": 1}],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, each) for field, values in IMPOSSIBLE.items() for each in values]
)
def test_a_line_that_says_what_no_training_can_have_taken_is_passed_over(field, value, tmp_path):
    path = tmp_path / "c.jsonl"
    record(a_measurement(), path)
    good = path.read_text()
    path.write_text(json.dumps({**json.loads(good), field: value}) + "\n" + good)
    assert read(path) == [a_measurement()]


def test_measurements_as_far_apart_as_a_file_can_hold_give_a_finite_rate():
    slow = a_measurement(model="S/16", flops_an_image=1e-12, images_per_device=1e-12, seconds=1e30)
    fast = a_measurement(model="L/16", flops_an_image=1e30, images_per_device=1e30, seconds=1e-12)
    assert 0 < look([slow, fast], flops_an_image=1e11).flops_a_second < math.inf


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_loses_the_measurement_alone(tmp_path):
    tmp_path.chmod(0o500)
    assert not record(a_measurement(), tmp_path / "c.jsonl")


def test_a_file_in_the_folders_place_loses_the_measurement_alone(tmp_path):
    (tmp_path / "file").write_text("")
    assert not record(a_measurement(), tmp_path / "file" / "c.jsonl")


def look(measurements, **fields):
    asked = {
        "is_called": TPUS["v3"].is_called,
        "compute": "bfloat16",
        "model": "B/16",
        "flops_an_image": 1e11,
        "preferred": {"devices": 8},
        **fields,
    }
    return nearest(measurements, **asked)


def test_the_median_of_the_same_model_on_the_same_devices_counts():
    there = [a_measurement(seconds=seconds) for seconds in (0.1, 0.2, 0.8)]
    others = [
        a_measurement(device_kind="TPU v4", seconds=0.01),
        a_measurement(model="S/16", seconds=0.01),
        a_measurement(compute="float32", seconds=0.01),
        a_measurement(devices=1, seconds=0.01),
    ]
    found = look(there + others)
    assert (found.count, found.same_model) == (3, True)
    assert found.flops_a_second == pytest.approx(1e11 * 8 / 0.2)
    assert look(others[:1]) is None


def test_a_model_that_was_not_measured_lies_between_those_that_were():
    small = a_measurement(model="S/16", flops_an_image=1e10, seconds=0.08)  # 1e12 a second
    large = a_measurement(model="L/16", flops_an_image=1e12, seconds=2.0)  # 4e12 a second
    found = look([small, large])
    assert not found.same_model
    assert found.flops_a_second == pytest.approx(2e12)
    assert look([small, large], flops_an_image=1e9).flops_a_second == pytest.approx(1e12)


def test_another_network_of_the_same_name_is_another_model():
    """Names of [models] are a study's own, and one of the zoo costs more at a higher resolution."""
    other = a_measurement(flops_an_image=1e8, seconds=0.0008)  # 1e12 a second
    large = a_measurement(model="L/16", flops_an_image=1e12, seconds=2.0)  # 4e12 a second
    found = look([other, other, large], flops_an_image=1e10)
    assert not found.same_model
    assert found.flops_a_second == pytest.approx(2e12)
    classes = a_measurement(flops_an_image=1.01e10, seconds=0.08)  # of a head
    assert look([other, classes, large], flops_an_image=1e10).count == 1


def test_networks_of_one_name_are_medians_of_their_own():
    there = [a_measurement(model="small", flops_an_image=x, seconds=x / 1e12) for x in (1e8, 1e12)]
    fast = a_measurement(model="small", flops_an_image=1e12, seconds=0.5)
    found = look([*there, fast, fast], flops_an_image=1e12)
    assert found.flops_a_second == pytest.approx(1e12 * 8 / 0.5)
