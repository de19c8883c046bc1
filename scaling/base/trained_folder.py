"""The folder of a trained network, as a run names it to begin with or to learn from.

A run's folder stands for the checkpoint of its end, a checkpoint's for itself. Knows a run as the
JSON of run.json, and reads no numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scaling.base.json_file import read_json

RUN, CHECKPOINT, MANIFEST = "run.json", "checkpoint.json", "manifest.json"
TRUNKS, OWN = "trunks", "checkpoints"  # trunks/TRUNK/STEP beside runs, RUN/checkpoints/STEP in one
MOST_NAMED = 5  # paths, in a sentence


class TrainedFolder(NamedTuple):
    """Who trained a network, and where its parameters are.

    Fields:
      run: what run.json says of the run; of a trunk's checkpoint, of one of the trunk's runs.
      checkpoint: the folder of the training state.
    """

    run: dict[str, Any]
    checkpoint: Path


def trained_folder(folder: Path) -> TrainedFolder:
    """What a path stands for.

    Raises:
      ValueError: it is no run's folder and no checkpoint's, or that of a run without a checkpoint
        of its end; in a sentence, with what could be named instead.
    """
    whole = folder.absolute()
    above, trunks = whole.parent, whole.parents[min(1, len(whole.parents) - 1)]
    if (whole / CHECKPOINT).exists():
        found = _run(above.parent) if above.name == OWN else _run_on(above)
        if found is None:
            raise ValueError(
                f"{folder} is a checkpoint, and no {RUN} says of which network; leave it where "
                "`scaling launch` has put it: in its run's folder, or beside the runs of its trunk."
            )
        return TrainedFolder(found, folder)
    if above.name == TRUNKS:
        raise ValueError(_of_trunk(folder, whole))
    if above.name == OWN or trunks.name == TRUNKS:
        raise ValueError(
            f"{folder} has no {CHECKPOINT}, so it is no whole checkpoint"
            f"{_named('; name one of those beside it', _checkpoints(folder.parent))}."
        )
    run = _run(folder)
    steps = None if run is None else _steps(run)
    if run is None or steps is None:
        raise ValueError(
            f"{folder} is no run's folder; name one, a checkpoint's, or a file of weights."
        )
    end = folder / OWN / str(steps)
    if not (end / CHECKPOINT).exists():
        there = [*_checkpoints(folder / OWN), *_checkpoints_before(folder)]
        raise ValueError(
            f"{folder} is not finished: it has no checkpoint of its end, step {steps:_}; "
            f"train it first{_named(', or name one of the checkpoints that it has', there)}."
        )
    return TrainedFolder(run, end)


def absent(path: Path) -> str:
    """That nothing is at a path, and where it would be a checkpoint, which there are."""
    there = _checkpoints(path.parent)
    return f"there is no {path}{_named('; name one of the checkpoints beside it', there)}."


def named_in(run: Any) -> Iterator[Path]:
    """The paths of the networks that a run begins with or learns from.

    Args:
      run: what run.json says of it, trusted in nothing.
    """
    found = run if isinstance(run, dict) else {}
    objective = found.get("objective")
    teacher = objective.get("teacher") if isinstance(objective, dict) else None
    for each in (teacher, found.get("init")):
        if isinstance(each, dict) and isinstance(each.get("from"), str):
            yield Path(each["from"])


def _run(folder: Path) -> dict[str, Any] | None:
    """What run.json says of the run; None: nothing that can be read."""
    said = _said(folder / RUN)
    return said["run"] if isinstance(said.get("run"), dict) else None


def _run_on(trunk: Path) -> dict[str, Any] | None:
    """One of the runs that share a trunk, by its run.json; None: there is none."""
    if trunk.parent.name != TRUNKS:
        return None
    folders = (path.parent for path in sorted(trunk.parents[1].glob(f"*/{RUN}")))
    return next((_run(each) for each in folders if _trunk_of(each) == trunk.name), None)


def _trunk_of(folder: Path) -> Any:
    """Of a run, by its run.json."""
    return _said(folder / RUN).get("trunk")


def _said(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _steps(run: dict[str, Any]) -> int | None:
    """Of a whole run; None: it does not say."""
    seen, batch = run.get("images_seen"), run.get("batch")
    if type(seen) is not int or type(batch) is not int or not 0 < batch <= seen < 2**63:
        return None
    return seen // batch


def _of_trunk(folder: Path, trunk: Path) -> str:
    """That a trunk is many networks, and which of them could be named."""
    runs = [path.parent for path in sorted(trunk.parents[1].glob(f"*/{MANIFEST}"))]
    done = [each for each in runs if _trunk_of(each) == trunk.name]
    return (
        f"{folder} is a trunk, which has a network for every checkpoint"
        f"{_named('; name a run that left it and is done', done)}"
        f"{_named('; or, before the cooldown of the learning rate', _checkpoints(folder))}."
    )


def _checkpoints(parent: Path) -> list[Path]:
    """The whole ones in a folder, by step."""
    try:
        there = [each for each in parent.iterdir() if each.name.isdecimal()]
    except OSError:
        return []
    return sorted((e for e in there if (e / CHECKPOINT).exists()), key=lambda e: int(e.name))


def _checkpoints_before(folder: Path) -> list[Path]:
    """Those of a run's trunk."""
    trunk = _trunk_of(folder)
    return _checkpoints(folder.parent / TRUNKS / trunk) if isinstance(trunk, str) else []


def _named(words: str, paths: Iterable[Path]) -> str:
    """Some of the paths after these words; nothing where there is none."""
    there = [str(each) for each in paths]
    if not there:
        return ""
    more = f", and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    return f"{words}: {', '.join(there[:MOST_NAMED])}{more}"
