"""What few-shot evaluation at the size of ImageNet costs, once the features are there.

    python benchmarks/fewshot.py [--width 1024] [--pool 65000] [--test 50000] [--classes 1000]

Made-up features of an L/16: 1,024 wide, 65,000 to draw from, 50,000 to classify, 1,000 classes; 1,
5, 10 and 25 shots, three subsets. Prints elapsed seconds, CPU seconds and the most memory in use,
features included.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import NamedTuple

import numpy as np

from scaling.evaluate import fewshot
from scaling.evaluate.frozen import forward

SHOTS = 1, 5, 10, 25


class MadeUp:
    """Features in the place of images."""

    def __init__(self, size: int, width: int, classes: int, seed: int):
        self.size, self.classes = size, classes
        rng = np.random.default_rng(seed)
        self.labels = np.sort(rng.permutation(np.arange(size) % classes)).astype(np.int32)
        centres = np.random.default_rng(0).standard_normal((classes, width), np.float32)
        self.features = rng.standard_normal((size, width), np.float32)
        self.features *= 4
        self.features += centres[self.labels]

    def labels_of(self, indices: np.ndarray) -> np.ndarray:
        return self.labels[indices]


class Source(NamedTuple):
    """What a task asks of one; a tuple of arrays' owners can be a key."""

    pool: MadeUp
    test: MadeUp
    classes: int
    class_names: tuple[str, ...] | None = None

    def train(self) -> MadeUp:
        return self.pool

    def heldout(self) -> MadeUp:
        return self.test


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("width", 1024), ("pool", 65_000), ("test", 50_000), ("classes", 1000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    pool = MadeUp(asked.pool, asked.width, asked.classes, 1)
    test = MadeUp(asked.test, asked.width, asked.classes, 2)
    source = Source(pool, test, asked.classes)
    task = fewshot.FewShot.model_construct(
        name="made_up", data=source, shots=SHOTS, subsets=3, ridge=1024.0
    )
    forward.features = lambda module, images, indices, placement: (
        images.features[indices],
        images.labels[indices],
    )
    began, busy = time.monotonic(), time.process_time()
    found = task.measure(None, objective=None, source=source)
    seconds = time.monotonic() - began
    print(f"{seconds:.1f} s elapsed, {time.process_time() - busy:.1f} s of CPU, ", end="")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most")
    print(", ".join(f"{m.metric} {m.value:.4f}" for m in found if "subset" not in m.metric))


if __name__ == "__main__":
    main()
