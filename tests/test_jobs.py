"""Who trains what, and how long that will take: arithmetic alone."""

import pytest
from launched import a_run

from scaling.launch.jobs import Job, Segment, jobs, seconds_until_free
from scaling.launch.progress.time_left import Pace, seconds_left

# Jobs


def test_runs_that_share_a_trunk_make_a_job_in_ascending_duration():
    runs = [a_run(images, seed) for images in (1280, 640) for seed in (0, 1)]
    found = jobs(runs, {run.id for run in runs})
    assert [[s.run.images_seen for s in job.segments] for job in found] == [[640, 1280]] * 2
    assert {job.trunk for job in found} == {run.trunk for run in runs}


def test_a_job_costs_its_trunk_once_and_every_cooldown():
    short, long = a_run(640), a_run(1280)  # 10 and 20 steps, cooldowns of 2 and 4
    (job,) = jobs([short, long], {short.id, long.id})
    assert [s.start for s in job.segments] == [0, 8]
    assert job.flops == pytest.approx(short.flops * (10 + 20 - 8) / 10)


def test_a_run_that_is_done_leaves_its_trunk_to_the_longer_ones():
    short, long = a_run(640), a_run(1280)
    (job,) = jobs([short, long], {long.id})
    assert [(s.run, s.start) for s in job.segments] == [(long, 8)]


def test_the_longest_job_comes_first_and_finished_ones_not_at_all():
    runs = [a_run(640, 0), a_run(1280, 1), a_run(1920, 2)]
    found = jobs(runs, {runs[0].id, runs[1].id})
    assert [job.segments[0].run.seed for job in found] == [1, 0]


def test_a_segment_is_done_in_proportion_to_its_own_steps():
    segment = Segment(a_run(1280), start=8)
    assert [segment.flops_done(step) / segment.flops for step in (0, 8, 14, 20)] == [0, 0, 0.5, 1]


@pytest.mark.parametrize(
    ("busy", "queued", "workers", "expected"),
    [
        ([5.0], [], 1, 5.0),
        ([5.0, 2.0], [], 2, 5.0),
        ([5.0, 2.0], [4.0], 2, 6.0),  # the freed worker takes the third job
        ([], [3.0, 2.0, 1.0], 2, 3.0),
        ([0.5], [3.0], 4, 3.0),
    ],
)
def test_the_time_left_is_that_of_the_last_worker_to_finish(busy, queued, workers, expected):
    assert seconds_until_free(busy, queued, workers) == expected


def pace(step=0, images_per_second=None, beside=None, at_work=False):
    return Pace(step, images_per_second, beside, at_work)


def test_no_time_left_is_said_before_a_pace_was_measured_after_compilation():
    run = a_run()
    job = jobs([run], {run.id})
    assert seconds_left(job, {run.id: pace(at_work=True)}, []) is None
    assert seconds_left(job, {run.id: pace(1, 0.64, at_work=True)}, []) == pytest.approx(900)


def test_no_short_time_left_is_said_before_a_run_has_told_what_comes_to_its_steps():
    """Compiling and measuring may take longer than all steps."""
    done, busy = a_run(seed=0), a_run(seed=1)
    todo, paces = jobs([busy], {busy.id}), {busy.id: pace(1, 64.0, at_work=True)}
    assert seconds_left(todo, paces, []) is None
    (finished,) = jobs([done], {done.id})
    told = [(finished.segments[0], pace(images_per_second=64.0, beside=20.0))]
    assert seconds_left(todo, paces, told) == pytest.approx(9 + 20)


def test_runs_that_wait_are_given_the_pace_of_those_at_work_and_what_others_took_beside():
    done, busy, waiting = (a_run(seed=seed) for seed in range(3))
    todo = jobs([busy, waiting], {busy.id, waiting.id})
    paces = {busy.id: pace(5, 0.64, at_work=True), waiting.id: pace()}
    (finished,) = jobs([done], {done.id})
    beside = [(finished.segments[0], pace(images_per_second=1.0, beside=3.0))]
    assert seconds_left(todo, paces, []) == pytest.approx(500 + 1000)
    assert seconds_left(todo, paces, beside) == pytest.approx(500 + 3 + 1000 + 3)


def test_while_all_compile_the_pace_is_that_of_runs_that_are_done():
    done, busy = a_run(seed=0), a_run(seed=1)
    (finished,) = jobs([done], {done.id})
    before = [(finished.segments[0], pace(images_per_second=128.0))]
    left = seconds_left(jobs([busy], {busy.id}), {busy.id: pace(at_work=True)}, before)
    assert left == pytest.approx(5)


def test_no_job_is_compared_with_others_to_tell_the_time_left(monkeypatch):
    runs = [a_run(seed=seed) for seed in range(4)]
    todo = jobs(runs, {run.id for run in runs})
    paces = {run.id: pace(0, 0.64, at_work=run.seed < 2) for run in runs}
    monkeypatch.setattr(Job, "__eq__", lambda *_: pytest.fail("jobs are compared"))
    assert seconds_left(todo, paces, []) == pytest.approx(2000)
