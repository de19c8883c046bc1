"""Our networks are timm's: the same parameters and images give the same logits and gradients.

What timm (for pre-logits transformers) computed in float64 is in `conformance/`, written by
`make_conformance.py`; torch is not needed here. Every parameter goes in through `models.weights`,
and so does every gradient, which a reader of weights may treat as weights since it only rearranges
them.

In float32, what training uses, an error is the largest difference over the largest value, of the
logits and of each parameter's gradient by itself: a global measure would hide a wrong gradient of
a small parameter. In float64 the logits agree to rounding, and every single gradient to the
rounding of the float32 in which it is stored: the two are one function.
"""

from pathlib import Path

import jax
import numpy as np
import pytest
from conformance_cases import CASES, Case
from flax import nnx
from jax import numpy as jnp

from models.build import build
from models.heads import LinearHead
from models.weights.ours import paths
from models.weights.reading import read

FOLDER = Path(__file__).with_name("conformance")
HALF_A_DIGIT = 2.0**-24  # relative, of float32
OPTIONS = {"xla_backend_optimization_level": 0}  # compiles in half the time

# Gradients that are zero, whatever the network: a softmax does not see what all its scores have in
# common, nor LayerNorm what all features have. Only rounding is left of them, and it is measured
# by the largest gradient of the network.
UNSEEN = {
    "blocks/attention/key/bias",
    "pool/attention/key/bias",
    "blocks/token_mixing/out/bias",
}


def forward(case: Case, params, images):
    """Logits of our network with these parameters; features where it has no classifier."""
    modules = {"backbone": lambda: build(case.shape, rngs=nnx.Rngs(0))}
    if case.classes is not None:
        modules["head"] = lambda: LinearHead(
            case.shape.features, case.classes, bias=0.0, rngs=nnx.Rngs(0)
        )
    assert modules.keys() == params.keys()
    x = images
    for name, make in modules.items():
        graph, state = nnx.split(nnx.eval_shape(make))
        nnx.replace_by_pure_dict(state, params[name])
        x = nnx.merge(graph, state)(x)
    return x


def ours(name: str, dtype: str):
    """Logits, gradients by path of the parameter, gradients of the images: as computed here."""
    case, given = CASES[name], np.load(FOLDER / name / "forward.npz")
    _, params = read(FOLDER / name / "weights.safetensors", case.shape, dtype=dtype)
    images, weighting = given["images"].astype(dtype), given["weighting"].astype(dtype)

    def loss(params, images):
        logits = forward(case, params, images)
        return jnp.sum(logits * weighting), logits

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True)).lower(params, images)
    (of_params, of_images), logits = gradients.compile(OPTIONS)(params, images)
    assert logits.dtype == dtype
    return np.asarray(logits), paths(jax.device_get(of_params)), np.asarray(of_images)


def theirs(name: str):
    """The same, as computed by timm or transformers."""
    given = np.load(FOLDER / name / "forward.npz")
    path = FOLDER / name / "gradients.safetensors"
    gradients = paths(read(path, CASES[name].shape, dtype="float64")[1])
    if "token" in gradients:
        # The token and its row of the position table are one parameter here; reading adds the two,
        # which is right for weights and counts the gradient, equal for both, twice.
        gradients["token"] /= 2
    return given["logits"], gradients, given["image_gradients"]


def error(found, truth):
    """Largest difference, in units of the largest value."""
    return float(np.abs(found - truth).max() / np.abs(truth).max())


@pytest.mark.parametrize(
    "name",
    [each if each == "vit-map" else pytest.param(each, marks=pytest.mark.slow) for each in CASES],
)
def test_in_float32_logits_agree_to_1e_6_and_gradients_to_1e_5(name):
    logits, gradients, of_images = ours(name, "float32")
    true_logits, true_gradients, true_of_images = theirs(name)
    assert error(logits, true_logits) < 1e-6
    assert error(of_images, true_of_images) < 1e-5
    assert gradients.keys() == true_gradients.keys()
    largest = max(np.abs(gradient).max() for gradient in true_gradients.values())
    errors = {
        path: error(gradients[path], truth)
        if path not in UNSEEN
        else float(np.abs(gradients[path]).max() / largest)
        for path, truth in true_gradients.items()
    }
    assert {path: each for path, each in errors.items() if each >= 1e-5} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_in_float64_logits_agree_to_1e_12_and_gradients_to_the_rounding_of_their_file(name):
    with jax.enable_x64(True):
        logits, gradients, of_images = ours(name, "float64")
    true_logits, true_gradients, true_of_images = theirs(name)
    assert error(logits, true_logits) < 1e-12
    largest = max(np.abs(gradient).max() for gradient in true_gradients.values())
    for path, truth in {**true_gradients, "images": true_of_images}.items():
        found = of_images if path == "images" else gradients[path]
        np.testing.assert_allclose(
            found, truth, rtol=1.001 * HALF_A_DIGIT, atol=1e-13 * largest, err_msg=path
        )


@pytest.mark.parametrize("name", CASES)
def test_gradients_that_should_be_zero_are_so_in_the_fixtures_and_no_others(name):
    _, gradients, _ = theirs(name)
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    zero = {path for path, each in gradients.items() if np.abs(each).max() < 1e-10 * largest}
    assert zero == UNSEEN & gradients.keys()
