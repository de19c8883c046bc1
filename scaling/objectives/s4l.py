"""S4L: a pretext task on all images, and cross-entropy on the few that have labels.

Knows a backbone only as something that turns images into vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.cost import attention_macs, forward_macs
from scaling.data.order import Labelled
from scaling.objectives.config import Pass, Setting, linear
from scaling.objectives.exemplar import exemplar_problems
from scaling.objectives.rotation import TURNS
from scaling.objectives.softmax import SoftmaxScores

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.objectives.built.s4l import S4LObjective


class S4L(SoftmaxScores):
    """Cross-entropy of labelled images, plus `weight` times a loss that all images have, nats.

    Half of each batch's images have labels (`labelled_share`), drawn from the labelled few; the
    others are drawn from all, without labels. Zhai et al. 2019, "S4L: Self-supervised
    semi-supervised learning", equation 1; pseudo-labels, entropy minimisation and VAT are its
    baselines. Which images the classifier sees is `classified`; the exemplar loss is `exemplar`'s
    semi-hard one on the backbone's output, where the published code is remembered to have a
    batch-hard one with a soft margin on a layer of its own.
    """

    kind: Literal["s4l"] = "s4l"
    labelled_images: int | float = Field(default=0.1, gt=0)
    """Images whose labels are shown: below 1 a share of `data_size`, else how many. The first of
    the data set's fixed order: the smaller sets lie inside the larger."""
    labelled_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of a batch's images that are labelled ones."""
    task: Literal["rotation", "exemplar", "none"] = "rotation"
    """What all images are trained on: all four turns of each, or the triplet loss of two views."""
    classified: Literal["upright", "all"] = "upright"
    """What of a labelled image the classifier is trained on: its first view as it is, or all turns
    and views that the task shows, as the published code is remembered to do."""
    weight: float = Field(default=1.0, ge=0, le=1e4)
    """Of the task's loss."""
    entropy: float = Field(default=0.0, ge=0, le=1e4)
    """Weight of the mean entropy of what is said of images without labels (Grandvalet and Bengio
    2005)."""
    pseudo_labels: float = Field(default=0.0, ge=0, le=1e4)
    """Weight of the cross-entropy against the likeliest class, of images without labels of which
    one class has a probability of `confidence` or more (Lee 2013), the mean over all of them."""
    confidence: float = Field(default=0.95, gt=0, le=1)
    """From which probability on a class is believed."""
    vat: float = Field(default=0.0, ge=0, le=1e4)
    """Weight of virtual adversarial training, the divergence of what is said of an image from what
    is said when it is perturbed by `vat_length` where that changes most (Miyato et al. 2018; one
    power iteration), the mean over all images."""
    vat_length: float = Field(default=1.0, gt=0, le=1e4)
    """Euclidean length of the perturbation of a whole image, whose pixels are -1 .. 1."""

    @property
    def views(self) -> int:
        return 2 if self.task == "exemplar" else 1

    @property
    def couples_examples(self) -> bool:
        """Of the exemplar loss alone: labelled images are divided by how many a batch has, and not
        by how many were found in it."""
        return self.task == "exemplar"

    @property
    def one_pass(self) -> bool:
        """VAT sends images through the backbone again."""
        return not self.vat

    @property
    def turns(self) -> int:
        """Times that each view of an image is shown to the backbone."""
        return TURNS if self.task == "rotation" else 1

    def labelled(self, data_size: int | None) -> Labelled | None:
        size = self.labelled_images
        if size < 1:
            if data_size is None:
                return None  # which `problems` has refused
            return Labelled(round(size * data_size), self.labelled_share)
        return Labelled(round(size), self.labelled_share)

    def problems(self, setting: Setting) -> Iterator[str]:
        size, given = setting.data_size, self.labelled_images
        if given >= 1 and given != round(given):
            yield f"labelled_images = {given:g}: below 1 it is a share, else a whole number."
        elif given < 1 and size is None:
            yield (
                f"labelled_images = {given:g} is a share of data_size, which is left out; give a "
                "data_size, or labelled_images as a whole number."
            )
        else:
            found = self.labelled(size)
            assert found is not None
            if found.size < 1:
                yield (
                    f"labelled_images = {given:g} of {size:_} images is less than one; give more."
                )
            elif size is not None and found.size > size:
                yield f"labelled_images = {found.size:_} is more than the {size:_} images."
            if not 0 < found.rows(setting.batch) < setting.batch:
                yield (
                    f"labelled_share = {self.labelled_share:g} of a batch of {setting.batch} "
                    "leaves no image with a label, or none without; take a larger batch."
                )
        if setting.labels_each is not None:
            yield "s4l needs one label an image, and these have several."
        if self.task == "exemplar":
            yield from exemplar_problems(self.kind, setting)
        elif "mixup" in setting.augment:
            yield "s4l looks at labels of few images, which mixup blends; leave mixup out."
        if setting.resampled:
            yield (
                "s4l hides the labels of most images, and resample counts the labels of all to "
                "choose which are shown; leave resample out, or give s4l a grid of its own."
            )
        if not setting.labelled:
            yield "s4l needs labels of some images, and the training images have none."

    def missing(self, setting: Setting) -> Iterator[str]:
        if setting.source is None or setting.data_size is not None or self.labelled_images < 1:
            return
        given, total = self.labelled_images, setting.source.sizes()[0]
        if total is not None and given > total:
            yield f"labelled_images = {given:_.0f} is more than the {total:_} images."

    def build(self, model: Shape, classes: int, precision: Precision) -> S4LObjective:
        from scaling.objectives.built.s4l import S4LObjective

        return S4LObjective(self, model, classes, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """All turns and views through backbone and heads; the classifier is counted with all, also
        where it looks at one of them, features * classes multiply-adds each.

        For VAT each image once more as it is, forward alone; once to find the perturbation, whose
        backward pass goes to the image and takes no gradient of a parameter; and perturbed, which
        is trained. To the image a product with parameters costs as much as forward, one of two
        activations twice that.
        """
        turns = TURNS if self.task == "rotation" else 0
        layers = linear(model.features, classes) + (linear(model.features, turns) if turns else ())
        shown = self.turns * self.views
        macs = forward_macs(model, classes)
        heads = model.features * turns
        found = [Pass(macs + heads, examples=shown, shape=model, layers=layers)]
        if self.vat:
            perturbed = Pass(macs, shape=model, shared=True)
            clean = perturbed._replace(trained=False)
            found += [clean, clean._replace(to_inputs=macs + attention_macs(model)), perturbed]
        return tuple(found)
