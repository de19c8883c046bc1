"""What a network does not see of its images."""

import pytest

from models.shapes import ViTShape
from scaling.planning.closed_form import as_json, study_cost
from scaling.planning.on_devices import plan_on
from scaling.study.parse import read_study
from scaling.training.margin import unseen_margin


def vit(patch, resolution):
    return ViTShape(
        name="nano", patch=patch, resolution=resolution, width=8, depth=1, mlp=16, heads=1
    )


@pytest.mark.parametrize(
    ("patch", "resolution", "said"),
    [
        (8, 32, None),
        (8, 30, "30 px are 3 patches of 8 px and a margin of 6 px that is not seen, 36 % of each"),
        (28, 384, "384 px are 13 patches of 28 px and a margin of 20 px that is not seen, 10 % of"),
    ],
)
def test_the_margin_is_what_whole_patches_leave_of_the_area(patch, resolution, said):
    found = unseen_margin(vit(patch, resolution))
    assert found is None if said is None else said in found


@pytest.fixture
def margins(tmp_path):
    """A study whose network `a` leaves a margin, and `b` none."""
    path = tmp_path / "margins.toml"
    path.write_text(
        """
name = "margins"
question = "What is not seen?"
data = { kind = "procedural", resolution = 30 }
recipe = { warmup_steps = 1 }
evaluate = [{ kind = "upstream", images = 100 }]
grid = [{ model = ["a", "b"], images_seen = [640, 1280], batch = 64 }]

[models]
a = { patch = 8, width = 8, depth = 1, mlp = 32, heads = 1 }
b = { patch = 6, width = 8, depth = 1, mlp = 32, heads = 1 }
"""
    )
    return str(path)


def test_plan_says_it_of_every_network_once(margins):
    found = study_cost(read_study(margins))
    (remark,) = found.remarks
    assert remark.startswith("a: 30 px are 3 patches")
    assert as_json(found)["remarks"] == [remark]


def test_a_plan_on_devices_says_it_too(margins, capsys):
    plan = plan_on(margins, "v5e:2x2", None, {}, closed_form=True, quiet=False)
    plan.show()
    (remark,) = plan.as_json()["remarks"]
    assert remark.startswith("a: 30 px are 3 patches")
    assert capsys.readouterr().out.endswith(f"{remark}\n")
