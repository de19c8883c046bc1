"""Who may write into a folder that several machines share: a lease with a fencing number.

    lease/7.held    names the holder; the file's modification time is its heartbeat
    lease/7.free    the same lease after its holder gave it back

In a bucket these are objects, and the heartbeat is one more (`scaling.runs.lease_marks`).

Numbers only grow. To take a lease is to create the next number's file exclusively, which succeeds
for one process, on NFS too; the highest number holds. A new holder deletes the files below its own,
and a holder that finds its file gone, or a higher one, has lost the lease.

No two clocks are compared. A holder sets its file's modification time every `HEARTBEAT` seconds;
who wants the lease watches the file, and takes over once it has not changed for `EXPIRY` seconds of
its own monotonic clock. A holder on the same machine whose process is gone is not waited for.

What this cannot do: a file system does not compare fencing numbers itself. Holders therefore call
`Lease.check` right before each rename that publishes something; to publish after it lost its lease,
a process would have to be suspended between those two for the whole of `EXPIRY`.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from scaling.runs.lease_marks import Mark, marks_of

HEARTBEAT = 10.0  # seconds between a holder's signs of life
EXPIRY = 60.0  # seconds without one, after which others take over
POLL = 0.5  # seconds between looks at a lease that is waited for
PRESUMED = 600.0  # seconds for which who cannot wait believes a heartbeat from elsewhere
GONE = {errno.ENOENT, errno.ESTALE}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LeaseLost(Exception):
    """Another process has taken over: whoever gets this writes nothing more."""


class Lease:
    """The right to write until somebody takes over. Made by `hold` and `hold_if_free`."""

    def __init__(self, folder: Path, number: int):
        self._folder, self._marks = folder, marks_of(folder)
        self.number = number
        """The fencing number: higher than that of every holder before."""
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def live(self) -> None:
        """Show a sign of life every `HEARTBEAT` seconds from now on."""
        name = f"lease {self._folder} {self.number}"
        self._heart = threading.Thread(target=self._beat, name=name, daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Raise `LeaseLost` unless this process still holds the lease; call before each write."""
        try:
            lost = self._marks.is_lost(self.number)
        except OSError as error:
            if error.errno not in GONE:
                raise
            lost = True
        if lost:
            raise LeaseLost(f"another process has taken over {self._folder.parent}.")

    def release(self) -> None:
        """Give the lease back; nothing happens if it was lost."""
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        with suppress(OSError):  # lost; or it will expire
            self._marks.give_back(self.number)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            try:
                self._marks.beat(self.number)
            except OSError as error:
                if error.errno in GONE:
                    return


@contextmanager
def hold(
    folder: Path, waiting: Callable[[], None] = lambda: None, *, brief: bool = False
) -> Iterator[Lease]:
    """Wait for the lease in `folder`, which is made if need be, and hold it.

    Args:
      waiting: called between looks at a lease that another process holds.
      brief: for much less than `EXPIRY`, so that no sign of life is needed.
    """
    watch = LeaseWatch()
    while (lease := _take(folder, watch)) is None:
        waiting()
        time.sleep(POLL)
    try:
        if not brief:
            lease.live()
        yield lease
    finally:
        lease.release()


@contextmanager
def hold_if_free(
    folder: Path, watch: LeaseWatch | None = None, *, on_full_disk: bool = False
) -> Iterator[Lease | None]:
    """As `hold`, but without waiting: None where another process holds the lease, or may.

    Args:
      watch: of this lease, kept by who comes again; without one no lease is seen to expire.
      on_full_disk: there too, by a file that names nobody: for who deletes.
    """
    lease = _take(folder, watch or LeaseWatch(), on_full_disk)
    try:
        if lease is not None:
            lease.live()
        yield lease
    finally:
        if lease is not None:
            lease.release()


def is_free(folder: Path, watch: LeaseWatch) -> bool:
    """Whether the lease can be taken now; one that expired, or whose holder is gone, is given back
    in the holder's place."""
    newest = _newest(folder)
    if newest is None or not newest.held:
        return True
    with hold_if_free(folder, watch) as held:
        return held is not None


def is_held(folder: Path) -> bool:
    """Whether somebody is at work, as far as one look can tell; writes nothing.

    A holder elsewhere counts for `PRESUMED` seconds after its last heartbeat by this machine's
    clock. That is for people to read: nothing is taken over because of it.
    """
    newest = _newest(folder)
    if newest is None or not newest.held:
        return False
    try:
        beat = marks_of(folder).last_beat(newest.number)
    except OSError:
        return False
    holder = _holder(folder, newest.number)
    if holder.get("machine") is not None and holder["machine"] == _machine():
        return not _is_gone(holder)
    return time.time() - beat < PRESUMED


class LeaseWatch:
    """Sees whether the heartbeat of one lease stands still, by the observer's own clock."""

    def __init__(self) -> None:
        self._seen: tuple[int, object] | None = None
        self._since = 0.0

    def has_expired(self, folder: Path, number: int) -> bool:
        now = time.monotonic()  # before looking: this process may be suspended in between
        try:
            pulse = number, marks_of(folder).pulse(number)
        except OSError:
            return False  # released or taken over at this moment
        if pulse != self._seen:
            self._seen, self._since = pulse, time.monotonic()
        return now - self._since >= EXPIRY


def _take(folder: Path, watch: LeaseWatch, on_full_disk: bool = False) -> Lease | None:
    """The next lease, if nobody holds the last one."""
    newest = _newest(folder)
    if newest is None:
        return _claim(folder, 1, on_full_disk)
    number, held = newest
    if held and not _is_gone(_holder(folder, number)) and not watch.has_expired(folder, number):
        return None
    return _claim(folder, number + 1, on_full_disk)


def _claim(folder: Path, number: int, on_full_disk: bool = False) -> Lease | None:
    """The lease of this number; None when another process was faster."""
    marks = marks_of(folder)
    if not marks.create(number, json.dumps(_me()), on_full_disk):
        return None
    others = [mark for mark in marks.all() if mark != (number, True)]
    if any(mark.number >= number for mark in others):  # it was taken, and its file deleted since
        marks.undo(number)
        return None
    for mark in sorted(others):
        marks.delete(mark.number)
    return Lease(folder, number)


def _newest(folder: Path) -> Mark | None:
    return max(marks_of(folder).all(), default=None)


def _me() -> dict[str, Any]:
    """This process, for a person and for others on this machine."""
    return _about(os.getpid())


@cache
def _about(pid: int) -> dict[str, Any]:
    """As `_me`, of the process that calls: a child has another id."""
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "machine": _machine(),
        "started": _started(pid),
    }


def _holder(folder: Path, number: int) -> dict[str, Any]:
    """What a holder wrote about itself; nothing while it is writing it."""
    try:
        found = json.loads(marks_of(folder).holder(number))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    machine, pid = holder.get("machine"), holder.get("pid")
    if machine is None or machine != _machine() or not isinstance(pid, int):
        return False
    if not 0 < pid < 2**31:  # no process has such a number
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # another user's, which this one cannot look at
    return _started(pid) != holder.get("started")


def _machine() -> str | None:
    """Names this boot of this machine and who shares its process ids; None where nothing does."""
    try:
        return f"{BOOT_ID.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When a process began, in ticks since boot: tells it from a later one of the same id.

    None when there is no such process, or only a dead one that its parent has not asked about.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
