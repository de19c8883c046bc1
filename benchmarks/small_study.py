"""A study of two tiny networks, for benchmarks of what happens around a training."""

from __future__ import annotations

from collections.abc import Sequence


def small_study(images_seen: Sequence[int], seeds: Sequence[int] = (0,), more: str = "") -> str:
    """Text of the study file, named "small".

    Args:
      images_seen, seeds: axes of its grid, beside the two networks.
      more: further tables of the file.
    """
    return f"""
name = "small"
question = "What happens around a training?"
compute = "float32"

[data]
kind = "procedural"
heldout_size = 1000

[recipe]
learning_rate = 1e-2
warmup_steps = 10

[models.a]
patch = 4
width = 8
depth = 1
mlp = 32
heads = 1

[models.b]
patch = 4
width = 16
depth = 1
mlp = 64
heads = 2

[[evaluate]]
kind = "upstream"

[[grid]]
model = ["a", "b"]
images_seen = {list(images_seen)}
batch = 64
seed = {list(seeds)}
{more}
"""
