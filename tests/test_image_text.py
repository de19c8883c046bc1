"""CLIP, SigLIP and LiT: losses by hand, what is trained, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from captions import Captions
from objective_cases import CASES, NANO, TOKENS, captioned, small

from models.cost import forward_macs
from models.precision import Precision
from models.shapes import BiTShape, MuP, TextShape, ViTShape
from scaling.data.arrays import Digits
from scaling.objectives.built.contrastive import at_most, info_nce, pairwise_sigmoid
from scaling.objectives.clip import Clip
from scaling.objectives.image_text import TextTower
from scaling.objectives.lit import Lit
from scaling.objectives.siglip import SigLip
from scaling.training import checkpoints
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import Checkpoint
from scaling.training.initial import backbone
from scaling.training.parts import network
from scaling.training.placement_spec import PlacementSpec
from scaling.training.trainer import Trainer


def unit(seed, count=6, size=5):
    found = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return jnp.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


# Losses


def test_info_nce_is_its_definition_pair_by_pair():
    images, texts = np.asarray(unit(0), float), np.asarray(unit(1), float)
    losses = []
    for one, other in ((images, texts), (texts, images)):
        for i, row in enumerate(one):
            scores = np.exp(3.0 * other @ row)
            losses.append(-np.log(scores[i] / scores.sum()))
    assert float(info_nce(unit(0), unit(1), jnp.array(3.0))) == pytest.approx(
        np.mean(losses), rel=1e-5
    )


@pytest.mark.parametrize("scale", [1.0, 14.0])
def test_info_nce_of_constant_embeddings_is_the_log_of_the_batch(scale):
    constant = jnp.tile(unit(0, 1), (12, 1))
    found = float(info_nce(constant, constant, jnp.array(scale)))
    assert found == pytest.approx(np.log(12), rel=1e-6)


def pair_by_pair(images, texts, scale, bias):
    logits = scale * images @ texts.T + bias
    signs = 2 * jnp.eye(len(images)) - 1
    return -jax.nn.log_sigmoid(signs * logits).sum() / len(images)


def test_the_sigmoid_loss_by_hand_for_two_pairs():
    images, texts = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [0.6, 0.8]])
    logits = np.array([[10.0, 6.0], [0.0, 8.0]]) - 9
    expected = np.log1p(np.exp([-logits[0, 0], logits[0, 1], logits[1, 0], -logits[1, 1]])).sum()
    found = pairwise_sigmoid(images, texts, jnp.array(10.0), jnp.array(-9.0))
    assert float(found) == pytest.approx(expected / 2, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 4, 7, 8, 24, 100])
def test_the_sigmoid_loss_in_parts_is_that_of_the_whole_gradients_too(at_once):
    """Parts that divide the batch, that do not, single texts, and the whole."""
    arguments = (unit(0, 24), unit(1, 24), jnp.array(10.0), jnp.array(-10.0))

    def in_parts(*arguments):
        return pairwise_sigmoid(*arguments, at_once=at_once)

    whole, expected = jax.value_and_grad(pair_by_pair, argnums=(0, 1, 2, 3))(*arguments)
    found, gradients = jax.value_and_grad(in_parts, argnums=(0, 1, 2, 3))(*arguments)
    assert float(found) == pytest.approx(float(whole), rel=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def largest(jaxpr):
    """Numbers of the largest array that a traced function makes, those inside loops too."""
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [int(np.prod(each.aval.shape)) for each in equation.outvars]
        for value in equation.params.values():
            for each in value if isinstance(value, tuple | list) else (value,):
                inside = getattr(each, "jaxpr", each)
                if hasattr(inside, "eqns"):
                    sizes.append(largest(inside))
    return max(sizes)


def test_no_array_of_all_pairs_is_made_neither_forward_nor_backward():
    arguments = (unit(0, 64), unit(1, 64), jnp.array(10.0), jnp.array(-10.0))

    def traced(at_once):
        loss = lambda *each: pairwise_sigmoid(*each, at_once=at_once)  # noqa: E731
        return largest(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2, 3)))(*arguments).jaxpr)

    assert traced(at_once=64) >= 64 * 64
    assert traced(at_once=8) == 64 * 8


def test_the_temperature_is_held_at_most_and_can_come_back():
    value, gradient = jax.value_and_grad(lambda x: at_most(x, 2.0))(jnp.array(1.0))
    assert (float(value), float(gradient)) == (1.0, 1.0)
    for sign, expected in ((1, 1.0), (-1, 0.0)):  # descent lowers it, or would raise it further
        value, gradient = jax.value_and_grad(lambda x, s=sign: s * at_most(x, 2.0))(jnp.array(3.0))
        assert (float(value), float(gradient)) == (sign * 2.0, expected)


# What is trained


@pytest.fixture(scope="module")
def towers():
    """By kind, what its objective builds and how that begins; the network of each."""
    found = {}
    for kind, more in ((Clip, {"width": 6}), (SigLip, {}), (Lit, {})):
        built = kind(tokens=TOKENS, **more).build(NANO, 4, Precision())
        init = jax.jit(built.init, compiler_options={"xla_backend_optimization_level": 0})
        learned = init(jax.random.key(0))
        found[kind] = built, learned, built.module(learned)
    return found


def test_the_logits_begin_where_the_papers_say(towers):
    for kind, scale, bias in ((Clip, 1 / 0.07, None), (SigLip, 10, -10), (Lit, 1 / 0.07, None)):
        module = towers[kind][2]
        assert float(jnp.exp(module.log_scale[...])) == pytest.approx(scale, rel=1e-6)
        assert (None if module.bias is None else float(module.bias[...])) == bias


@pytest.mark.slow
def test_both_vectors_of_a_pair_have_length_one_and_the_width_that_is_asked_for(towers):
    module = towers[Clip][2]
    images = module.of_features(module.backbone(jnp.ones((2, 16, 16, 3))))
    texts = module.of_texts(jnp.array([[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]]))
    assert images.shape == (2, 6)
    assert texts.shape == (1, 6)
    for vectors in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_locked_tower_is_frozen_and_its_features_are_compared_as_they_are(
    towers,
):
    built, learned, module = towers[Lit]
    assert "backbone" not in learned.params
    assert set(learned.frozen) == {"backbone"}
    assert module.image_head is None
    assert module.text_head.kernel.shape == (8, 8)
    assert built.parts() is None
    given = jax.tree.map(lambda x: x + 1, learned.frozen["backbone"])
    again = jax.jit(built.init)(jax.random.key(0), given)
    jax.tree.map(np.testing.assert_array_equal, again.frozen["backbone"], given)


def trained(run, steps, **spec):
    trainer, losses = Trainer(run, **spec), []
    first = trainer.start()
    begin = jax.tree.map(np.asarray, first.state)
    end = trainer.advance(
        first,
        steps,
        total_steps=None,
        keep=lambda _: None,
        spec=CheckpointSpec(every_seconds=1e9),
        tell=lambda progress: losses.append(progress.loss),
    )
    return begin, jax.tree.map(np.asarray, end.state), losses, trainer


@pytest.mark.slow
def test_a_locked_tower_stays_bit_for_bit_whatever_the_weight_decay(tmp_path):
    run = CASES["lit"](tmp_path)
    recipe = run.recipe.model_copy(update={"weight_decay_body": 1.0, "learning_rate": 1e-2})
    begin, end, losses, trainer = trained(run.model_copy(update={"recipe": recipe}), 12)
    jax.tree.map(np.testing.assert_array_equal, begin.frozen, end.frozen)
    assert np.abs(begin.params["text_head"]["kernel"] - end.params["text_head"]["kernel"]).max() > 0
    expected = backbone(run.init, NANO)
    jax.tree.map(np.testing.assert_array_equal, end.frozen["backbone"], expected)
    assert losses[-1] < losses[0]
    assert trainer.module(end).backbone.position.shape == (1, 4, 8)
    checkpoints.save(tmp_path / "end", Checkpoint(step=12, seconds=1.0, state=jax.device_put(end)))
    read = checkpoints.parameters(tmp_path / "end")  # as whoever begins with it, or converts it
    jax.tree.map(np.testing.assert_array_equal, read["backbone"], expected)
    assert {"text", "text_head"} < set(read)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Clip, SigLip])
def test_a_fused_step_learns_the_same(kind):
    run = captioned(objective=kind(tokens=TOKENS))
    _, plain, losses, _ = trained(run, 5)
    _, fused, others, _ = trained(run, 5, spec=PlacementSpec(update="fused"))
    np.testing.assert_allclose(losses[0], others[0], rtol=1e-4)
    np.testing.assert_allclose(
        plain.params["text_head"]["kernel"], fused.params["text_head"]["kernel"], atol=1e-5
    )


# Sizes and costs


def test_the_text_tower_follows_the_image_tower_and_what_is_said_is_said():
    big = ViTShape(name="v", patch=4, resolution=16, width=192, depth=12, mlp=768, heads=3)
    found = TextTower().shape(big, 300, 10)
    assert (found.width, found.depth, found.mlp, found.heads) == (192, 12, 768, 3)
    found = TextTower(width=128, depth=4).shape(big, 300, 10)
    assert (found.width, found.depth, found.mlp, found.heads) == (128, 4, 512, 2)
    own = {"width": 64, "depth": 2, "mlp": 100, "heads": 4}
    bit = BiTShape(name="bit", resolution=16, stages=(1,), width=32)
    found = TextTower(**own, pool="map").shape(bit, 300, 10)
    assert found == TextShape(name="text", vocabulary=300, length=10, pool="map", **own)
    with pytest.raises(ValueError, match="bit is none; give text = "):
        TextTower(width=64).shape(bit, 300, 10)


def test_flops_are_those_of_both_towers_and_of_the_layers_on_them():
    text = TextShape(
        name="t", width=8, depth=2, mlp=16, heads=2, vocabulary=300, length=10, pool="last"
    )
    image, words = forward_macs(NANO), forward_macs(text)
    both = Clip(tokens=TOKENS, width=6)
    assert both.flops(NANO, 10, 4) == 10 * 6 * (image + words + 2 * 8 * 6)
    locked = Lit(tokens=TOKENS)
    assert locked.flops(NANO, 10, 4) == 10 * (2 * image + 6 * (words + 8 * 8))


# What is refused


def test_what_cannot_be_trained_is_refused_in_words():
    for kind, words in ((Clip, "clip reads captions"), (SigLip, "siglip reads captions")):
        with pytest.raises(ValueError, match=words):
            small(objective=kind(), data=Digits(resolution=16))
    with pytest.raises(ValueError, match="a batch of 1 has no others"):
        small(objective=Clip(), batch=1)
    with pytest.raises(ValueError, match="leave mixup out"):
        small(objective=Clip(), augment=({"kind": "mixup"},))
    with pytest.raises(ValueError, match="give the grid init"):
        small(objective=Lit())
    mup = ViTShape(**{**NANO.__dict__, "mup": MuP(base_width=8)})
    with pytest.raises(ValueError, match="leave mup out"):
        small(objective=Clip(), model=mup)
    with pytest.raises(ValueError, match="use 2 or 4 heads"):
        small(objective=Clip(text=TextTower(heads=3)))


def test_captions_longer_than_the_tower_are_named_before_training():
    run = captioned(objective=Clip(tokens=TOKENS))
    short = Clip(tokens=TOKENS.model_copy(update={"length": 4}))
    seen = run.setting._replace(source=Captions())
    assert list(Clip(tokens=TOKENS).missing(seen)) == []
    (words,) = short.missing(seen)
    assert "training captions are longer than the text tower sees" in words
    assert list(short.missing(run.setting)) == []  # a plan looks at no data


def test_a_teacher_that_is_frozen_is_not_taken_for_the_network():
    trained, frozen = {"backbone": 1, "head": 2}, {"backbone": 3, "head": 4}
    assert network(trained, frozen) == trained
    assert network({"text": 5}, {"backbone": 3}) == {"text": 5, "backbone": 3}
    assert network({"text": 5}, {}) == {"text": 5}


def test_a_manifest_has_the_tokenizer_s_hash():
    objective = Clip(tokens=TOKENS)
    assert objective.provenance(Captions()) == {
        "tokenizer_sha256": objective.tokenizer(Captions()).sha256
    }
