"""What a study file may say, table by table; `docs/study-file.md` is generated from this.

Only the shape of the file, one key at a time. What keys mean to each other, and the runs that come
of them, is `scaling.parse`'s work.
"""

from typing import Annotated, TypeAlias, TypeVar

from pydantic import Field

from scaling.config import Config, NoneAs
from scaling.data import Source
from scaling.evaluate import Evaluation
from scaling.objectives import Objective
from scaling.recipe import Recipe

T = TypeVar("T")
Size: TypeAlias = Annotated[int, Field(gt=0, le=10**6)]
Images: TypeAlias = Annotated[int, Field(gt=0, le=10**15)]
Axis: TypeAlias = Annotated[tuple[T, ...], Field(min_length=1, json_schema_extra={"axis": True})]
"""Values that a grid crosses with those of its other axes; one alone needs no brackets."""


class Sizes(Config):
    """A network of one's own, smaller than the zoo's or of another shape."""

    patch: Size
    """Side of a patch, pixels."""
    width: Size
    """Features of a token; a multiple of `heads`."""
    depth: Size
    """Number of blocks."""
    mlp: Size
    """Features inside each block's MLP; 4 times the width, usually."""
    heads: Size
    """Attention heads."""


class Grid(Config):
    """Every combination of the values of `model`, `images_seen`, `batch`, `data_size` and `seed`.

    A single value may stand without brackets. A run that several grids name is trained once.
    """

    model: Axis[str]
    """Names of the zoo, such as "Ti/16" (`scaling models` lists them), or of `[models.NAME]`."""
    images_seen: Axis[Images]
    """Training images shown in all, repeats counted; a multiple of `batch`."""
    batch: Axis[Annotated[int, Field(gt=0, le=10**9)]]
    """Images a step."""
    data_size: Axis[Annotated[Images | None, NoneAs("all")]] = (None,)
    """Number of different training images, the smaller sets inside the larger."""
    seed: Axis[Annotated[int, Field(ge=0, lt=2**32)]] = (0,)  # JAX sees no more bits of it
    """Decides the initial parameters and the order of the images."""
    flip: bool = False
    """Whether every image is mirrored, left to right, half of the times it is shown."""
    recipe: Recipe = Recipe()
    """Keys of `[recipe]` that are different in this grid."""


class StudyFile(Config):
    """A question, and the grid of runs that answers it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        json_schema_extra={"in_words": "a name of letters, digits, - and _"},
    )
    """Names the files that the study's results end up in."""
    question: str = Field(min_length=1)
    """What the study is to find out, in a sentence."""
    data: Source
    """Where images come from."""
    models: dict[str, Sizes] = Field(default_factory=dict)
    """Networks spelled out, one a table; NAME must not contain a `/`."""
    objective: Objective = Objective()
    """What is minimised."""
    recipe: Recipe = Recipe()
    """How every run is trained."""
    evaluate: tuple[Evaluation, ...] = Field(min_length=1)
    """What is measured on every trained network."""
    grid: tuple[Grid, ...] = Field(min_length=1)
    """Which runs to train."""
