"""A launch whose pools run elsewhere, in the jobs of a cluster: it asks for jobs, watches the run
folders, and replaces jobs that end while there is something to do.

What an engine says of a job is believed only so far as whether it is still there. Whether a run is
done, its folder says. Knows no engine, no processes and no JAX.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from fits.base.errors import UserError
from scaling.launch.launch import Detached
from scaling.launch.launch_spec import Budget
from scaling.launch.progress.display import Display
from scaling.launch.progress.events import Event, LaunchProgress
from scaling.launch.progress.tally import Tally
from scaling.launch.stopping import Stopping

SECONDS_BETWEEN_LOOKS = 1.0  # at run folders
SECONDS_BETWEEN_QUESTIONS = 5.0  # to the engine, about its jobs
SHOWN = 8  # seats that a line names
IN_VAIN = 3  # jobs in a row that may end without having done anything
IDLE_FOR = 90.0  # seconds without work after which a pool ends; more than lease.EXPIRY


class Seat(Protocol):
    """One job of a cluster, in which a pool works on the launch."""

    @property
    def name(self) -> str:
        """As the engine's own commands call it."""

    def has_ended(self) -> bool:
        """Whether the engine has it no more; one that waits has not ended. False where the engine
        cannot be asked."""

    def last_words(self) -> str:
        """Why it ended and where its log is, after it has."""


class Engine(Protocol):
    """What gives seats on a cluster."""

    def start(self, count: int) -> Sequence[Seat]:
        """Ask for so many more; they may have to wait for their turn.

        Raises:
          UserError: the engine takes no such job.
        """

    def stop(self, seats: Sequence[Seat]) -> None:
        """Have their workers keep a checkpoint and leave; returns when all have, or were killed."""

    def device_seconds(self, seat: Seat) -> float:
        """Its time at work so far, times the devices it has."""


class Seats:
    """As many seats as there is work for, until no run is left."""

    def __init__(
        self,
        tally: Tally,
        engine: Engine,
        *,
        screen: Display,
        most: int,
        each: int = 1,
        budget: Budget | None = None,
        stays: bool = True,
        stopping: Stopping | None = None,
    ):
        """
        Args:
          most: seats at the same time.
          each: jobs of the launch that one seat works on side by side.
          budget: None: no limit.
          stays: until the runs are done; else only until the first seats are asked for.
          stopping: judges the runs that are at work; None: nobody does.
        """
        self._stopping = stopping
        self._tally, self._engine, self._screen = tally, engine, screen
        self._most, self._each, self._budget, self._stays = most, each, budget, stays
        self._seats: list[Seat] = []
        self._seconds = 0.0
        """Of devices, that seats which have ended had."""
        self._began = False
        self._refused = ""
        self._sign: object = None
        self._in_vain = 0
        self._asked_at = 0.0
        self._worked = time.monotonic()

    def work(self) -> None:
        """Until every run has ended, by whomever.

        Raises:
          Detached: the seats were asked for, and are left to themselves.
        """
        tally = self._tally
        while tally.left:
            if self._is_spent():
                self.stop()
                tally.leave_all_unfinished(f"the budget of {self._budget} is spent")
                return
            if time.monotonic() - self._asked_at >= SECONDS_BETWEEN_QUESTIONS:
                self._asked_at = time.monotonic()
                self._reap()
                self._fill()
                if not self._stays:
                    self._detach()
            tally.look_at_some()
            if self._stopping is not None:
                for run, reason in self._stopping.judge(tally.at_work()):
                    self._screen.tell(Event("to be stopped", run, reason))
            self._screen.update(self._progress_now())
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def stop(self) -> None:
        """Give every seat back."""
        if self._seats:
            self._engine.stop(self._seats)
        self._seats = []

    def _fill(self) -> None:
        """Ask for as many seats as there are trunks to take, those that wait for one counted."""
        free = self._most - len(self._seats)
        if free <= 0:
            return
        waiting, at_work = self._tally.waiting(), self._tally.jobs_at_work()
        # each look reads leases, so there are no more of them than can make a difference
        enough = max(self._each * free, self._each * self._most - at_work)
        ready = (run for job in waiting if (run := self._tally.takeable(job)) is not None)
        found = {run.id for run in islice(ready, enough)}
        # one that was left since it was last looked at, as where its seat goes back to the queue,
        # is not at work any more
        at_work -= sum(run.id in found for run in self._tally.at_work())
        takeable = len(found)
        useful = -(-(takeable + at_work) // self._each)
        # what others are at needs no seat: where nothing is to be taken, none is asked for
        wanted = min(-(-takeable // self._each), useful - len(self._seats), free)
        if wanted <= 0:
            return
        try:
            seats = self._engine.start(wanted)
        except UserError as error:
            if not self._began:
                raise
            if str(error) != self._refused:  # as where a queue is full, or its server restarts
                self._refused = str(error)
                self._screen.say(f"no more jobs for now: {error}")
            return
        self._began, self._refused = True, ""
        self._seats += seats
        self._screen.say(f"asked for {_listed(seats)}")

    def _reap(self) -> None:
        """Drop the seats that have ended; where several did so in vain, give up."""
        ended = [seat for seat in self._seats if seat.has_ended()]
        if not ended:
            return
        self._seats = [seat for seat in self._seats if seat not in ended]
        self._seconds += sum(map(self._engine.device_seconds, ended))
        self._tally.look_at_some(len(self._tally.left))  # before anybody is blamed
        sign = self._tally.sign_of_work()
        self._in_vain = self._in_vain + 1 if sign == self._sign else 0
        self._sign = sign
        if not self._tally.left:
            return
        words = ended[-1].last_words()
        self._screen.say(f"ended before the runs were done: {ended[-1].name}: {words}")
        if self._in_vain >= IN_VAIN:
            self._tally.leave_all_unfinished(f"{IN_VAIN} jobs in a row did nothing: {words}")

    def _progress_now(self) -> LaunchProgress:
        """What is shown; where nobody is at work, for how long nobody has been."""
        found = self._tally.progress()
        if found.busy or not self._tally.left:
            self._worked = time.monotonic()
            return found
        waited = time.monotonic() - self._worked
        return replace(found, waits_for="a job to begin", waited=waited)

    def _is_spent(self) -> bool:
        if self._budget is None:
            return False
        seconds = self._seconds + sum(map(self._engine.device_seconds, self._seats))
        return self._budget.is_spent(self._tally.spent(), seconds)

    def _detach(self) -> None:
        """Leave the seats to themselves."""
        names, self._seats = _listed(self._seats), []
        raise Detached(
            f"left to themselves: {names}. `scaling status` says how far they are; launch again to "
            "replace those that end early."
        )


def _listed(seats: Sequence[Seat]) -> str:
    """Their names, of many the first and the last."""
    names = [seat.name for seat in seats]
    if len(names) > SHOWN:
        return f"{len(names)} jobs, {names[0]} to {names[-1]}"
    return ", ".join(names) or "none"
