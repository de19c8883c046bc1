"""What every objective's config answers: the questions of loading, training, planning and checks.

An objective is a frozen config, which a study file names, and what it builds for one shape of
network (`protocol.BuiltObjective`). The answers here are those of a loss of one image each, without
labels. Knows no JAX and no objective by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

from scaling.base.config import Config
from scaling.data.order import Labelled

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float, Int

    from models.precision import Precision
    from models.shapes import Shape, TextShape
    from scaling.data.loader import Encoder
    from scaling.data.source import SourceConfig
    from scaling.objectives.protocol import BuiltObjective
    from scaling.objectives.teacher import Teacher


class Pass(NamedTuple):
    """One network that a step sends examples through, and what a plan's memory is counted by.

    Fields:
      macs: multiply-adds of one example's forward pass, heads included.
      examples: of each image of the batch, such as 2 of two views.
      trained: whether a backward pass follows, which costs two forward passes; the parameters of
        one that is not are frozen, or a state: they have no gradients and no moments.
      shape: the network's, or the text tower's. Multiply-adds beyond its own are those of layers on
        it, each parameter used once. None: such layers alone.
      shared: whether its parameters are those of an earlier pass, as of a second look at images.
      layers: the shape of every array of parameters of the layers on the network; None: one linear
        layer with biases, which has all multiply-adds beyond the network's.
      to_inputs: multiply-adds of one example's backward pass to the inputs alone, of a pass that is
        not trained; 0: there is none. No gradient of a parameter is taken, and what is kept for it
        is free again before anything is trained.
    """

    macs: int
    examples: float = 1
    trained: bool = True
    shape: Shape | TextShape | None = None
    shared: bool = False
    layers: tuple[tuple[int, ...], ...] | None = None
    to_inputs: int = 0

    @property
    def flops(self) -> float:
        """Of one image of the batch."""
        return 2 * (self.macs * (3 if self.trained else 1) + self.to_inputs) * self.examples


Norm: TypeAlias = Literal["batch", "layer", "none"]
"""What normalises the hidden features of an MLP on a backbone."""


def linear(inputs: int, outputs: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of a linear layer's kernel and biases, as `Pass.layers` has them."""
    return (inputs, outputs), (outputs,)


def mlp(inputs: int, hidden: int, outputs: int, norm: Norm) -> tuple[tuple[int, ...], ...]:
    """The same of a projection head, `built.projection.MLP`; the last array are the biases, or the
    scale of a batch normalisation behind it."""
    biases = () if norm == "batch" else ((hidden,),)
    norms = () if norm == "none" else ((hidden,), (hidden,))
    return (inputs, hidden), *biases, *norms, *linear(hidden, outputs)


class Setting(NamedTuple):
    """What an objective must suit: of a run, what its loss may be impossible for.

    Fields:
      model: shape of the network.
      classes: of the data.
      batch: images a step.
      data_size: different training images; None: endless, or not known.
      labels_each: most labels of an image; None: one.
      augment: kinds of what is done to images, in order.
      captioned: whether images have captions.
      begins_trained: whether the network begins with trained weights.
      source: the data, where it is there to be looked at.
      labelled: whether training images have labels.
      resampled: whether images of rare classes are shown more often.
    """

    model: Shape
    classes: int
    batch: int
    data_size: int | None
    labels_each: int | None
    augment: tuple[str, ...]
    captioned: bool
    begins_trained: bool = False
    source: SourceConfig | None = None
    labelled: bool = True
    resampled: bool = False


class ObjectiveConfig(Config, ABC):
    """Base of all objectives. A subclass adds `kind: Literal["its-name"]` and what it needs."""

    @property
    def views(self) -> int:
        """Differently augmented versions of each image a step."""
        return 1

    @property
    def plain_views(self) -> tuple[int, ...]:
        """Those of the views, counted from 0, that no augmentation of images touches."""
        return ()

    @property
    def couples_examples(self) -> bool:
        """Whether one image's loss depends on the others of its batch."""
        return False

    @property
    def compared_at_once(self) -> int | None:
        """Of an objective that compares all images of a batch with all of its views or captions:
        with how many of them at a time, at most; None: with all."""
        return None

    @property
    def keeps_state(self) -> bool:
        """Whether something beside the parameters is kept from step to step, such as a moving
        average: `Learned.state` has arrays."""
        return False

    @property
    def one_pass(self) -> bool:
        """Whether all gradients are those of one pass through the blocks of the network, each of
        which may be updated as soon as its own is known: what a fused step needs."""
        return True

    @property
    def needs_labels(self) -> bool:
        """Whether a training image without a label is a mistake in the data."""
        return False

    @property
    def scores_classes(self) -> bool:
        """Whether the trained network says of images how likely each class of the data is.

        Then the objective has `losses(module, images, labels)`, `logits(module, images)` and
        `loss`, "sigmoid" or "softmax": see `classify.Classify`.
        """
        return False

    @property
    def teacher(self) -> Teacher | None:
        """The trained network whose parameters are `frozen`; None: `init` makes what is frozen."""
        return None

    @property
    def text_length(self) -> int | None:
        """Tokens of an image's caption, the entry `text` of a batch; None: it has none."""
        return None

    @property
    def reads_text(self) -> bool:
        """Whether the trained network makes vectors of texts that are like those of their images.

        Then the objective has `tokenizer(source)`, and its module `of_features(features)` and
        `of_texts(tokens)`: see `image_text.ImageText`.
        """
        return False

    def encoder(self, source: SourceConfig) -> Encoder | None:
        """From captions to tokens, int32 [n, text_length]; None: no captions are looked at."""
        del source
        return None

    def labelled(self, data_size: int | None) -> Labelled | None:
        """Which images have their labels shown; None: all. See `order.Labelled`.

        Args:
          data_size: number of different training images; None: endless.
        """
        del data_size
        return None

    def problems(self, setting: Setting) -> Iterator[str]:
        """Why such a run cannot be trained with this objective, in sentences; reads no file."""
        del setting
        yield from ()

    def missing(self, setting: Setting) -> Iterator[str]:
        """The same, of files that it needs."""
        del setting
        yield from ()

    def provenance(self, source: SourceConfig) -> dict[str, Any]:
        """What decided the numbers and is no part of the config, such as a file's hash.

        Args:
          source: what is trained on.
        """
        del source
        return {}

    def recalled(self, provenance: Mapping[str, Any]) -> Self:
        """The same, which knows by `provenance`, as it was when a run was trained, what it needs of
        files that are gone."""
        del provenance
        return self

    @abstractmethod
    def build(self, model: Shape, classes: int, precision: Precision) -> BuiltObjective:
        """The objective for one shape of network; makes no arrays."""

    @abstractmethod
    def passes(self, model: Shape, classes: int) -> Sequence[Pass]:
        """What each image of a batch is sent through, the network of shape `model` first."""

    def flops(self, model: Shape, images_seen: int, classes: int) -> int:
        """Training FLOPs: 2 a multiply-add, backward twice the forward, heads counted."""
        return round(images_seen * sum(each.flops for each in self.passes(model, classes)))


class ClassScores(ObjectiveConfig):
    """Base of the objectives whose networks score the data's classes, which evaluations ask for."""

    @property
    def scores_classes(self) -> bool:
        return True

    def logits(
        self, module: Any, images: Float[Array, "batch h w 3"]
    ) -> Float[Array, "batch classes"]:
        """What the head says of each class; `loss` is how that becomes a probability."""
        return module(images)

    @abstractmethod
    def losses(
        self,
        module: Any,
        images: Float[Array, "batch h w 3"],
        labels: Int[Array, " batch"] | Int[Array, "batch most"],
    ) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Loss in nats and top-1 error (0 or 1) of each image."""
