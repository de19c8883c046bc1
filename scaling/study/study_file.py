"""What a study file may say, table by table; `docs/study-file.md` is generated from this.

Only the shape of the file, one key at a time. What keys mean to each other, and the runs that come
of them, is `scaling.study.parse`'s work.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict, Discriminator, Field, Tag

from models.shapes import MuP
from scaling.base.config import Clash, Config, MembersByKeys, NoneAs
from scaling.data import Source
from scaling.data.around.subset import Selection
from scaling.data.augment import Augment, check_augment
from scaling.data.order import Resampling
from scaling.evaluate import Evaluation
from scaling.objectives import DEFAULT, Objective
from scaling.study.mistakes import near_names
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.initial import Init
from scaling.training.placement_spec import DEFAULT as PLACED
from scaling.training.placement_spec import PlacementSpec
from scaling.training.recipe import Recipe

T = TypeVar("T")
Size: TypeAlias = Annotated[int, Field(gt=0, le=10**6)]
ImageCount: TypeAlias = Annotated[int, Field(gt=0, le=10**15)]
Axis: TypeAlias = Annotated[tuple[T, ...], Field(min_length=1, json_schema_extra={"axis": True})]
"""Values that a grid crosses with those of its other axes; one alone needs no brackets."""


class MuPKeys(Config):
    """The maximal update parametrisation: the learning rate found at a small width stays right."""

    base_width: Size
    """Width of the model on which the learning rate was found."""
    base_head: Size = 64
    """Features of a head there, where 1 / size and 1 / sqrt(size) give the same attention."""
    base_depth: Size | None = None
    """Number of blocks there; left out, depth changes nothing."""
    depth_exponent: float = Field(default=0.5, ge=0.5, le=1)
    """Each residual branch is multiplied by (depth / base_depth) to minus this."""

    def clashes(self) -> Iterator[Clash]:
        try:
            MuP(**self.model_dump())
        except ValueError as error:
            yield Clash(("base_depth", "depth_exponent"), str(error).removeprefix("mup: "))


class ViTOptions(Config):
    """What a paper may have chosen otherwise than "Scaling Vision Transformers"."""

    pool: Literal["map", "gap", "token"] = "map"
    """What makes one vector of the tokens: attention with a learned query, their mean, or a class
    token that travels with them."""
    pre_logits: Size | None = None
    """Features of a layer with tanh between pool and classifier; left out, there is none."""
    position: Literal["learned", "sincos"] = "learned"
    """A table of parameters, or fixed sines and cosines of row and column."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """GELU by its tanh approximation, as in flax, or exact, as in PyTorch."""
    block: Literal["sequential", "parallel"] = "sequential"
    """Attention, then MLP; or both at once on one normalised input, as in ViT-22B."""
    query_key_norm: bool = False
    """Whether queries and keys are normalised before their product, as in ViT-22B."""
    qkv_and_norm_biases: bool = True
    """Whether query, key, value and the norms have biases; ViT-22B leaves them out."""
    mup: MuPKeys | None = None
    """The maximal update parametrisation; left out, the standard one."""


class ViTSizes(ViTOptions):
    """A ViT of one's own, smaller than the zoo's or of another shape."""

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


class ViTLike(ViTOptions):
    """A ViT of the zoo with something changed: `like = "Ti/16"` and what is to be different."""

    like: str
    """Name of a ViT of the zoo, such as "Ti/16"; what is left out here is as there."""
    patch: Size | None = None
    """Side of a patch, pixels."""
    width: Size | None = None
    """Features of a token; a multiple of the heads."""
    depth: Size | None = None
    """Number of blocks."""
    mlp: Size | None = None
    """Features inside each block's MLP; does not follow the width."""
    heads: Size | None = None
    """Attention heads."""


class BiTSizes(Config):
    """A ResNet with GroupNorm and weight standardisation, as in "Big Transfer": known by
    `stages`."""

    stages: tuple[Annotated[int, Field(gt=0, le=1000)], ...] = Field(min_length=1, max_length=8)
    """Bottleneck blocks of each stage; R50 has [3, 4, 6, 3]."""
    width: Size
    """Channels of the root, a multiple of 32; R50x1 has 64."""
    order: Literal["pre", "post"] = "pre"
    """Norm and ReLU before each convolution, as in the paper, or after it."""


class MixerSizes(Config):
    """An MLP-Mixer, known by `mlp_tokens`."""

    patch: Size
    """Side of a patch, pixels."""
    width: Size
    """Features of a patch."""
    depth: Size
    """Number of blocks."""
    mlp_tokens: Size
    """Features inside the MLP across the patches; half the width, usually."""
    mlp: Size
    """Features inside the MLP across the features; 4 times the width, usually."""
    gelu: Literal["tanh", "erf"] = "tanh"
    """GELU by its tanh approximation, as in flax, or exact, as in PyTorch."""


TELLING = {"like": "like", "stages": "BiT", "mlp_tokens": "Mixer"}


def _family(table: Any) -> str:
    """Which of `OwnModel`'s members a table is meant as, by its keys; slips are forgiven."""
    keys = set(table) if isinstance(table, dict) else set()
    told = keys & set(TELLING)
    strange = keys - set(ViTSizes.model_fields)
    near = (near_names(key, TELLING) for key in sorted(told or strange))
    return next((TELLING[names[0]] for names in near if names), "ViT")


OwnModel: TypeAlias = Annotated[
    Annotated[ViTSizes, Tag("ViT")]
    | Annotated[ViTLike, Tag("like")]
    | Annotated[BiTSizes, Tag("BiT")]
    | Annotated[MixerSizes, Tag("Mixer")],
    Discriminator(_family),
    MembersByKeys(("ViT", "like", "BiT", "Mixer")),
]


class Grid(Config):
    """Every combination of the values of `model`, `images_seen`, `batch`, `data_size`, `subset`,
    `resample`, `seed` and `objective`.

    A single value may stand without brackets. A run that several grids name is trained once.
    """

    model: Axis[str]
    """Names of the zoo, such as "Ti/16" or "BiT-R50x1" (`scaling models` lists them), or of
    `[models.NAME]`."""
    images_seen: Axis[ImageCount]
    """Training images shown in all, repeats counted; a multiple of `batch`."""
    batch: Axis[Annotated[int, Field(gt=0, le=10**9)]]
    """Images a step."""
    data_size: Axis[Annotated[ImageCount | None, NoneAs("all")]] = (None,)
    """Number of different training images, the smaller sets inside the larger."""
    subset: Axis[Annotated[Selection | None, NoneAs("all")]] = (None,)
    """Part of `[data]`, of which `data_size` then counts: `{ classes = 100, label_noise = 0.1,
    seed = 0 }`, keys that are left out change nothing. Classes and wrong labels of the smaller lie
    inside the larger; held-out images are of the same classes, their labels as they are."""
    resample: Axis[Annotated[Resampling | None, NoneAs("none")]] = (None,)
    """Whether images of rare classes are shown more often: a class of f images in proportion to the
    square root of f, or as often as any other; of several labels the rarest decides."""
    seed: Axis[Annotated[int, Field(ge=0, lt=2**32)]] = (0,)  # JAX sees no more bits of it
    """Decides the initial parameters and the order of the images."""
    objective: Axis[Annotated[Objective | None, NoneAs("same")]] = (None,)
    """What is minimised, `[{ kind = "classify" }, { kind = "simclr" }]`; left out, or "same": that
    of `[objective]`."""
    augment: tuple[Augment, ...] = ()
    """What is done to training images, in this order, each kind at most once:
    `[{ kind = "flip" }, { kind = "augreg", setting = "light2" }]`. Left out, nothing."""
    mup: MuPKeys | None = None
    """The maximal update parametrisation, for every ViT of this grid that has none of its own;
    in results its model is then called "Ti/16 muP64" or the like."""
    recipe: Recipe = Recipe()
    """Keys of `[recipe]` that are different in this grid."""
    init: Init | None = None
    """The backbone's parameters to begin with, `{ from = "weights.npz" }`: a file of weights, or
    the folder of a run that is done, of the grid's own network; with `resolution` too, learned
    positions are resized to `[data]`'s. The head begins anew. Left out: all is drawn at random."""

    def clashes(self) -> Iterator[Clash]:
        try:
            check_augment(self.augment)
        except ValueError as error:
            yield Clash(("augment",), str(error))


class LauncherTable(Config):
    """Where `scaling launch` has the runs trained, unless its options say otherwise: a `kind`,
    `"local"`, `"slurm"` or `"ray"`, and that launcher's options with `_` in place of `-`, such as
    `partition = "gpu"`, `time = "4h"`, `gpus = 4`. `scaling plan` and `scaling launch` check
    them."""

    model_config = ConfigDict(extra="allow")

    kind: str = "local"
    """As `--on` takes it."""


class StudyFile(Config):
    """A question, and the grid of runs that answers it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
        json_schema_extra={"in_words": "a name of at most 100 letters, digits, - and _"},
    )
    """Names the files that the study's results end up in."""
    question: str = Field(min_length=1)
    """What the study is to find out, in a sentence."""
    data: Source
    """Where images come from."""
    models: dict[str, OwnModel] = Field(default_factory=dict)
    """Networks of one's own, one a table; NAME must not contain a `/`, nor be one of the zoo's."""
    objective: Objective = DEFAULT
    """What is minimised."""
    recipe: Recipe = Recipe()
    """How every run is trained."""
    compute: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the blocks' products and of the residual stream; parameters are float32. A part of
    what a run is, for it moves digits. `auto`: bfloat16 where a GPU or TPU trains, float32 on a
    CPU, and what a folder of runs has begun with it goes on with."""
    placement: PlacementSpec = PLACED
    """How and on which devices every run is computed; no part of what a run is."""
    checkpoints: CheckpointSpec = CHECKPOINTS
    """When training states are kept on disk; no part of what a run is."""
    launcher: LauncherTable = LauncherTable()
    """Where the runs are trained; no part of what a run is."""
    evaluate: tuple[Evaluation, ...] = Field(min_length=1)
    """What is measured on every trained network."""
    grid: tuple[Grid, ...] = Field(min_length=1)
    """Which runs to train."""
