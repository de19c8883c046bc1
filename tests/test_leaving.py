"""Signals that tell a process to leave: what it does, and what becomes of one that does not."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from scaling.training import leaving
from scaling.training.leaving import Leaving, leaving_on_signals

HEAD = """
import os, signal, sys, time
from scaling.training import leaving
from scaling.training.leaving import leaving_on_signals
leaving.SECONDS = 0.5
"""


def test_who_makes_steps_is_asked_after_each_and_all_else_is_left_at_once():
    told, answers = Leaving(), []

    def steps():
        with told.after_a_step() as leave:
            answers.append(leave())
            told.tell(signal.SIGTERM)
            answers.append(leave())

    with pytest.raises(SystemExit) as status:
        steps()
    assert status.value.code == 143
    assert answers == [False, True]
    with pytest.raises(SystemExit):
        Leaving().tell(signal.SIGINT)


def test_signals_are_heard_inside_alone_and_their_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as status, leaving_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert status.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_status_is_the_signal_s_where_a_library_puts_its_own_in_its_place():
    @contextmanager
    def of_its_own():  # as Ray ends, in the middle of a question to its cluster
        try:
            yield
        except SystemExit:
            raise SystemExit(1) from None

    with pytest.raises(SystemExit) as status, leaving_on_signals(), of_its_own():
        os.kill(os.getpid(), signal.SIGTERM)
    assert status.value.code == 143
    with pytest.raises(SystemExit) as status, leaving_on_signals():
        raise SystemExit(75)
    assert status.value.code == 75


def test_in_another_thread_no_signal_is_heard():
    heard = []

    def inside():
        with leaving_on_signals() as told:
            heard.append(told.asked())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert heard == [False]


def ended(code):
    command = [sys.executable, "-c", HEAD + code]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        return process.wait(30)


def test_what_cannot_answer_is_ended():
    """A step that takes for ever, as a compiler may."""
    code = (
        "with leaving_on_signals() as told, told.after_a_step():\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(1)\n"
    )
    assert ended(code) == 143


def test_what_was_started_to_ignore_a_signal_ignores_it():
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with leaving_on_signals():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(1)\n"
        "sys.exit(7)\n"
    )
    assert ended(code) == 7


def test_a_forked_child_answers_for_itself():
    """SIGTERM ends it, and is not told to the process that it was forked from."""
    code = (
        "import os\n"
        "with leaving_on_signals() as told:\n"
        "    with told.after_a_step():\n"
        "        child = os.fork()\n"
        "        if child == 0: time.sleep(60)\n"
        "        time.sleep(0.5)\n"
        "        os.kill(child, signal.SIGTERM)\n"
        "        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM\n"
        "        time.sleep(1)\n"
        "        print('ready', flush=True)\n"
        "        while not told.asked(): time.sleep(0.01)\n"
    )
    assert ended(code) == 143


def test_it_leaves_before_schedulers_kill():
    assert leaving.SECONDS < 10
