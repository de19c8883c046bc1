"""The batches of a run, made ahead of time in background threads.

The order comes from `order.py`, so the threads change when a batch is ready and never what is in
it. With grain they are grain's; where grain is missing, one of our own gives the same batches.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from scaling.data.order import step_flips, step_indices, subset
from scaling.data.source import Batch, Images

AHEAD = 8  # batches made before they are asked for
MOST_THREADS = 16


def batches(
    images: Images,
    *,
    seed: int,
    batch: int,
    data_size: int | None,
    first_step: int,
    last_step: int,
    host: int = 0,
    hosts: int = 1,
    flip: bool = False,
) -> Iterator[Batch]:
    """This host's images and labels of steps first_step, .., last_step - 1.

    Args:
      seed: of the run; decides the order.
      batch: images a step over all hosts.
      data_size: number of different images; None for all there are.
      flip: mirror each image left to right with probability one half.

    Yields:
      Images uint8 [batch / hosts, resolution, resolution, 3], labels int32 [batch / hosts].
    """
    total = images.size
    if data_size is None:
        data_size = total
    elif total is not None and data_size > total:
        raise ValueError(f"data_size={data_size:_}, and the source has {total:_} images.")

    def make(step: int) -> Batch:
        members = step_indices(seed, step, batch, data_size, host, hosts)
        pixels, labels = images.batch(members if total is None else subset(members, total))
        if flip:
            flips = step_flips(seed, step, batch, host, hosts)[:, None, None, None]
            pixels = np.where(flips, pixels[:, :, ::-1], pixels)
        return pixels, labels

    return ahead(make, first_step, last_step)


def ahead(make: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    """make(first), .., make(last - 1), each begun before it is asked for."""
    try:
        import grain  # brings JAX along, which this floor does without
    except ImportError:
        return one_thread_ahead(make, first, last)
    # grain costs 0.03 ms a batch: too little to treat cheap sources apart.
    options = grain.ReadOptions(
        num_threads=min(MOST_THREADS, os.cpu_count() or 1), prefetch_buffer_size=AHEAD
    )
    return iter(grain.MapDataset.range(first, last).map(make).to_iter_dataset(options))


def one_thread_ahead(make: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    """The same without grain. Leaving the iterator early ends its thread."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque = deque()
        for step in range(first, last):
            while len(waiting) <= AHEAD and step + len(waiting) < last:
                waiting.append(pool.submit(make, step + len(waiting)))
            yield waiting.popleft().result()
