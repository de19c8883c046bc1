"""Run folders in a bucket, against an S3-compatible server: as good as a folder on a disk."""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from s3_server import BUCKET, Server, environment, make_bucket

from fits.base.errors import UserError
from models.shapes import ViTShape
from scaling.base import storage
from scaling.base.files import set_aside
from scaling.base.storage import create, place
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.evaluate.measured import Measured
from scaling.launch.launch_file import write_launch_file
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.ray.launcher import Ray
from scaling.launch.slurm.launcher import Slurm
from scaling.runs import lease, metrics_parts
from scaling.runs.clean import clean
from scaling.runs.held_run import hold_run
from scaling.runs.lease import LeaseLost, hold, hold_if_free, is_held
from scaling.runs.metrics_file import MetricsLine, MetricsWriter, read_lines
from scaling.runs.run_file import read_run_file, write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import hold_trunk
from scaling.study.study import Study
from scaling.training import checkpoints
from scaling.training.checkpoints import Checkpoint, Damaged
from scaling.training.recipe import Recipe
from scaling.training.run import Run

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = Upstream(images=100)
RUN = Run(
    model=ViTShape(name="tiny", patch=4, resolution=16, width=32, depth=1, mlp=64, heads=2),
    data=Procedural(),
    recipe=Recipe(warmup_steps=1),
    images_seen=640,
    batch=64,
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore|aiobotocore|moto")


@pytest.fixture(scope="module")
def served():
    with Server().running() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(server).items():
            patch.setenv(name, value)
        storage._store.cache_clear()
        storage._check_bucket.cache_clear()
        make_bucket()
        yield server
        storage._store.cache_clear()
        storage._check_bucket.cache_clear()
        sys.modules["fsspec"].filesystem("s3").clear_instance_cache()


@pytest.fixture
def server(served):
    served.puts.clear()
    served.conditions.clear()
    yield served
    served.ignores_conditions, served.loses_answers, served.refuses = False, 0, None


@pytest.fixture
def there(server):
    """A name in the bucket below which nothing lies yet."""
    return place(f"s3://{BUCKET}/{uuid.uuid4().hex}")


def names(folder):
    return [path.key[len(folder.key) + 1 :] for path, _ in folder.below()]


def texts(folder):
    return {path.key: path.read_bytes() for path, _ in folder.below()}


# Paths


def test_a_path_in_a_bucket_has_what_a_path_on_a_disk_has(there):
    file = there / "a" / "7.held"
    assert (file.name, file.stem, file.suffix) == ("7.held", "7", ".held")
    assert file.parent == there / "a"
    assert file.with_suffix(".free") == there / "a" / "7.free"
    assert str(place(str(file))) == str(file) == f"s3://{file.key}"
    assert not file.exists()
    assert not there.is_dir()
    file.write_bytes(b"x")
    assert file.exists()
    assert there.is_dir()
    assert not there.exists()
    assert file.stat().st_size == 1
    assert [*there.iterdir()] == [there / "a"]
    assert [*there.glob("*/7.*")] == [file]
    assert [*there.glob("7.*")] == []
    file.unlink()
    file.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError) as absent:
        file.read_bytes()
    assert absent.value.filename == str(file)


def test_what_others_write_and_delete_is_seen_at_once(there):
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    prefix = there.key.partition("/")[2]
    assert names(there) == []
    client.put_object(Bucket=BUCKET, Key=f"{prefix}/a", Body=b"1")
    assert names(there) == ["a"]
    assert (there / "a").read_text() == "1"
    client.put_object(Bucket=BUCKET, Key=f"{prefix}/a", Body=b"2")
    assert (there / "a").read_text() == "2"
    client.delete_object(Bucket=BUCKET, Key=f"{prefix}/a")
    assert not (there / "a").exists()
    assert names(there) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("s3://no-such-bucket/runs", "there is no such bucket"),
        ("http://example.org/runs", "a folder of runs is a path, s3://"),
        ("s3://", "names no place in a bucket"),
        ("s3://studies/../runs", "names no place in a bucket"),
    ],
)
def test_a_place_that_cannot_be_is_refused_in_a_sentence(server, words, said):
    with pytest.raises(UserError, match=said) as refused:
        place(words)
    assert "\n" not in str(refused.value)


def test_a_store_that_refuses_is_named_with_its_words(server, there):
    server.refuses = lambda method, path: method == "PUT"
    with pytest.raises(PermissionError) as refused:
        (there / "a").write_bytes(b"")
    assert refused.value.filename == str(there / "a")
    assert "denied" in refused.value.strerror.lower()


# Created exclusively


def test_to_create_exclusively_asks_the_store_for_it(server, there):
    assert create(there / "a", b"mine")
    assert not create(there / "a", b"another's")
    assert (there / "a").read_bytes() == b"mine"
    assert server.conditions == [f"/{there.key}/a"] * 2


def test_who_created_an_object_knows_it_though_the_answer_was_lost(server, there):
    server.loses_answers = 1
    assert create(there / "a", b"mine")
    assert (there / "a").read_bytes() == b"mine"
    assert len(server.conditions) == 2


def test_a_store_that_ignores_the_precondition_is_refused(server, there, monkeypatch):
    monkeypatch.setattr(storage, "_exclusive", set())
    server.ignores_conditions = True
    with pytest.raises(UserError, match="writes over objects that exist"), hold(there / "lease"):
        pass


# Leases


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.02)
    monkeypatch.setattr(lease, "EXPIRY", 0.5)
    monkeypatch.setattr(lease, "POLL", 0.01)


@pytest.fixture
def suspended(monkeypatch):
    """Holders show no sign of life, as when they are suspended or cut off from the bucket."""
    monkeypatch.setattr(lease, "HEARTBEAT", 1e6)
    monkeypatch.setattr(lease, "EXPIRY", 0.1)
    monkeypatch.setattr(lease, "POLL", 0.01)


def test_each_holder_has_a_higher_number_and_leaves_one_mark(there):
    for number in (1, 2, 3):
        with hold(there) as held:
            assert held.number == number
            held.check()
            assert names(there) == [f"{number}.held"]
            assert is_held(there)
            with hold_if_free(there) as second:
                assert second is None
        assert names(there) == [f"{number}.free"]
        assert not is_held(there)


@pytest.mark.slow
def test_of_two_who_claim_at_once_one_gets_it_a_hundred_times(there):
    with ThreadPoolExecutor(2) as both:
        for number in range(1, 101):
            together = threading.Barrier(2)

            def claim(number=number, together=together):
                together.wait()
                return lease._claim(there, number)

            claims = [both.submit(claim) for _ in range(2)]
            won = [found for each in claims if (found := each.result()) is not None]
            assert [each.number for each in won] == [number]
            won[0].check()
            won[0].release()


def test_who_takes_a_number_too_late_does_not_get_it_and_leaves_nothing(there):
    (there / "7.free").write_bytes(b"")
    for late in (6, 7):
        assert lease._claim(there, late) is None
        assert names(there) == ["7.free"]


def test_a_lease_without_a_heartbeat_is_taken_over_after_its_expiry(there, suspended):
    with hold(there) as stale, hold(there) as mine:
        assert mine.number == stale.number + 1
        mine.check()
        with pytest.raises(LeaseLost):
            stale.check()


def test_a_live_holder_is_not_robbed(there, quick):
    with hold(there):
        watch = lease.LeaseWatch()
        until = time.monotonic() + 2 * lease.EXPIRY
        while time.monotonic() < until:
            with hold_if_free(there, watch) as robbed:
                assert robbed is None


def test_a_heartbeat_that_comes_after_the_lease_was_lost_brings_nothing_back(there, suspended):
    with hold(there) as stale, hold(there) as mine:
        (there / f"{stale.number}.beat").write_bytes(b"late")  # sent before it was taken over
        mine.check()
        with pytest.raises(LeaseLost):
            stale.check()
        with pytest.raises(FileNotFoundError):
            stale._marks.beat(stale.number)
    with hold(there) as third:
        assert names(there) == [f"{third.number}.held"]


def test_giving_back_a_lost_lease_leaves_the_new_holder_alone(there, suspended):
    with contextlib.ExitStack() as stack:
        with hold(there):
            mine = stack.enter_context(hold(there))
        mine.check()
        assert names(there) == ["2.held"]


def test_a_lease_that_was_half_given_back_is_free(there):
    for state in ("held", "free"):
        (there / f"4.{state}").write_bytes(b"{}")
    with hold_if_free(there) as held:
        assert held.number == 5
        assert names(there) == ["5.held"]


# Run folders


def finish(folder):
    folder.finish([(UPSTREAM, [Measured(name, 0.5, 100) for name in UPSTREAM.metrics])], {})


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(finish, id="results"),
        pytest.param(lambda folder: folder.fail("no memory."), id="failure"),
        pytest.param(lambda folder: folder.clear_failure(), id="clearing"),
        pytest.param(lambda folder: folder.report(step=1, steps=2, phase="train"), id="progress"),
        pytest.param(lambda folder: folder.repair(pytest.fail), id="repair"),
    ],
)
def test_who_lost_the_lease_of_a_run_changes_nothing_in_its_folder(there, suspended, write):
    path = there / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    with hold_run(path) as stale, hold_run(path):
        (path / "results.jsonl").write_bytes(b"torn")
        (path / "failed.txt").write_bytes(b"before")
        before = texts(path)
        with pytest.raises(LeaseLost, match="another process has taken over"):
            write(stale)
        assert texts(path) == before


def test_who_lost_the_lease_of_a_trunk_remembers_no_divergence(there, suspended):
    with hold_trunk(there) as stale, hold_trunk(there):
        with pytest.raises(LeaseLost):
            stale.diverge(3, "the loss is nan.")
        assert stale.divergence(3) is None


def test_a_run_folder_holds_the_same_bytes_in_a_bucket_and_on_a_disk(there, tmp_path):
    for runs in (there, tmp_path):
        path = runs / RUN.id
        write_run_file(path, RUN, [UPSTREAM], pytest.fail)
        with hold_run(path) as held:
            held.report(step=1, steps=2, phase="train")
            finish(held)
        assert RunFolder(path).is_done([UPSTREAM])
        assert read_run_file(path).run == RUN
    on_disk = {p.name: p.read_bytes() for p in (tmp_path / RUN.id).iterdir() if p.is_file()}
    in_bucket = {p.name: p.read_bytes() for p in (there / RUN.id).iterdir() if p.exists()}
    assert sorted(on_disk) == ["manifest.json", "results.jsonl", "run.json"]
    assert in_bucket == on_disk


def test_damaged_objects_are_kept_aside_and_the_run_counts_as_not_done(there):
    path = there / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    said = []
    with hold_run(path) as held:
        finish(held)
        (path / "results.jsonl").write_bytes(b"{}\n")
        held.repair(said.append)
    assert "Kept aside as results.jsonl.damaged-1 and manifest.json.damaged-1" in said[0]
    assert not RunFolder(path).is_done([UPSTREAM])
    assert (path / "results.jsonl.damaged-1").read_text() == "{}\n"


def test_what_cannot_be_read_for_want_of_rights_is_not_taken_for_damage(server, there):
    path = there / RUN.id
    write_run_file(path, RUN, [UPSTREAM], pytest.fail)
    with hold_run(path) as held:
        finish(held)
        server.refuses = lambda method, path: method == "GET" and path.endswith("results.jsonl")
        with pytest.raises(PermissionError):
            held.repair(pytest.fail)
    server.refuses = None
    assert RunFolder(path).is_done([UPSTREAM])


def test_launchers_that_write_run_json_at_once_lose_no_evaluation(there):
    others = [Upstream(images=100 + k) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        each = [
            pool.submit(write_run_file, there / RUN.id, RUN, [one], pytest.fail) for one in others
        ]
        for one in each:
            one.result()
    assert set(read_run_file(there / RUN.id).evaluate) == set(others)


# Checkpoints


@pytest.fixture
def checkpoint():
    state = {"w": jnp.arange(6.0).reshape(2, 3), "m": jnp.ones(4, jnp.bfloat16)}, (jnp.int32(7),)
    return Checkpoint(step=12, seconds=3.5, state=state)


def restored(folder, checkpoint):
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), checkpoint.state
    )
    with checkpoints.at_hand(folder) as here:
        return checkpoints.restore(here, like)


def test_a_checkpoint_comes_back_bit_for_bit_and_is_published_by_its_last_put(
    server, there, checkpoint
):
    checkpoints.save(there / "12", checkpoint)
    assert server.puts[-1] == f"/{there.key}/12/checkpoint.json"
    assert checkpoints.found(there) == [(12, there / "12")]
    found = restored(there / "12", checkpoint)
    assert (found.step, found.seconds) == (12, 3.5)
    for a, b in zip(jax.tree.leaves(found.state), jax.tree.leaves(checkpoint.state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_saving_again_replaces_what_was_there_and_leaves_nothing_of_it(there, checkpoint):
    checkpoints.save(there / "passing", checkpoint)
    before = set(names(there))
    checkpoints.save(there / "passing", Checkpoint(step=13, seconds=4.0, state=checkpoint.state))
    assert checkpoints.found(there) == [(13, there / "passing")]
    assert before & set(names(there)) == {"passing/checkpoint.json"}
    assert restored(there / "passing", checkpoint).step == 13


def test_a_save_whose_guard_raises_publishes_nothing_and_leaves_the_old_one(there, checkpoint):
    def taken_over():
        raise LeaseLost("another process has taken over")

    checkpoints.save(there / "passing", checkpoint)
    before = texts(there)
    later = Checkpoint(step=13, seconds=4.0, state=checkpoint.state)
    for name in ("passing", "13"):
        with pytest.raises(LeaseLost):
            checkpoints.save(there / name, later, taken_over)
    assert texts(there) == before
    assert restored(there / "passing", checkpoint).step == 12


def test_objects_of_a_save_that_was_killed_are_no_checkpoint(there, checkpoint):
    (there / "12" / "0a0a0a0a" / "_METADATA").write_bytes(b"half")
    assert checkpoints.found(there) == []
    checkpoints.save(there / "12", checkpoint)
    assert restored(there / "12", checkpoint).step == 12
    assert not any("0a0a0a0a" in name for name in names(there))


def test_changed_and_missing_objects_are_noticed_and_the_bucket_is_named(there, checkpoint):
    checkpoints.save(there / "12", checkpoint)
    objects = [path for path, _ in (there / "12").below() if path.name != "checkpoint.json"]
    for path in objects[:2]:
        content = path.read_bytes()
        path.write_bytes(content + b"x")
        with pytest.raises(Damaged, match=rf"s3://.*/12: .*{path.name} changed"):
            restored(there / "12", checkpoint)
        path.unlink()
        with pytest.raises(Damaged, match=path.name):
            restored(there / "12", checkpoint)
        path.write_bytes(content)
    assert set_aside(there / "12") == there / "12.damaged-1"
    assert checkpoints.found(there) == []
    assert len(names(there / "12.damaged-1")) == len(objects) + 1


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "checkpoint.json", "a/../../b"])
def test_a_checkpoint_from_others_writes_nowhere_else(there, checkpoint, tmp_path, name):
    about = {"step": 12, "seconds": 1.0, "files": {name: [1, 0]}}
    (there / "12" / "checkpoint.json").write_bytes(json.dumps(about).encode())
    (there / "12" / "a").write_bytes(b"1")
    with pytest.raises(Damaged):
        restored(there / "12", checkpoint)
    about = {**about, "files": {}, "inside": "../other"}
    (there / "12" / "checkpoint.json").write_bytes(json.dumps(about).encode())
    with pytest.raises(Damaged):
        restored(there / "12", checkpoint)


def test_a_checkpoint_copied_to_a_disk_as_it_is_is_one_there(there, checkpoint, tmp_path):
    checkpoints.save(there / "12", checkpoint)
    pairs = [
        (path, tmp_path / name) for (path, _), name in zip(there.below(), names(there), strict=True)
    ]
    storage.download(pairs)
    assert restored(tmp_path / "12", checkpoint).step == 12


def test_a_deleted_checkpoint_leaves_nothing(there, checkpoint):
    checkpoints.save(there / "12", checkpoint)
    checkpoints.delete(there / "12")
    assert names(there) == []


# Metrics


def line(step):
    return MetricsLine(
        step=step,
        images_seen=64 * step,
        loss=1.0,
        learning_rate=0.1,
        gradient_norm=1.0,
        images_per_second=None,
        mfu=None,
        memory_bytes=None,
        seconds=float(step),
    )


def steps(folder):
    return [each.step for each in read_lines(folder)]


def nothing():
    pass


def test_lines_wait_until_a_checkpoint_or_the_end_and_are_put_at_once(server, there):
    writer = MetricsWriter(there, 5, nothing)
    for step in (1, 2, 3):
        writer.write(line(step), step - 1)
    assert steps(there) == []
    writer.flush()
    assert steps(there) == [1, 2, 3]
    for step in (4, 5):
        writer.write(line(step), step - 1)
    assert steps(there) == [1, 2, 3, 4, 5]
    assert len(server.puts) == 2


def test_a_long_training_writes_small_parts_and_resumes_in_the_last(there, monkeypatch):
    monkeypatch.setattr(metrics_parts, "LINES", 4)
    writer = MetricsWriter(there, 100, nothing)
    for step in range(1, 11):
        writer.write(line(step), step - 1)
    writer.flush()
    assert names(there) == ["metrics.2.jsonl", "metrics.3.jsonl", "metrics.jsonl"]
    again = MetricsWriter(there, 100, nothing)
    for step in range(7, 13):  # from a checkpoint at step 6
        again.write(line(step), step - 1)
    again.flush()
    assert steps(there) == [*range(1, 13)]
    assert (there / "metrics.jsonl").read_text().count("\n") == 4


def test_who_lost_the_lease_writes_no_line(there):
    def lost():
        raise LeaseLost("another process has taken over")

    writer = MetricsWriter(there, 100, lost)
    writer.write(line(1), 0)
    with pytest.raises(LeaseLost):
        writer.flush()
    assert names(there) == []


def test_cleaning_frees_points_and_what_saves_left_and_nothing_else(there):
    study = Study(name="x", question="?", runs=(RUN,), evaluate=(UPSTREAM,))
    write_run_file(there / RUN.id, RUN, study.evaluate, pytest.fail)
    with hold_run(there / RUN.id) as held:
        held.finish([(UPSTREAM, [Measured(name, 0.5, 100) for name in UPSTREAM.metrics])], {})
    trunk = there / "trunks" / RUN.trunk
    with hold_trunk(trunk):
        (trunk / "metrics.jsonl").write_bytes(b"{}\n")
        for step in (4, 8):
            (trunk / str(step) / "0a" / "data").write_bytes(b"x" * 10)
            text = json.dumps({"step": step})
            (trunk / str(step) / checkpoints.MANIFEST).write_bytes(text.encode())
        (trunk / "6" / "0b" / "data").write_bytes(b"x")  # a save that was interrupted
    before = {path.key for path, _ in there.below()}
    assert {each.path.name for each in clean(study, there)} == {"4", "6"}
    gone = {key.rpartition("trunks/")[2] for key in before - {p.key for p, _ in there.below()}}
    left = {each for each in gone if "/lease/" not in each}
    assert left == {
        f"{RUN.trunk}/{name}" for name in ("4/0a/data", "4/checkpoint.json", "6/0b/data")
    }


@pytest.mark.parametrize("launcher", [Slurm(), Ray()])
def test_a_launcher_on_a_cluster_hands_on_the_url_and_keeps_its_logs_on_its_machine(
    there, launcher, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    study = Study(name="x", question="?", runs=(RUN,), evaluate=(UPSTREAM,))
    file = write_launch_file(study, there, LaunchSpec())
    wanted = SimpleNamespace(
        runs=there, file=file, study=study, tally=None, spec=LaunchSpec(), stopping=lambda: None
    )
    engine = launcher.workers_of(wanted, SimpleNamespace(say=print))._engine
    assert str(file) in " ".join(
        [engine._command] if launcher.kind == "slurm" else engine._arguments
    )
    logs = engine._folder if launcher.kind == "slurm" else engine._logs
    assert logs.is_relative_to(tmp_path)
