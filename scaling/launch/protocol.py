"""What a launcher is, and how a command line names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, get_args

from pydantic import ValidationError

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from models.precision import Compute
from scaling.launch.dry_run import Places
from scaling.launch.launch import AtWork, Launch
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.launchers import Launcher
from scaling.launch.progress.display import Display
from scaling.study.study import Study
from scaling.training.placement_checks import check_runs
from scaling.training.placement_spec import PlacementSpec

NONE: Mapping[str, Any] = {}


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


def launcher(
    kind: str | None, given: Mapping[str, Any], table: Mapping[str, Any] = NONE
) -> StartsWorkers:
    """The launcher that a command line and a study ask for.

    Args:
      kind: of the command line; None: the study's, or else "local".
      given: fields by the command line; None: as the study says. They take the place of its own.
      table: the study's `[launcher]`; not used where it is of another kind.

    Raises:
      UserError: there is no such launcher, or it has no such fields; all mistakes.
    """
    known = launchers()
    said = str(table.get("kind", "local"))
    name, where = (said, "[launcher] kind =") if kind is None else (kind, "--on")
    if name not in known:
        near = did_you_mean(name, known)
        raise UserError([f"{where} {name}: no such launcher. {near}There is {', '.join(known)}."])
    theirs = {key: value for key, value in table.items() if key != "kind"} if said == name else {}
    chosen = {key: value for key, value in given.items() if value is not None}
    fields = known[name].model_fields
    mistakes = [f"{_option(key)} is for {_owners(key)}." for key in chosen if key not in fields]
    mistakes += [
        f"[launcher] {key}: {name} has no such key. {did_you_mean(key, fields)}"
        f"There is {', '.join(fields)}."
        for key in theirs
        if key not in fields
    ]
    if mistakes:
        raise UserError(mistakes)
    try:
        return known[name](**{**theirs, **chosen})
    except ValidationError as error:
        raise UserError(_launcher_mistakes(error, chosen)) from None


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _owners(key: str) -> str:
    """The launchers that have a field."""
    return " and ".join(f"--on {k}" for k, each in launchers().items() if key in each.model_fields)


def _launcher_mistakes(error: ValidationError, chosen: Mapping[str, Any]) -> list[str]:
    """One sentence a mistake, with the option or key that it is of."""
    found = []
    for each in error.errors():
        key = str(each["loc"][0]) if each["loc"] else ""
        words = each["msg"].removeprefix("Value error, ")
        place = _option(key) if key in chosen else f"[launcher] {key}".rstrip()
        found.append(f"{place}: {words}" + ("" if words.endswith(".") else "."))
    return found


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
