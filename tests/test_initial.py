"""Trainings that begin with the parameters of weights on a disk."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from saved_params import save_params
from study_texts import GOOD
from test_training import DATA, NANO, RECIPE
from weights_cases import assert_same, random_params

from fits.base.errors import UserError
from models.shapes import MuP
from models.weights.writing import write
from scaling.base.config import digest
from scaling.runs.run_file import write_run_file
from scaling.runs.run_folder import RunFolder
from scaling.study.parse import read_study
from scaling.training.initial import Init, backbone, problems, provenance
from scaling.training.run import Run
from scaling.training.trainer import Trainer


def run(**changes):
    """One whose program the tests of training have compiled too."""
    fields = {"model": NANO, "data": DATA, "recipe": RECIPE, "batch": 16}
    return Run(**fields | {"images_seen": 16 * 10} | changes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights with another head than the run's, and its parameters."""
    path = tmp_path_factory.mktemp("weights") / "nano.npz"
    params = random_params(NANO, 7)
    write(path, params, NANO)
    return path, params


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a run that has the checkpoint of its end, and the parameters there."""
    first = run()
    folder = RunFolder(tmp_path_factory.mktemp("runs") / first.id)
    write_run_file(folder.path, first, (), print)
    params = random_params(NANO, 8, seed=3)
    save_params(folder.path / "checkpoints" / str(first.steps), first, first.steps, params)
    return folder.path, params


def test_a_training_begins_with_the_backbone_of_a_file_and_a_head_of_its_own(weights):
    path, params = weights
    state = Trainer(run(init=Init(from_=path))).start().state
    assert_same(state.params["backbone"], params["backbone"])
    assert state.params["head"]["kernel"].shape == (8, 8)
    assert not np.any(state.params["head"]["kernel"])


@pytest.mark.slow
def test_a_training_begins_with_the_end_of_another_run(done):
    folder, params = done
    begun = run(seed=3, init=Init(from_=folder))
    state = Trainer(begun).start().state
    assert_same(state.params["backbone"], params["backbone"])
    assert not any(np.any(x) for x in jax.tree.leaves(state.optimizer))  # moments begin anew


@pytest.mark.slow
def test_learned_positions_are_resized_where_the_new_resolution_is_written_down(weights, done):
    larger = replace(NANO, resolution=32)
    for path in (weights[0], done[0]):
        (problem,) = problems(Init(from_=path), larger)
        assert "2 x 2 patches, and nano has 4 x 4; write resolution = 32" in problem
        params = backbone(Init(from_=path, resolution=32), larger)
        assert params["position"].shape == (1, 16, 8)
        (problem,) = problems(Init(from_=path, resolution=24), larger)
        assert problem.startswith("resolution = 24, but the networks see the 32 px of [data]")


def test_what_does_not_fit_is_named(weights, done, tmp_path):
    wider = replace(NANO, width=16)
    assert "wrong shape" in "\n".join(problems(Init(from_=weights[0]), wider))
    (problem,) = problems(Init(from_=done[0]), replace(wider, gelu="erf"))
    assert "trained another network: width is 8 there and 16 here; gelu is tanh there" in problem
    assert (
        "mup is None there"
        in problems(Init(from_=done[0]), replace(NANO, mup=MuP(base_width=8)))[0]
    )
    assert problems(Init(from_=tmp_path / "a.npz"), NANO) == [f"there is no {tmp_path}/a.npz."]
    assert "is no run's folder" in problems(Init(from_=tmp_path), NANO)[0]
    with pytest.raises(UserError, match="init: there is no"):
        Trainer(run(init=Init(from_=tmp_path / "a.npz"))).start()


def test_a_file_whose_numbers_are_damaged_is_named_when_a_training_begins(weights, tmp_path):
    path = tmp_path / "damaged.npz"
    whole = weights[0].read_bytes()
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    assert problems(Init(from_=path), NANO) == []
    with pytest.raises(UserError, match=r"^init: .*damaged\.npz: .* is damaged or cut short"):
        backbone(Init(from_=path), NANO)


def test_a_run_that_is_not_done_is_no_beginning(tmp_path):
    folder = RunFolder(tmp_path / run().id)
    write_run_file(folder.path, run(), (), print)
    (problem,) = problems(Init(from_=folder.path), NANO)
    assert problem.endswith(f"no checkpoint of its end, step {run().steps}; train it first.")


def test_a_beginning_gives_a_run_another_id_and_survives_the_way_through_a_file(weights):
    begun = run(init=Init(from_=weights[0]))
    assert begun.id != run().id
    assert begun.trunk != run().trunk
    written = begun.model_dump_json()
    assert json.loads(written)["init"] == {"from": str(weights[0]), "resolution": None}
    assert Run.model_validate_json(written) == begun
    assert digest(Init(from_="a")) != digest(Init(from_="b"))


def test_a_manifest_tells_two_files_of_one_name_apart(tmp_path):
    found = []
    for text in ("one", "two"):
        (tmp_path / "a.npz").write_text(text)
        found.append(provenance(Init(from_=tmp_path / "a.npz")))
    assert found[0]["from"] == found[1]["from"]
    assert found[0]["sha256"] != found[1]["sha256"]


def test_a_study_file_names_what_its_networks_cannot_begin_with(tmp_path, weights):
    study = tmp_path / "my.toml"
    study.write_text(GOOD + f'init = {{ from = "{weights[0]}" }}\n')
    with pytest.raises(UserError) as told:
        read_study(study)
    assert "grid[0].init: " in str(told.value)
    assert "wrong shape" in str(told.value)
    study.write_text(GOOD + 'init = { form = "a.npz" }\n')
    with pytest.raises(UserError, match="unknown key; did you mean"):
        read_study(study)
    study.write_text(GOOD + 'init = { from = "a.npz" }\n')
    with pytest.raises(UserError, match=r"grid\[0\]\.init: there is no a\.npz\."):
        read_study(study)
    (begun, *_) = read_study(study, data_needed=False).runs
    assert begun.init == Init(from_="a.npz")
