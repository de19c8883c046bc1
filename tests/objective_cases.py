"""One small run of every objective, for what all of them promise (`test_every_objective.py`).

A new objective adds one line to `CASES`.
"""

from collections.abc import Callable
from pathlib import Path

from weights_cases import random_params

from models.shapes import Shape, ViTShape
from models.weights.writing import write
from scaling.data.augment import Flip
from scaling.data.procedural import Procedural
from scaling.objectives.classify import Classify
from scaling.objectives.distill import Distill
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
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


TEACHER = ViTShape(name="tutor", patch=8, resolution=24, width=16, depth=1, mlp=16, heads=2)


def teacher(folder: Path, model: Shape = TEACHER, classes: int = 4) -> dict[str, Path]:
    """A file of weights with a classifier, of random numbers: the same each time."""
    path = folder / "tutor.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(path, random_params(model, classes), model)
    return {"from": path}


CASES: dict[str, Callable[[Path], Run]] = {
    "classify": lambda folder: small(objective=Classify(loss="softmax")),
    "distill": lambda folder: small(objective=Distill(teacher=teacher(folder))),
    "exemplar": lambda folder: small(objective=Exemplar(copies=3, projection=8)),
    "jigsaw": lambda folder: small(objective=Jigsaw(permutations=12)),
    "relative_patch": lambda folder: small(objective=RelativePatch()),
    "rotation": lambda folder: small(objective=Rotation()),
    "simclr": lambda folder: small(objective=SimCLR(projection=8)),
}
"""By name, what makes a run, given a folder for files that it needs."""
