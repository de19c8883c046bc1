"""What a launcher is, and how a command line names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, get_args

from pydantic import ValidationError

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import Compute
from scaling.launch.display import Display
from scaling.launch.dry_run import Places
from scaling.launch.launch import AtWork, Launch
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.launchers import Launcher
from scaling.study.study import Study
from scaling.training.placement_checks import check_runs
from scaling.training.placement_spec import PlacementSpec


class StartsWorkers(Protocol):
    """A launcher: a config whose fields say where, and how many at a time.

    Whatever it starts is one of this program's commands with a path: `scaling run FOLDER ...`,
    `scaling pool LAUNCH_FILE` or `scaling work LAUNCH_FILE`. Leases in the folders keep two workers
    from one run, so a launcher need not know what others started, nor believe what an engine says
    of a job.
    """

    @property
    def kind(self) -> str:
        """Its name: `scaling launch --on KIND`."""

    def computes_in(self) -> Compute | None:
        """What the devices compute best in; None: they are not seen from here."""

    def places(self, study: Study, spec: LaunchSpec) -> Places:
        """Where the runs of a study would be trained.

        Raises:
          UserError: what a run is to be trained on is not there, or cannot be shared so.
        """

    def workers_of(self, launch: Launch, screen: Display) -> AtWork:
        """Workers for a launch whose folders are prepared; they start when told to work."""


def launchers() -> dict[str, type[Launcher]]:
    """The members of `Launcher` by their kind."""
    members = get_args(Launcher) or (Launcher,)
    return {each.model_fields["kind"].default: each for each in members}


def launcher(kind: str, given: Mapping[str, Any]) -> StartsWorkers:
    """The launcher of this kind.

    Args:
      given: its fields, by their names; None: its default.

    Raises:
      UserError: there is none, or it has no such fields; all mistakes.
    """
    known = launchers()
    if kind not in known:
        near = did_you_mean(kind, known)
        raise UserError([f"--on {kind}: no such launcher. {near}There is {', '.join(known)}."])
    chosen = {key: value for key, value in given.items() if value is not None}
    unknown = [key for key in chosen if key not in known[kind].model_fields]
    if unknown:
        raise UserError([f"--{each.replace('_', '-')}: not with --on {kind}." for each in unknown])
    try:
        return known[kind](**chosen)
    except ValidationError as error:
        words = [
            f"--{each['loc'][0] if each['loc'] else 'on ray'}: "
            + each["msg"].removeprefix("Value error, ")
            for each in error.errors()
        ]
        raise UserError(words) from None


def placed(study: Study, given: Mapping[str, Any]) -> Study:
    """The study with a placement in which `given` takes the place of what its file says.

    Args:
      given: fields of a `PlacementSpec`; None: as the study says.

    Raises:
      UserError: there is no such placement, or networks or batches cannot have it; all mistakes.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    try:
        spec = PlacementSpec.model_validate({**study.placement.model_dump(), **chosen})
    except ValidationError as error:
        raise UserError(_mistakes(error, chosen)) from None
    if chosen:
        check_runs(spec, study.runs)
    return study.model_copy(update={"placement": spec})


def _mistakes(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """One sentence a mistake, in the words of the command line."""
    found = []
    for each in error.errors():
        key = str(each["loc"][0]) if each["loc"] else ""
        if each["type"] == "literal_error":
            known = re.findall(r"'(\w+)'", each["ctx"]["expected"])
            near = did_you_mean(str(given[key]), known)
            found.append(f"--{key}: no '{given[key]}'. {near}Use {', '.join(known)}.")
        else:
            found.append(each["msg"].removeprefix("Value error, "))
    return found
