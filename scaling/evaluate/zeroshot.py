"""Classification by what classes are called: no image of them is learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from scaling.base.config import Clash
from scaling.evaluate.frozen.own_head import HeadFault
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.evaluate.measured import Measured
from scaling.evaluate.metrics import labelled, top_error
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.training.placement import Placement

BLANK = "{}"
TOP = {"top1_error": 1, "top5_error": 5}
Measure: TypeAlias = Literal["top1_error", "top5_error"]


class ZeroShot(ReadsText):
    """An image is of the class whose name, put into prompts, has the vector most like its own.

    Of each class the vectors of all prompts, of length 1, are averaged, and the mean is given
    length 1 again; the class with the largest cosine is chosen. Errors `<name>_top1_error` and
    `<name>_top5_error`. Radford et al. 2021 (CLIP), section 3.1.4; big_vision,
    `evaluators/proj/image_text/discriminative_classifier.py` (commit 430df79).
    """

    kind: Literal["zeroshot"] = "zeroshot"
    prompts: tuple[str, ...] = Field(("a photo of a {}.",), min_length=1)
    """Texts in which {} stands for the name of a class."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes in the order of their numbers; left out, the source's own."""
    measures: tuple[Measure, ...] = Field(("top1_error",), min_length=1)
    """Which errors."""

    def clashes(self) -> Iterator[Clash]:
        if wrong := [prompt for prompt in self.prompts if prompt.count(BLANK) != 1]:
            yield Clash(("prompts",), f"{wrong[0]!r} is to have {{}} once, where the name goes.")
        if len(set(self.measures)) < len(self.measures):
            yield Clash(("measures",), "measures names an error twice; write it once.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return tuple(f"{self.name}_{each}" for each in self.measures)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates: all."""
        return self.metrics

    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        del classes, names
        own = self._names(source)
        if own is None:
            yield HeadFault(
                ("class_names",),
                f"is missing: the {source.classes:_} classes of these images have no names. Give "
                'class_names = ["..", ..].',
            )
        elif len(own) != source.classes:
            yield HeadFault(
                ("class_names",),
                f"are {len(own):_} names, and the images are of {source.classes:_} classes; name "
                "each once.",
            )
        for each in self.measures:
            if TOP[each] > 1 and source.classes <= TOP[each]:
                yield HeadFault(
                    ("measures",),
                    f"{each} is 0 of any choice among {source.classes} classes; it needs at least "
                    f"{TOP[each] + 1}. Leave it out, and measure top1_error.",
                )

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: RunData,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """Each error, n = images behind it: those that have a label."""
        shown = self.source(source)
        assert shown is not None
        names = self._names(shown)
        assert names is not None  # `faults` has asked
        texts = [prompt.replace(BLANK, name) for name in names for prompt in self.prompts]
        vectors = self.read(module, objective, source, texts, placement)
        mean = vectors.reshape(len(names), len(self.prompts), -1).mean(1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        seen = self.seen(module, source, placement)
        scores = seen.vectors @ (mean / np.where(length, length, 1)).T
        n = int(labelled(seen.labels).sum())
        return [
            Measured(f"{self.name}_{each}", top_error(scores, seen.labels, k=TOP[each]), n)
            for each in self.measures
        ]

    def _names(self, source: RunData) -> Sequence[str] | None:
        return source.class_names if self.class_names is None else self.class_names
