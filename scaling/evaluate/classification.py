"""What the network's own classifier is worth: a chosen list of metrics on chosen images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash, HomePath
from scaling.data import Source
from scaling.data.labels import NONE, Labels
from scaling.evaluate.class_map import (
    ClassMap,
    among,
    contradiction,
    labels_in,
    read_class_map,
    read_labels,
)
from scaling.evaluate.frozen.own_head import HeadFault, OwnHead
from scaling.evaluate.frozen.passes import Passes
from scaling.evaluate.frozen.tasks import NAME
from scaling.evaluate.measured import Measured
from scaling.evaluate.metrics import (
    Link,
    expected_calibration_error,
    labelled,
    mean_average_precision,
    top_error,
)
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.data.source import Images
    from scaling.training.placement import Placement

Measure: TypeAlias = Literal["top1_error", "top5_error", "map100", "calibration_error"]
ERRORS = {"top1_error", "top5_error"}
TOP = 5  # of top5_error


class Classification(OwnHead):
    """Metrics of the network's own classifier on the held-out images of any source.

    `top1_error` and `top5_error`: none of an image's labels is the first, or among the first five,
    of the classifier's choices; with several labels `top1_error` is ReaL's. `map100`: mean average
    precision at 100 over classes, weighted by the number of images that have each.
    `calibration_error`: expected calibration error, bins of equal width. Images without a label
    count nowhere, and n counts the others. Formulas and ties: docs/evaluation/metrics.md.
    """

    other_way: ClassVar[str] = ", or give a class_map"
    kind: Literal["classify"] = "classify"
    name: str = NAME
    """Names the metrics: `<name>_top1_error` and so on."""
    data: Source | None = None
    """Whose held-out images; left out, those of `[data]`."""
    measures: tuple[Measure, ...] = Field(("top1_error",), min_length=1)
    """Which metrics."""
    labels: HomePath | None = None
    """A JSON file with the labels of the images, several each, as ReaL's: `{ file name: list of
    classes }`, or a list of such lists, in the order of images that have no names, or of the
    numbers in ImageNet's file names. Left out, the source's own."""
    class_map: HomePath | None = None
    """Which classes of the classifier are right for each class of the images, where those are
    others: a .toml or .csv of pairs; a .txt with a line for each class of the classifier, which
    begins with what the images' class is called (WordNet ids of ImageNet-A and -R); or the folder
    `mappings` of ObjectNet. Images of classes that it does not name are left out."""
    among: Literal["all", "mapped", "present"] = "all"
    """Which classes the classifier chooses from: all of its own, those of `class_map` alone, or
    those alone that any held-out image has (ImageNet-A and -R as TFDS has them)."""
    bins: int = Field(15, gt=0, le=10_000)
    """Of the calibration error."""

    def clashes(self) -> Iterator[Clash]:
        if self.labels is not None and self.class_map is not None:
            yield Clash(
                ("labels", "class_map"),
                "labels are classes of the classifier already; leave class_map or labels out.",
            )
        for key in ("class_map", "labels"):
            if self.among == "present" and getattr(self, key) is not None:
                yield Clash(
                    ("among", key),
                    f'among = "present" goes by the labels of the source; leave it or {key} out.',
                )
        if self.among == "mapped" and self.class_map is None:
            yield Clash(("among", "class_map"), 'among = "mapped" needs a class_map.')
        if len(set(self.measures)) < len(self.measures):
            yield Clash(("measures",), "measures names a metric twice; write it once.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return tuple(f"{self.name}_{each}" for each in self.measures)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates."""
        return tuple(f"{self.name}_{each}" for each in self.measures if each in ERRORS)

    def source(self, trained_on: RunData | None) -> RunData | None:
        return self.data or trained_on

    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        choices = classes
        try:
            if self.class_map is not None:
                found = self._map(source, classes)
                if self.among == "mapped":
                    choices = int(found.known.sum())
            elif self.labels is not None:
                self._check_labels(source, classes)
            else:
                yield from super().faults(source, classes, names)
        except ValueError as error:
            key = "class_map" if self.class_map is not None else "labels"
            yield HeadFault((key,), str(error))
        if self.among == "present" and source.labels_at_hand:
            choices = len(_present(source.labels(heldout=True)))
        if words := self._too_few(choices):
            yield HeadFault(("measures",), words)

    def _too_few(self, choices: int) -> str | None:
        if "top5_error" not in self.measures or choices > TOP:
            return None
        return (
            f"top5_error is 0 of any classifier that chooses among {choices} classes; it needs "
            f"at least {TOP + 1}. Leave it out, and measure top1_error."
        )

    def _check_labels(self, source: RunData, head: int) -> None:
        """Raises ValueError where the file does not suit the images, as far as that is told without
        reading one."""
        assert self.labels is not None
        if source.private or not source.names_at_hand:
            labels_in(self.labels, head, source.sizes()[1] if source.private else None)
            return
        names = source.heldout_names(shown=False)
        size = source.sizes()[1] if names is None else len(names)
        if size is None:
            labels_in(self.labels, head, None)
            return
        given = read_labels(self.labels, head, size, names)
        if source.labels_at_hand:
            self._check_agreement(given, source.labels(heldout=True), source.classes == head)

    def _check_agreement(self, given: Labels, own: Labels, same_classes: bool) -> None:
        """
        Args:
          same_classes: whether the source's classes are as many as the head's; else its labels say
            nothing of those in the file.
        """
        assert self.labels is not None
        if same_classes and (words := contradiction(self.labels, given, own)):
            raise ValueError(words)

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: RunData,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """As `of_scores`, of a network that nothing else asks."""
        return self.of_scores(Passes(module, placement, objective), source)

    def of_scores(self, passes: Passes, source: RunData) -> list[Measured]:
        """Each metric, n = images behind it: those that have a label.

        Raises:
          ValueError: none has, or a file does not suit the images or the classifier.
        """
        from scaling.data.source import sample

        shown = self.source(source)
        assert shown is not None
        heldout = shown.heldout()
        count = self.images or heldout.size
        assert count is not None  # held-out images come to an end
        chosen = sample(heldout, count)
        found, labels = passes.scores(shown, "heldout", chosen)
        head = found.shape[1]
        if self.class_map is not None:
            mapped = self._map(shown, head)
            labels = mapped.labels(labels)
            found = among(found, mapped.known) if self.among == "mapped" else found
        if self.labels is not None:
            own, labels = labels, self._labels(shown, heldout, head)[chosen]
            self._check_agreement(labels, own, shown.classes == head)
        if self.among == "present":
            present = _present(labels if self.images is None else shown.labels(heldout=True))
            if words := self._too_few(len(present)):
                raise ValueError(words)
            found = among(found, np.isin(np.arange(head), present))
        n = int(labelled(labels).sum())
        return [
            Measured(
                f"{self.name}_{each}", self._value(each, found, labels, passes.objective.loss), n
            )
            for each in self.measures
        ]

    def _value(self, measure: Measure, scores: Any, labels: Labels, link: Link) -> float:
        match measure:
            case "top1_error":
                return top_error(scores, labels)
            case "top5_error":
                return top_error(scores, labels, k=TOP)
            case "map100":
                return mean_average_precision(scores, labels)
            case "calibration_error":
                return expected_calibration_error(scores, labels, link, self.bins)

    def _map(self, source: RunData, head: int) -> ClassMap:
        assert self.class_map is not None
        return read_class_map(self.class_map, source.classes, head, source.class_names)

    def _labels(self, source: RunData, images: Images, head: int) -> Labels:
        assert self.labels is not None
        assert images.size is not None
        names, known = source.heldout_names(), source.heldout_names(shown=False)
        return read_labels(self.labels, head, images.size, names, known)


def _present(labels: Labels) -> NDArray[np.int32]:
    """The classes that any image has, rising."""
    found = np.unique(labels)
    return found[found > NONE]
