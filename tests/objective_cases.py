"""One small run of every objective, for what all of them promise (`test_every_objective.py`).

A new objective adds one line to `CASES`.
"""

from collections.abc import Callable
from pathlib import Path

from models.shapes import ViTShape
from scaling.data.augment import Flip
from scaling.data.procedural import Procedural
from scaling.objectives.byol import BYOL
from scaling.objectives.classify import Classify
from scaling.objectives.simclr import SimCLR
from scaling.training.recipe import Recipe
from scaling.training.run import Run

NANO = ViTShape(name="nano", patch=8, resolution=16, width=8, depth=2, mlp=16, heads=2)
BATCH = 16


def small(**changes) -> Run:
    """A run of 24 steps, 2 of them cooldown."""
    fields = {
        "model": NANO,
        "data": Procedural(classes=4),
        "data_size": 320,
        "augment": (Flip(),),
        "recipe": Recipe(
            optimizer="adam", learning_rate=1e-3, warmup_steps=2, cooldown_steps=2, clip_norm=None
        ),
        "images_seen": 24 * BATCH,
        "batch": BATCH,
    }
    return Run(**{**fields, **changes})


CASES: dict[str, Callable[[Path], Run]] = {
    "classify": lambda folder: small(objective=Classify(loss="softmax")),
    "simclr": lambda folder: small(objective=SimCLR(projection=8)),
    "byol": lambda folder: small(
        # of batch normalisation the biases below have no gradient but rounding, which Adam enlarges
        objective=BYOL(projection=8, momentum=0.9, rises_over=12),
        recipe=Recipe(optimizer="sgd", learning_rate=0.1, warmup_steps=2, cooldown_steps=2),
    ),
    "byol, layer": lambda folder: small(objective=BYOL(projection=8, norm="layer")),
}
"""By name, what makes a run, given a folder for files that it needs."""
