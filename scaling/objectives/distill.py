"""Distillation: a network learns the answers of a trained one, which stays as it is.

Knows a teacher as a shape, a number of classes and a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, Field

from fits.base.errors import UserError
from models.cost import forward_macs
from scaling.objectives.config import Pass, Setting
from scaling.objectives.softmax import SoftmaxScores
from scaling.objectives.teacher import Known, Teacher, names_of

if TYPE_CHECKING:
    from models.precision import Precision
    from models.shapes import Shape
    from scaling.data.source import SourceConfig
    from scaling.objectives.built.distill import DistillObjective


class Distill(SoftmaxScores):
    """The divergence of a network's answers from those of a trained teacher; labels are not used.

    T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over images, in nats. Beyer et
    al. 2022, "Knowledge distillation: a good teacher is patient and consistent"; the factor T^2 as
    in big_vision, so that gradients of a large T are as long as those of a small one.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    kind: Literal["distill"] = "distill"
    teacher_: Teacher = Field(alias="teacher")
    """`{ from = ... }`: the trained classifier. Family, size and resolution may be others than the
    student's; its classes are those of `[data]`."""
    teacher_view: Literal["same", "fixed", "independent"] = "same"
    """What the teacher is shown: `same`: what the student is shown, crop, augmentation and MixUp
    ("function matching", with MixUp); `fixed`: the image as it is without augmentation, so that its
    answer is always the same; `independent`: a view that is augmented anew."""
    temperature: float = Field(default=1.0, gt=0, le=1000)
    """T, by which the logits of both are divided."""

    @property
    def teacher(self) -> Teacher:
        return self.teacher_

    @property
    def views(self) -> int:
        """The student's, then the teacher's where it is another."""
        return 1 if self.teacher_view == "same" else 2

    @property
    def plain_views(self) -> tuple[int, ...]:
        return (1,) if self.teacher_view == "fixed" else ()

    def known(self) -> Known:
        """The teacher's network.

        Raises:
          UserError: there is none.
        """
        try:
            return self.teacher.known()
        except ValueError as error:
            raise UserError([f"teacher: {error}"]) from None

    def problems(self, setting: Setting) -> Iterator[str]:
        if self.teacher_view == "fixed" and "mixup" in setting.augment:
            yield (
                'distill with teacher_view = "fixed" shows the teacher each image as it is, and '
                'mixup blends all views; leave mixup out of augment, or say teacher_view = "same".'
            )

    def missing(self, setting: Setting) -> Iterator[str]:
        try:
            known = self.known()
        except UserError as error:
            yield from error.mistakes
            return
        yield from other_classes(self.teacher, known, setting.classes, names_of(setting.source))

    def provenance(self, source: SourceConfig) -> dict[str, Any]:
        del source
        return {"teacher": self.teacher.provenance()}

    def recalled(self, provenance: Mapping[str, Any]) -> Self:
        said = provenance.get("teacher")
        if not isinstance(said, Mapping):
            return self
        return self.model_copy(update={"teacher_": self.teacher.recalled(said)})

    def build(self, model: Shape, classes: int, precision: Precision) -> DistillObjective:
        from scaling.objectives.built.distill import DistillObjective

        return DistillObjective(self, model, classes, precision)

    def passes(self, model: Shape, classes: int) -> tuple[Pass, ...]:
        """The student, trained, and the teacher's forward pass.

        Raises:
          UserError: there is no teacher, nor a manifest that says what it was.
        """
        try:
            known = self.known()
        except UserError as error:
            words = "FLOPs count its forward pass; put it back, or look where a run of it is done."
            raise UserError([f"{mistake} {words}" for mistake in error.mistakes]) from None
        return (
            Pass(forward_macs(model, classes), shape=model),
            Pass(forward_macs(known.shape, known.classes), trained=False, shape=known.shape),
        )


def other_classes(
    teacher: Teacher, known: Known, classes: int, names: tuple[str, ...] | None = None
) -> Iterator[str]:
    """What is wrong with a teacher's classes, for data of so many, with these names."""
    if known.classes != classes:
        yield (
            f"teacher: {teacher.from_} tells {known.classes:_} classes apart, and [data] has "
            f"{classes:_}; take a teacher that was trained on the same classes."
        )
    elif names and known.names and names != known.names:
        pairs = zip(names, known.names, strict=False)
        place = next((k for k, (here, there) in enumerate(pairs) if here != there), None)
        if place is None:  # one of them names some of the classes only
            return
        yield (
            f"teacher: {teacher.from_} was trained on other classes than those of [data]: class "
            f"{place} is {known.names[place]!r} there and {names[place]!r} here; take a teacher "
            "that was trained on the same classes, in the same order."
        )
