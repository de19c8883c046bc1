"""Studies whose runs are done, without any training: numbers lie exactly on a law."""

from fits.laws.powers import saturating
from models.shapes import ViTShape
from scaling.data.arrays import Digits
from scaling.data.procedural.source import Procedural
from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.measured import Measured
from scaling.evaluate.upstream import Upstream
from scaling.runs.held_run import hold_run
from scaling.runs.run_file import write_run_file
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run

FLOOR = 0.1


def a_run(width=16, images_seen=640, data_size=None, seed=0):
    shape = ViTShape(
        name=f"w{width}", patch=4, resolution=16, width=width, depth=1, mlp=4 * width, heads=1
    )
    return Run(
        model=shape,
        data=Procedural(label_noise=FLOOR, heldout_size=1000),
        data_size=data_size,
        recipe=Recipe(warmup_steps=2),
        images_seen=images_seen,
        batch=64,
        seed=seed,
    )


def a_study(runs, name="small"):
    transfer = FewShot(name="digits", data=Digits(resolution=16), shots=(1, 5))
    return Study(name=name, question="?", runs=runs, evaluate=(Upstream(images=1000), transfer))


def grid():
    return a_study([a_run(16 * 2**m, 640 * 2**t) for m in range(4) for t in range(5)])


def error(run):
    """Exactly on a law: a tenth of a GFLOP of head start, then down to the floor."""
    return float(saturating(run.flops / 1e9, 0.2, 0.5, FLOOR, 0.1))


def finish(runs, study, run, errors=None):
    """What a worker leaves behind: numbers measured and confirmed."""
    write_run_file(runs / run.id, run, study.evaluate, print)
    upstream, transfer = study.evaluate
    found = {"upstream_loss": 2 * error(run), "upstream_error": error(run)}
    found |= {name: min(1.3 * error(run), 1.0) for name in transfer.metrics} | (errors or {})
    measured = [Measured(name, value, 1000) for name, value in found.items()]
    manifest = {"flops": run.flops, "data": [{"train_size": run.data.sizes()[0]}]}
    with hold_run(runs / run.id) as folder:
        folder.finish([(upstream, measured[:2]), (transfer, measured[2:])], manifest)
