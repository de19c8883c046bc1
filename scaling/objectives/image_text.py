"""What the objectives of images and their captions share: two towers, tokens, and what they cost.

Knows a backbone only as something that turns images into vectors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from fits.base.errors import UserError
from models.cost import forward_macs
from models.shapes import Shape, TextShape, ViTShape
from scaling.base.config import Config
from scaling.data.tokens import Tokenizer, Tokens, TrainedTokens
from scaling.objectives.config import ObjectiveConfig, Pass, Setting, linear

if TYPE_CHECKING:
    from models.precision import Precision
    from scaling.data.loader import Encoder
    from scaling.data.source import SourceConfig
    from scaling.objectives.built.image_text import ImageTextObjective

Loss: TypeAlias = Literal["softmax", "sigmoid"]
AT_ONCE = 1024  # captions that the sigmoid compares all images with at a time


class TextTower(Config):
    """The sizes of a text tower. What is left out follows the image tower, where that is a ViT: its
    width and depth; MLP and heads in the image tower's proportion to the width."""

    width: int | None = Field(default=None, gt=0, le=10**6)
    """Features of a token."""
    depth: int | None = Field(default=None, gt=0, le=10**6)
    """Number of blocks."""
    mlp: int | None = Field(default=None, gt=0, le=10**6)
    """Features inside each block's MLP."""
    heads: int | None = Field(default=None, gt=0, le=10**6)
    """Attention heads."""
    pool: Literal["last", "map", "gap"] = "last"
    """What makes one vector of the tokens: the last one, which ends the text, attention with a
    learned query, or their mean."""

    def shape(self, model: Shape, vocabulary: int, length: int) -> TextShape:
        """Beside an image tower of shape `model`.

        Raises:
          ValueError: what is left out does not follow from that, or heads do not divide a width.
        """
        own = (self.width, self.depth, self.mlp, self.heads)
        if not isinstance(model, ViTShape) and None in own:
            raise ValueError(
                f"the text tower follows an image tower that is a ViT, and {model.name} is none; "
                "give text = { width = .., depth = .., mlp = .., heads = .. }."
            )
        sizes = dict(zip(("width", "depth", "mlp", "heads"), own, strict=True))
        if isinstance(model, ViTShape):
            sizes = _followed(self, model)
        return TextShape(
            name="text",
            vocabulary=vocabulary,
            length=length,
            pool=self.pool,
            **{key: value for key, value in sizes.items() if value is not None},
        )


def _followed(own: TextTower, model: ViTShape) -> dict[str, int | None]:
    width = own.width or model.width

    def in_proportion(of_model: int) -> int:
        return max(1, round(of_model * width / model.width))

    return {
        "width": width,
        "depth": own.depth or model.depth,
        "mlp": own.mlp or in_proportion(model.mlp),
        "heads": own.heads or in_proportion(model.heads),
    }


class ImageText(ObjectiveConfig):
    """Base: an image's vector and that of its caption are to be alike, other pairs are not.

    Subclasses say by which loss, and what is trained.
    """

    text: TextTower = TextTower()
    """The text tower: `{ width = 512, depth = 12, mlp = 2048, heads = 8 }`. Left out, as large as
    the image tower, so that a grid over models scales both."""
    tokens: Tokens = TrainedTokens()
    """How captions become tokens: as learnt from captions of the data, `{ kind = "trained",
    vocabulary = 512, length = 64 }`, or as a file says, `{ kind = "file", path =
    "tokenizer.json" }`."""

    @property
    @abstractmethod
    def compared_by(self) -> Loss:
        """`softmax`: each finds its partner among all others of the batch; `sigmoid`: each pair is
        told to belong together or not."""

    @property
    def locked(self) -> bool:
        """Whether the image tower is not trained."""
        return False

    @property
    def couples_examples(self) -> bool:
        return True

    @property
    def compared_at_once(self) -> int | None:
        return AT_ONCE if self.compared_by == "sigmoid" else None

    @property
    def reads_text(self) -> bool:
        return True

    @property
    def text_length(self) -> int:
        return self.tokens.length

    def encoder(self, source: SourceConfig) -> Encoder:
        return self.tokenizer(source).encode

    def tokenizer(self, source: SourceConfig) -> Tokenizer:
        """The one that the network learns to read with, given what it is trained on."""
        return self.tokens.tokenizer(source)

    def provenance(self, source: SourceConfig) -> dict[str, Any]:
        """The hash of the tokenizer."""
        return {"tokenizer_sha256": self.tokenizer(source).sha256}

    def embedding(self, model: Shape) -> int:
        """Features of the vectors that are compared."""
        return model.features

    @property
    def projects_images(self) -> bool:
        """Whether a linear layer stands on the image tower, as on the text tower."""
        return True

    def text_shape(self, model: Shape) -> TextShape:
        """The text tower beside an image tower of shape `model`; reads a file of tokens, if any."""
        return self.text.shape(model, self.tokens.size, self.tokens.length)

    def problems(self, setting: Setting) -> Iterator[str]:
        kind, model = type(self).model_fields["kind"].default, setting.model
        if setting.batch < 2:
            yield f"{kind} tells pairs of a batch apart, and a batch of 1 has no others; use 2."
        if "mixup" in setting.augment:
            yield f"{kind} has no labels to mix; leave mixup out of augment."
        if not setting.captioned:
            yield (
                f"{kind} reads captions, and the images of [data] have none; take a source that "
                "has captions."
            )
        if isinstance(model, ViTShape) and model.mup is not None:
            yield f"{kind} has no muP: how a text tower follows it is not decided; leave mup out."
        try:
            self.text.shape(model, 1, self.tokens.length)
        except ValueError as error:
            yield str(error)

    def missing(self, setting: Setting) -> Iterator[str]:
        if setting.source is not None and setting.captioned:
            yield from self.tokens.missing(setting.source)

    def build(self, model: Shape, classes: int, precision: Precision) -> ImageTextObjective:
        from scaling.objectives.built.image_text import ImageTextObjective, LockedImageText

        del classes
        return (LockedImageText if self.locked else ImageTextObjective)(self, model, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """Image tower and text tower, each with the layer on it; the products of their vectors with
        each other are not counted."""
        del classes
        text, size = self._text_or_smaller(model), self.embedding(model)
        on_images = model.features * size if self.projects_images else 0
        scalars: tuple[tuple[int, ...], ...] = ((),) if self.compared_by == "softmax" else ((), ())
        return (
            Pass(forward_macs(model) + on_images, trained=not self.locked, shape=model),
            Pass(
                forward_macs(text) + text.features * size,
                shape=text,
                layers=linear(text.features, size) + scalars,  # temperature, and bias
            ),
        )

    def _text_or_smaller(self, model: Shape) -> TextShape:
        """The text tower, without its table of tokens where the file that they are in is gone: no
        multiply-add depends on it."""
        try:
            return self.text_shape(model)
        except UserError:
            return self.text.shape(model, 1, self.tokens.length)
