"""What a launcher is, and how a command line names one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, get_args

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from scaling.launch import Launcher
from scaling.study.study import Study


class StartsWorkers(Protocol):
    """A launcher: a config whose fields say where, and how many at a time.

    A worker is `python -m scaling run FOLDER ...` and needs nothing but those paths. Leases in the
    folders keep two workers from one run, so a launcher need not know what others started.
    """

    @property
    def kind(self) -> str:
        """Its name: `scaling launch --on KIND`."""

    def launch(self, study: Study, runs: Path, *, retry: bool = False) -> bool:
        """Train what is not done yet, show how far it is, and name at the end what failed.

        Args:
          study: its runs, and what to measure on each.
          runs: the folder of run folders, made if need be; other studies may share it.
          retry: also train runs that failed before.

        Returns:
          Whether all runs of the study are done. Ctrl-C raises SystemExit(130).
        """


def launchers() -> dict[str, type[Launcher]]:
    """The members of `Launcher` by their kind."""
    members = get_args(Launcher) or (Launcher,)
    return {each.model_fields["kind"].default: each for each in members}


def launcher(kind: str, *, workers: int | None = None) -> StartsWorkers:
    """The launcher of this kind.

    Raises:
      UserError: there is none; names the near ones.
    """
    known = launchers()
    if kind not in known:
        near = did_you_mean(kind, known)
        raise UserError([f"--on {kind}: no such launcher. {near}There is {', '.join(known)}."])
    return known[kind](workers=workers)
