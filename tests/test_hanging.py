"""When a training hangs, and how its process ends itself."""

import threading
import time

import pytest

from scaling.training import hanging
from scaling.training.hanging import HangTimer, Sign, ended_if_hanging


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(hanging.time, "monotonic", lambda: now[0])

    def pass_(seconds):
        now[0] += seconds

    return pass_


def test_a_step_begins_the_time_anew(clock):
    timer = HangTimer(10.0)
    assert not timer.hangs(Sign("a", "train", 1))
    clock(9.0)
    assert not timer.hangs(Sign("a", "train", 2))
    clock(9.0)
    assert not timer.hangs(Sign("a", "train", 2))
    clock(1.0)
    assert timer.hangs(Sign("a", "train", 2))


def test_unless_a_time_is_given_only_what_makes_steps_can_hang(clock):
    timer, given = HangTimer(None), HangTimer(10.0)
    for sign in (None, Sign("a", "compile", 0)):
        given.hangs(sign)
        clock(hanging.HANGS + 1)
        assert not timer.hangs(sign)
        assert given.hangs(sign)
    timer.hangs(Sign("a", "cooldown", 5))
    clock(hanging.HANGS)
    assert timer.hangs(Sign("a", "cooldown", 5))


def test_the_time_of_a_phase_without_steps_is_not_counted_to_the_next(clock):
    timer = HangTimer(None)
    timer.hangs(Sign("a", "compile", 0))
    clock(hanging.HANGS + 1)
    assert not timer.hangs(Sign("a", "train", 1))


def test_what_hangs_ends_though_its_reason_cannot_be_written(monkeypatch):
    monkeypatch.setattr(hanging, "SECONDS_TO_WRITE", 0.1)
    ended, never = threading.Event(), threading.Event()
    sign = Sign("a", "train", 1)
    with ended_if_hanging(lambda: sign, 0.1, write=lambda reason: never.wait(), end=ended.set):
        assert ended.wait(10)
    never.set()


def test_what_ends_in_time_is_not_ended():
    ended = threading.Event()
    with ended_if_hanging(lambda: None, 0.2, write=pytest.fail, end=ended.set):
        pass
    time.sleep(0.4)
    assert not ended.is_set()
