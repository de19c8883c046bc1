"""A study file without mistakes, and how tests read one."""

from scaling.study.parse import read_study
from scaling.study.schema import MODELS

GOOD = """\
name = "small"
question = "Does it read?"

[data]
kind = "procedural"
resolution = 16

[models.nano]
patch = 4
width = 32
depth = 2
mlp = 128
heads = 2

[recipe]
warmup_steps = 10
cooldown_steps = 5

[[evaluate]]
kind = "upstream"
images = 1000

[[evaluate]]
kind = "fewshot"
name = "digits"
data = { kind = "digits", resolution = 16 }

[[grid]]
model = ["nano", "mu/4"]
images_seen = [2_560, 5_120]
batch = 128
"""

# As GOOD, but with one network of the docs of each family, each key in a line of its own.
FAMILIES = (
    GOOD[: GOOD.index("[models.nano]")]
    + MODELS
    + "\n"
    + GOOD[GOOD.index("[recipe]") :].replace(
        '["nano", "mu/4"]', '["nano", "nano-mean", "nano-resnet", "nano-mixer"]'
    )
)


def read(tmp_path, text):
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    return read_study(tmp_path / "small.toml")
