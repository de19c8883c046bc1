"""Pretext tasks by hand: turns, tiles and their orders, neighbours, and triplets of views."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import NANO, small
from study_texts import GOOD

from fits.base.errors import UserError
from models.noise import Noise
from models.precision import Precision
from scaling.data.augment import MixUp
from scaling.data.pixels.floats import to_floats
from scaling.objectives.built.exemplar import semi_hard
from scaling.objectives.built.rotation import turn_losses, turned
from scaling.objectives.built.tiles import cut, permutations, standardised
from scaling.objectives.classify import Classify
from scaling.objectives.exemplar import Exemplar
from scaling.objectives.jigsaw import Jigsaw
from scaling.objectives.relative_patch import RelativePatch
from scaling.objectives.rotation import Rotation
from scaling.study.parse import read_study

KEY = jax.random.key(3)
NOISE = Noise(KEY)


def built(config):
    return config.build(NANO, 4, Precision())


def pixels(count=5, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def batch_of(images):
    return {"image": images, "index": np.arange(len(images)), "label": np.zeros(len(images))}


def test_each_image_is_turned_four_times_with_its_turns_beside_each_other():
    images = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3)
    found = np.asarray(turned(jnp.asarray(images)))
    for image, turns in enumerate(found.reshape(2, 4, 2, 2, 3)):
        (a, b), (c, d) = images[image]
        np.testing.assert_array_equal(turns[0], [[a, b], [c, d]])
        np.testing.assert_array_equal(turns[1], [[b, d], [a, c]])
        np.testing.assert_array_equal(turns[2], [[d, c], [b, a]])
        np.testing.assert_array_equal(turns[3], [[c, a], [d, b]])


def test_the_label_of_a_turned_image_is_how_often_it_was_turned():
    right = 10.0 * np.tile(np.eye(4), (3, 1))
    assert float(turn_losses(jnp.asarray(right)).max()) < 1e-3
    logits = np.random.default_rng(0).normal(size=(8, 4))
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(share[np.arange(8), [0, 1, 2, 3] * 2])
    np.testing.assert_allclose(turn_losses(jnp.asarray(logits)), expected, rtol=1e-5)


def test_a_head_of_zeros_guesses_the_turn_with_a_loss_of_log_four():
    objective = built(Rotation())
    params = objective.init(KEY).params
    loss, _ = objective.loss(params, {}, {}, batch_of(pixels()), NOISE)
    assert float(loss) == pytest.approx(np.log(4), rel=1e-6)


@pytest.mark.slow
def test_tiles_are_parts_of_their_cells_and_lie_at_random_places_in_them():
    """Each pixel says where it is."""
    rows, columns = np.mgrid[:16, :16]
    image = np.stack([rows, columns, 0 * rows], -1).astype(np.float32)
    images = jnp.asarray(np.tile(image, (40, 1, 1, 1)))
    found = np.asarray(cut(images, jnp.tile(jnp.arange(9), (40, 1)), 0.4, KEY))
    assert found.shape == (40, 9, 3, 3, 3)  # cells of 5 pixels, of which a tile has 3
    corners = found[:, :, 0, 0, :2]
    np.testing.assert_array_equal(
        found[..., :2] - corners[:, :, None, None],
        np.broadcast_to(image[:3, :3, :2], (40, 9, 3, 3, 2)),
    )
    inside = corners - 5 * np.stack(np.divmod(np.arange(9), 3), -1)
    assert set(inside.reshape(-1, 2).astype(int).ravel()) == {0, 1, 2}
    assert len({tuple(each) for each in inside.reshape(-1, 2)}) == 9
    one = cut(images, jnp.full((40, 1), 7), 0.4, KEY)
    np.testing.assert_array_equal(one[:, 0], found[:, 7])


def test_a_standardised_tile_has_mean_0_and_variance_1_and_a_plain_one_is_0():
    tiles = to_floats(pixels(3))
    found = np.asarray(standardised(tiles))
    np.testing.assert_allclose(found.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.var((1, 2)), 1, rtol=2e-3)
    np.testing.assert_allclose(standardised(jnp.full((2, 4, 4, 3), 0.3)), 0, atol=1e-5)


def test_permutations_are_orders_of_nine_no_two_alike_and_the_first_nine_share_no_place():
    found = permutations(200)
    assert (np.sort(found, 1) == np.arange(9)).all()
    assert len({tuple(each) for each in found}) == 200
    for one, other in itertools.combinations(found[:9], 2):
        assert (one != other).all()


def test_the_smaller_set_of_permutations_lies_inside_the_larger():
    np.testing.assert_array_equal(permutations(200)[:30], permutations(30))


@pytest.mark.slow
def test_each_permutation_is_as_far_from_those_before_as_any_could_be():
    chosen = permutations(12)
    every = np.array(list(itertools.permutations(range(9))), np.int8)
    for count in (1, 5, 9, 11):
        taken = (every[:, None] == chosen[None, :count]).all(2).any(1)
        differ = (every[:, None] != chosen[None, :count]).sum((1, 2))
        mine = (chosen[count][None] != chosen[:count]).sum()
        assert mine == differ[~taken].max()


def test_the_head_of_a_jigsaw_is_given_the_tiles_in_the_order_of_its_answer():
    objective = built(Jigsaw(permutations=20))
    answers = jnp.array([0, 7, 19])
    tiles = objective.shown(answers)
    np.testing.assert_array_equal(tiles, np.tile(np.arange(9), (3, 1)))
    features = jnp.tile(jnp.arange(9.0)[None, :, None], (3, 1, 2))  # each tile's is its number
    found = objective.ordered(features, answers)
    np.testing.assert_array_equal(found[..., 0], permutations(20)[[0, 7, 19]])


def test_a_neighbour_s_number_says_on_which_side_of_the_middle_it_lies():
    tiles = np.asarray(built(RelativePatch()).shown(jnp.arange(8)))
    assert (tiles[:, 0] == 4).all()
    row, column = np.divmod(tiles[:, 1], 3)
    sides = list(zip(row - 1, column - 1, strict=True))
    assert sides == [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


@pytest.mark.parametrize("config", [Jigsaw(permutations=20), RelativePatch()])
def test_answers_are_drawn_anew_each_step_and_all_of_them_come(config):
    objective = built(config)
    batch = batch_of(np.zeros((2000, 1, 1, 3), np.uint8))
    one = np.asarray(objective.answers(batch, NOISE))
    assert set(one) == set(range(20 if isinstance(config, Jigsaw) else 8))
    np.testing.assert_array_equal(one, objective.answers(batch, NOISE))
    assert (one != objective.answers(batch, Noise(jax.random.key(4)))).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("standardise", [True, False])
def test_the_backbone_sees_each_tile_alone_at_the_resolution_of_the_run(standardise):
    objective = built(RelativePatch(gap=0.0, standardise=standardise))
    flat = np.zeros((4, 16, 16, 3), np.uint8)
    flat[:, 5:10, 5:10] = 255  # the middle cell, of 5 pixels: without a gap all of it is the tile
    shown = np.asarray(objective.images(batch_of(flat), NOISE)).reshape(4, 2, 16, 16, 3)
    middle, neighbour = (0, 0) if standardise else (1, -1)
    np.testing.assert_allclose(shown[:, 0], middle, atol=1e-5)
    np.testing.assert_allclose(shown[:, 1], neighbour, atol=1e-5)


def test_flops_are_those_of_every_tile_and_turn():
    forward = Classify().passes(NANO, 0)[0].macs
    for config, tiles, outputs in ((Jigsaw(permutations=20), 9, 20), (RelativePatch(), 2, 8)):
        head = tiles * 8 * 8 + 8 * outputs
        assert config.flops(NANO, 10, 4) == 6 * 10 * (tiles * forward + head)
    assert Rotation().flops(NANO, 10, 4) == 6 * 10 * 4 * (forward + 8 * 4)
    exemplar = Exemplar(copies=3, projection=5)
    assert exemplar.flops(NANO, 10, 4) == 6 * 10 * 3 * (forward + 8 * 5)


def triplets_by_hand(outputs, views, margin):
    """The definition, pair by pair."""
    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    count = len(unit)
    image = np.arange(count) % (count // views)
    losses = []
    for a, p in itertools.permutations(range(count), 2):
        if image[a] != image[p]:
            continue
        positive = ((unit[a] - unit[p]) ** 2).sum()
        others = [((unit[a] - unit[n]) ** 2).sum() for n in range(count) if image[n] != image[a]]
        beyond = [each for each in others if each > positive]
        negative = min(beyond) if beyond else max(others)
        losses.append(max(0.0, margin + positive - negative))
    return np.mean(losses)


@pytest.mark.parametrize("views", [2, 3])
def test_the_triplet_loss_is_its_definition_pair_by_pair(views):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(4 * views, 3)) + 2 * np.tile(rng.normal(size=(4, 3)), (views, 1))
    found = float(semi_hard(jnp.asarray(outputs), views, 0.5))
    assert found == pytest.approx(triplets_by_hand(outputs, views, 0.5), rel=1e-4)
    assert found > 0


@pytest.mark.slow
def test_the_triplet_loss_of_constant_outputs_is_the_margin_and_of_images_far_apart_0():
    assert float(semi_hard(jnp.ones((6, 4)), 2, 0.5)) == pytest.approx(0.5, abs=1e-6)
    assert float(semi_hard(jnp.tile(jnp.eye(3), (2, 1)), 2, 0.5)) == 0
    gradient = jax.grad(lambda x: semi_hard(x, 2, 0.5))(jnp.zeros((6, 4)))
    assert np.isfinite(np.asarray(gradient)).all()


def test_hardness_is_an_axis_of_a_grid(tmp_path):
    path = tmp_path / "my.toml"
    axis = "objective = [{ kind = 'jigsaw', permutations = 10 }, { kind = 'jigsaw' }]\n"
    upstream = GOOD[GOOD.index("[[evaluate]]") : GOOD.index('[[evaluate]]\nkind = "fewshot"')]
    path.write_text(GOOD.replace(upstream, "") + axis)
    runs = read_study(path).runs
    assert len(runs) == 8
    assert {run.objective.permutations for run in runs} == {10, 100}
    assert len({run.trunk for run in runs}) == 4
    path.write_text(GOOD.replace(upstream, "") + "objective = { kind = 'jigsaw', gap = 0.9 }\n")
    with pytest.raises(UserError, match=r"line .*: grid.*objective: tiles of images of 16 px with"):
        read_study(path)
    path.write_text(GOOD + axis)
    with pytest.raises(UserError, match="trains no classifier, which upstream_loss is measured of"):
        read_study(path)


def test_what_an_exemplar_cannot_tell_apart_is_refused():
    with pytest.raises(ValueError, match="a batch of 1 has no others"):
        small(objective=Exemplar(), batch=1)
    with pytest.raises(ValueError, match="which mixup blends; leave mixup out"):
        small(objective=Exemplar(), augment=(MixUp(),))


def test_no_task_needs_a_label_and_only_triplets_couple_images():
    for config in (Rotation(), Jigsaw(), RelativePatch(), Exemplar()):
        assert not config.needs_labels
        assert not config.scores_classes
        assert config.couples_examples == isinstance(config, Exemplar)
