"""Checkpoints of trainings that did not happen, for tests of what is read from them."""

import jax
import numpy as np

from scaling.training import checkpoints
from scaling.training.checkpoints import Checkpoint
from scaling.training.optimizer import Optimizer
from scaling.training.state import TrainState


def save_params(path, run, step, params):
    """A checkpoint of these parameters, with moments of zero."""
    params = jax.device_put(params)
    optimizer = Optimizer(run.recipe, lambda params: jax.tree.map(lambda _: "body", params))
    empty = jax.eval_shape(optimizer.init, params)
    moments = jax.tree.map(lambda x: jax.device_put(np.zeros(x.shape, x.dtype)), empty)
    state = TrainState(params, {}, {}, moments)
    checkpoints.save(path, Checkpoint(step=step, seconds=1.0, state=state))
