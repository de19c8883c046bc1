"""The batches of a run, made ahead of time in background threads.

The order comes from `order.py`, so the threads change when a batch is ready and never what is in
it. With grain they are grain's; where grain is missing, one of our own gives the same batches.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fits.base.errors import UserError
from scaling.data.augment import Augment, BatchAugment, Crop, crop_of, spelled_out
from scaling.data.captions import chosen_texts
from scaling.data.labels import NONE, Labels, check_labels
from scaling.data.order import (
    Labelled,
    Resampling,
    labelled_rows,
    places,
    resampled,
    sampled_rows,
    step_indices,
    subset,
)
from scaling.data.source import Images, captions

Batch: TypeAlias = dict[str, Any]
"""Arrays by name, the same rows in each: `image` uint8 [batch, side, side, 3], or
[views, batch, side, side, 3] where an objective wants several; `label` int32 [batch], or
[batch, most] padded with -1 where images have several; `index` uint32 [batch], each image's member
of the data set; where an objective looks at captions, `text` int32 [batch, length], their tokens;
where images are drawn by chance, `present` bool [batch], false in rows without one. A step whose
run mixes images has two more, `partner` and `share`: `augment.MixUp`."""
Group: TypeAlias = tuple[list[Batch], Exception | None]
"""Batches that were made together, and what went wrong with the next."""
Made = TypeVar("Made")
Encoder: TypeAlias = Callable[[Sequence[str]], NDArray[np.int32]]
"""From captions to tokens, [n, length]."""
AHEAD = 8  # groups of batches made before they are asked for
GROUP = 400_000  # bytes of images that are made together, by one thread; at least one batch
MOST_THREADS = 16


def batches(
    images: Images,
    *,
    seed: int,
    batch: int,
    data_size: int | None,
    first_step: int,
    last_step: int,
    rows: NDArray[np.int64] | None = None,
    augment: Sequence[Augment] = (),
    views: int = 1,
    needs_labels: bool = False,
    resample: Resampling | None = None,
    plain_views: Sequence[int] = (),
    labelled: Labelled | None = None,
    encode: Encoder | None = None,
    drawn: float | None = None,
) -> Iterator[Batch]:
    """The batches of steps first_step, .., last_step - 1, or this host's rows of them.

    Args:
      seed: of the run; decides the order.
      batch: images a step over all hosts.
      data_size: number of different images; None for all there are.
      rows: of each batch, those that are loaded; None: all.
      augment: what is done to each image, in this order.
      views: differently augmented versions of each image.
      needs_labels: whether an image without a label is a mistake.
      resample: by which rule images of rare classes are shown more often; None: all equally.
      plain_views: those of the views that no augmentation of images touches.
      labelled: which images have their labels shown; None: all.
      encode: from captions to tokens; None: captions are not looked at.
      drawn: images that a step draws on average, each by chance (`order.sampled_rows`); None: a
        batch of them, in epochs.

    Yields:
      `Batch`es of these rows.

    Raises:
      ValueError: there are fewer images, a label is no class, or one is missing that is needed.
      UserError: there are fewer labelled images than there should be, or hidden labels would
        choose which images are shown.
    """
    total = images.size
    if data_size is None:
        data_size = total
    elif total is not None and data_size > total:
        raise ValueError(f"data_size={data_size:_}, and the source has {total:_} images.")

    def numbers_of(members: NDArray[np.int64]) -> NDArray[np.int64]:
        return members if total is None else subset(members, total)

    shares = None
    if resample is not None:
        if labelled is not None:
            raise UserError(
                ["resample counts labels of images whose labels are hidden; leave it out."]
            )
        if data_size is None:
            raise UserError([f"resample={resample!r} needs an end to the images; give data_size."])
        shares = resampled(images.labels_of(numbers_of(np.arange(data_size))), resample)

    if labelled is not None:
        check_labelled(labelled, data_size)
    if drawn is not None:
        check_drawn(drawn, data_size)

    def make(step: int) -> Batch:
        present: dict[str, Any] = {}
        if drawn is None:
            members = step_indices(seed, step, batch, data_size, rows, shares)
        else:
            assert data_size is not None  # checked above
            there, members = sampled_rows(seed, step, batch, data_size, drawn, rows)
            present["present"] = there
        shows = np.ones(len(members), bool)
        if labelled is not None:
            shows, those = labelled_rows(seed, step, batch, labelled, rows)
            members[shows] = those
        numbers, where = numbers_of(members), places(step, batch, rows)
        seen, labels = loaded(images, numbers, augment, seed, where, views, plain_views)
        check_labels(labels[shows], images.classes, numbers[shows], needed=needs_labels)
        found = {
            "image": seen[0] if views == 1 else np.stack(seen),
            "label": hidden(labels, shows),
            "index": members.astype(np.uint32),
            **present,
        }
        if encode is None:
            return found
        texts = chosen_texts(captions(images, numbers), seed, where)
        return found | {"text": encode(texts)}

    loaded_rows = batch if rows is None else len(rows)
    together = GROUP // max(views * loaded_rows * images.resolution**2 * 3, 1)
    return ahead(make, first_step, last_step, max(1, min(together, AHEAD)))


def check_labelled(labelled: Labelled, data_size: int | None) -> None:
    """Raise UserError where there are fewer images than should have labels."""
    if data_size is not None and labelled.size > data_size:
        raise UserError(
            [f"{labelled.size:_} labelled images of {data_size:_} were asked for; take fewer."]
        )


def check_drawn(mean: float, data_size: int | None) -> None:
    """Raise UserError where so many images cannot be drawn by chance."""
    if data_size is None:
        raise UserError(["privacy draws images of a set, and there is no end; give a data_size."])
    if data_size < mean:
        raise UserError(
            [f"privacy draws {mean:.1f} images a step, of {data_size:_}; use a smaller batch."]
        )


def hidden(labels: Labels, shown: NDArray[np.bool_]) -> Labels:
    """Labels of some images, and `NONE` for the others."""
    return np.where(shown.reshape(-1, *(1,) * (labels.ndim - 1)), labels, np.int32(NONE))


def loaded(
    images: Images,
    numbers: NDArray[np.int64],
    augment: Sequence[Augment],
    seed: int,
    rows: NDArray[np.int64],
    views: int = 1,
    plain_views: Sequence[int] = (),
) -> tuple[list[NDArray[np.uint8]], NDArray[np.int32]]:
    """The views of these images, which stand at `rows` of the run's sequence, and their labels.

    What acts on whole batches is left to the step.
    """
    crop = crop_of(augment)

    @cache
    def whole() -> Any:
        return images.batch(numbers)

    def of_view(view: int) -> Any:
        if crop is None or view in plain_views:
            pixels, labels = whole()
        else:
            pixels, labels = images.batch(
                numbers,
                partial(crop.crops, side=images.resolution, seed=seed, places=rows, view=view),
            )
        if view not in plain_views:
            pixels = augmented(pixels, augment, seed, rows, view)
        return pixels, labels

    found = [of_view(view) for view in range(views)]
    return [pixels for pixels, _ in found], found[0][1]


def augmented(
    pixels: NDArray[np.uint8],
    augment: Sequence[Augment],
    seed: int,
    rows: NDArray[np.int64],
    view: int,
) -> NDArray[np.uint8]:
    """One view of these images, cropped already, without what acts on whole batches."""
    for each in spelled_out(augment):
        if not isinstance(each, Crop | BatchAugment):
            pixels = each.apply(pixels, seed=seed, places=rows, view=view)
    return pixels


def ahead(
    make: Callable[[int], Batch], first: int, last: int, together: int = 1
) -> Iterator[Batch]:
    """make(first), .., make(last - 1), each begun before it is asked for.

    A thread makes so many `together`: handing over costs 0.1 ms, 2 % of a small step. A mistake in
    one of them is raised after those before it.
    """

    def group(begin: int) -> Group:
        found: list[Batch] = []
        try:
            for step in range(begin, min(begin + together, last)):
                found.append(make(step))
        except Exception as error:
            return found, error
        return found, None

    try:
        import grain  # brings JAX along, which this floor does without
    except ImportError:
        return _one_by_one(one_thread_ahead(group, range(first, last, together)))
    options = grain.ReadOptions(
        num_threads=min(MOST_THREADS, os.cpu_count() or 1), prefetch_buffer_size=AHEAD
    )
    begins = grain.MapDataset.range(first, last, together)
    return _one_by_one(iter(begins.map(group).to_iter_dataset(options)))


def _one_by_one(groups: Iterator[Group]) -> Iterator[Batch]:
    try:
        for found, error in groups:
            yield from found
            if error is not None:
                raise error
    finally:
        if isinstance(groups, Generator):
            groups.close()  # here: a garbage collector may run in the very thread that this ends


def one_thread_ahead(make: Callable[[int], Made], numbers: Sequence[int]) -> Iterator[Made]:
    """The same without grain. Leaving the iterator early ends its thread."""
    pool = ThreadPoolExecutor(max_workers=1)
    waiting: deque = deque()
    try:
        for place in range(len(numbers)):
            while len(waiting) <= AHEAD and place + len(waiting) < len(numbers):
                waiting.append(pool.submit(make, numbers[place + len(waiting)]))
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
