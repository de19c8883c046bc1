"""`scaling convert`: weights from one layout to another, and trained runs into any.

What a layout is, `models.weights` knows; here a file or a run's folder is read, compared, listed
and written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from models.shapes import Shape
from models.weights.facts import About
from models.weights.ours import BACKBONE, HEAD, paths
from models.weights.reading import in_words, inspect
from models.weights.rows import SAME, Entry
from models.weights.tensors import Spec, Unusable
from models.weights.writing import ExportPlan, plan, write
from scaling.base.console import print_table
from scaling.training import checkpoints
from scaling.zoo.states import state_at

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Weights:
    """Parameters that can be read, and where they stand.

    Fields:
      words: what they are, for a person.
      ours: shape and type by path.
      entries: the table between our parameters and the names in `specs`.
      specs: shape and type of what is read, by the name in `entries`.
      names: how that is called where it stands, by the same name.
      skipped: what else stands there, and why it is left.
      read: gives the parameters.
      of_pixels: what must be known of the pixels that they see; None: nothing.
    """

    words: str
    shape: Shape
    ours: Mapping[str, Spec]
    entries: list[Entry]
    specs: Mapping[str, Spec]
    names: Mapping[str, str]
    skipped: Mapping[str, str]
    read: Callable[[], dict[Any, Any]]
    of_pixels: str | None = None


def convert(
    source: Path,
    out: Path,
    *,
    to: str | None,
    shape: str | None,
    resolution: int | None,
    given: About,
    dtype: str | None,
    dry_run: bool,
) -> None:
    """Writes `source` as `out`, or says what that would do.

    Args:
      source: a file of weights, or the folder of a run.
      to: a layout; None: the first of `out`'s extension.
      shape: name of the network, where it is not to be seen in the weights.
      resolution: side of the images in pixels, to which learned positions are resized; None: as
        in `source`.
      given: what else is not to be seen.
      dtype: one of `DTYPES`; None: as in `source`.

    Raises:
      UserError: all that is wrong with the request, or with the files.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UserError([f"--dtype {dtype}: there are {' and '.join(DTYPES)}."])
    if not out.parent.is_dir():
        raise UserError([f"{out.parent} is no folder; make it first."])
    if out.is_dir():
        raise UserError([f"{out} is a folder; name a file."])
    if out.exists() and source.exists() and out.samefile(source):
        raise UserError([f"{out} is what is read; write to another file."])
    try:
        if not source.is_dir():
            weights = of_file(source, shape, resolution, given)
        elif shape is None and resolution is None and given == About():
            weights = of_run(source)
        else:
            raise UserError(
                [f"{source} is a run, which knows its shape; give --to and --dtype alone."]
            )
        planned = plan(out, weights.ours, weights.shape, to, dtype=dtype)
        print(f"{source}: {weights.words}")
        if weights.of_pixels:
            print(f"pixels: {weights.of_pixels}")
        if dry_run:
            show(weights, planned)
            return
        for why, count in Counter(weights.skipped.values()).items():
            print(f"left out: {count:_} array{'s' if count > 1 else ''}, {why}")
        write(out, weights.read(), weights.shape, to, dtype=dtype)
    except Unusable as error:
        raise UserError(error.mistakes) from error
    written = " and ".join(str(path) for path in planned.files.values())
    size = sum(spec.bytes for spec in planned.specs.values())
    print(f"{written}: {planned.layout}, {len(planned.specs):_} arrays, {size / 1e6:.4g} MB")
    gelu = getattr(planned.shape, "gelu", None)  # a BiT has none
    if planned.layout == "timm" and gelu == "tanh":
        print('in timm say act_layer="gelu_tanh": it computes the exact GELU otherwise')
    if out.suffix == ".npz" and gelu == "erf":
        print(
            "these weights were read as ones of the exact GELU; from an .npz they are read as tanh"
        )


def of_file(path: Path, shape: str | None, resolution: int | None, given: About) -> Weights:
    """The weights in a file of any layout."""
    found = inspect(path, shape, resolution=resolution, given=given)
    return Weights(
        words=f"{found.layout}, {in_words(found.shape, found.classes)}",
        shape=found.shape,
        ours=found.ours,
        entries=found.entries,
        specs={name: found.specs[there] for name, there in found.names.items()},
        names=found.names,
        skipped=found.skipped,
        read=found.read,
        of_pixels=found.of_pixels,
    )


def of_run(path: Path) -> Weights:
    """The parameters of a training state, or the last ones of a run or trunk; classifier
    included."""
    state = state_at(path)
    try:
        params = checkpoints.parameters(state.folder)
    except (checkpoints.Damaged, checkpoints.OtherState) as damage:
        raise UserError([str(damage)]) from damage
    kept = {key: params[key] for key in (BACKBONE, HEAD) if key in params}
    arrays = paths(kept)
    ours = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
    classes = state.run.data.classes if HEAD in kept else None
    return Weights(
        words=f"{state.moment}, {in_words(state.run.model, classes)}",
        shape=state.run.model,
        ours=ours,
        entries=[
            Entry((name,), (name,), SAME, None, (spec.shape,), (spec.shape,))
            for name, spec in ours.items()
        ],
        specs=ours,
        names={name: name for name in ours},
        skipped={name: "of the objective alone" for name in paths(params) if name not in ours},
        read=lambda: kept,
    )


def show(weights: Weights, planned: ExportPlan) -> None:
    """Prints what becomes of what, a line for each array of the file, or for each of its layers
    where they are stacked there and apart in the other."""
    print(f"{planned.files['weights']}: {planned.layout}, would hold {len(planned.specs):_} arrays")
    headings = ("array", "is", "here", "becomes", "as")
    lines = [
        (
            " + ".join(weights.names[name] for name in theirs) or "(computed)",
            " + ".join(str(weights.specs[name]) for name in theirs),
            path if layer is None else f"{path}[{layer}]",
            " + ".join(becomes),
            " + ".join(str(planned.specs[name]) for name in becomes),
        )
        for theirs, path, layer, becomes in mappings(weights.entries, planned.entries)
    ]
    print_table(headings, lines, left=headings)
    for name, why in weights.skipped.items():
        print(f"left out: {name}, {why}")
    print("nothing was written: --dry-run")


def mappings(
    here: list[Entry], there: list[Entry]
) -> Iterator[tuple[tuple[str, ...], str, int | None, tuple[str, ...]]]:
    """Names that a parameter comes from, its path and layer, and the names that it goes to.

    The layer is None where a parameter has none, or all of them go together.
    """
    sources = {(path, entry.layer): entry.theirs for entry in here for path in entry.ours}
    targets = {(path, entry.layer): entry.theirs for entry in there for path in entry.ours}
    layers: dict[str, list[int | None]] = {}
    for path, layer in targets:
        layers.setdefault(path, []).append(layer)
    for (path, layer), names in sources.items():
        together = layer is not None or (path, None) in targets
        for each in [layer] if together else layers[path]:
            yield names, path, each, targets.get((path, each)) or targets[path, None]
    known = {path for path, _ in sources}
    for (path, layer), names in targets.items():
        if path not in known:
            yield (), path, layer, names
