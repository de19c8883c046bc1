"""Rules that stop runs: whom they stop, whom they leave alone, and what is written of it."""

import numpy as np
import pytest

from fits.base.errors import UserError
from models.shapes import ViTShape
from scaling.data.procedural.source import Procedural
from scaling.evaluate import Upstream
from scaling.launch import stopping
from scaling.launch.launch import Detached, launch, prepare
from scaling.launch.launch_spec import LaunchSpec
from scaling.launch.local.launcher import Local
from scaling.launch.stopping import Stopping, rules_named
from scaling.runs.held_run import hold_run
from scaling.runs.metrics_file import METRICS, MetricsLine
from scaling.runs.rule_file import RULE, StoppedByRule, Verdict, check_rules, write_verdict
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import TrunkFolder
from scaling.study.study import Study
from scaling.training.recipe import Recipe
from scaling.training.run import Run


def a_run(name, width, steps=1000, seed=0):
    return Run(
        model=ViTShape(name=name, patch=4, resolution=16, width=width, depth=1, mlp=64, heads=2),
        data=Procedural(),
        recipe=Recipe(warmup_steps=10),
        images_seen=64 * steps,
        batch=64,
        seed=seed,
    )


SMALL, LARGE, TWIN = a_run("small", 16), a_run("large", 64), a_run("small", 16, seed=1)
STUDY = Study(name="x", question="?", runs=(SMALL, LARGE, TWIN), evaluate=(Upstream(images=10),))
SCALE = SMALL.flops / LARGE.flops  # steps of the large one that cost as much as one of the small


def falling(step, *, floor, start=2.3):
    """A loss that falls as a saturating power law."""
    return floor + (start - floor) * (1 + step / 20) ** -0.5


def write_curve(runs, run, losses):
    """A trunk's metrics, a line every ten steps."""
    folder = TrunkFolder.of(RunFolder(runs / run.id), run).path
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        MetricsLine(
            step=step,
            images_seen=step * run.batch,
            loss=loss,
            learning_rate=0.1,
            gradient_norm=1.0,
            images_per_second=None,
            mfu=None,
            memory_bytes=None,
            seconds=1.0,
        )
        for step, loss in losses
    ]
    text = "".join(line.model_dump_json() + "\n" for line in lines)
    (folder / METRICS).write_text(text)


@pytest.fixture
def runs(tmp_path):
    prepare(STUDY, tmp_path, retry=False, say=pytest.fail)
    return tmp_path


def steps_to(last):
    return range(10, last + 1, 10)


def verdict(runs, run, *rules):
    return Stopping(rules, (SMALL, LARGE, TWIN), runs).verdict(run)


def noise(step):
    return 1 + 0.01 * float(np.random.default_rng(step).normal())


@pytest.fixture
def rival(runs):
    """The large one has come to a loss of about 0.5 with a fifth of the compute of the small."""
    last = int(0.4 * SCALE * SMALL.branch_step)
    curve = [(step, noise(step) * max(0.5, 2.3 - 3 * step / last)) for step in range(1, last + 1)]
    write_curve(runs, LARGE, curve)


def test_a_run_that_will_not_come_down_to_the_frontier_is_behind(runs, rival):
    write_curve(runs, SMALL, [(s, noise(s) * falling(s, floor=1.5)) for s in steps_to(400)])
    found = verdict(runs, SMALL, "behind")
    assert found.rule == "behind"
    assert found.step == 400
    assert "large has come to 0.4989 with no more compute" in found.reason
    assert "at step 800, where it leaves its trunk" in found.reason


launched = []  # by `Capture`


class Capture(Local):
    """Starts nobody, and keeps what it was to have done."""

    def workers_of(self, launch, screen):
        launched.append(launch)
        return self

    def work(self):
        raise Detached("nobody works")

    def stop(self):
        pass


def test_runs_that_only_leaves_out_are_rivals_too(runs, rival):
    write_curve(runs, SMALL, [(s, noise(s) * falling(s, floor=1.5)) for s in steps_to(400)])
    spec = LaunchSpec(only=("model=small",), stop=("behind",))
    assert launch(STUDY, runs, spec, Capture())
    meant = launched.pop()
    assert {run.model.name for run in meant.study.runs} == {"small"}
    assert "large has come to 0.4989" in meant.stopping().verdict(SMALL).reason


def test_a_run_that_may_come_down_to_the_frontier_is_left_alone(runs, rival):
    write_curve(runs, SMALL, [(s, noise(s) * falling(s, floor=0.05)) for s in steps_to(400)])
    assert verdict(runs, SMALL, "behind") is None


def test_nothing_is_said_of_a_curve_that_has_hardly_begun_or_is_at_its_branch(runs, rival):
    for last in (100, 190, 800):
        write_curve(runs, SMALL, [(s, falling(s, floor=1.5)) for s in steps_to(last)])
        assert verdict(runs, SMALL, "behind") is None


def test_another_seed_of_the_same_network_is_no_rival(runs):
    write_curve(runs, TWIN, [(s, noise(s) * 0.5) for s in steps_to(400)])
    write_curve(runs, SMALL, [(s, noise(s) * falling(s, floor=1.5)) for s in steps_to(400)])
    assert verdict(runs, SMALL, "behind") is None


def test_a_rival_that_has_spent_more_compute_is_none(runs):
    after = int(1.2 * SCALE * SMALL.branch_step)
    write_curve(runs, LARGE, [(after + s, 0.5) for s in steps_to(400)])
    write_curve(runs, SMALL, [(s, noise(s) * falling(s, floor=1.5)) for s in steps_to(400)])
    assert verdict(runs, SMALL, "behind") is None


def test_a_loss_that_stays_above_where_it_began_has_diverged(runs):
    curve = [(s, 2.3 if s < 300 else 5.0) for s in steps_to(400)]
    write_curve(runs, SMALL, curve)
    assert "began with 2.3: training diverged" in verdict(runs, SMALL, "diverged").reason
    write_curve(runs, SMALL, [*curve[:-1], (400, 1.0)])  # it comes back
    assert verdict(runs, SMALL, "diverged") is None
    assert verdict(runs, SMALL) is None


def test_a_verdict_is_recorded_and_the_run_given_up_by_whoever_trains_it(runs, monkeypatch):
    monkeypatch.setattr(stopping, "SECONDS_BETWEEN_VERDICTS", 0.0)
    write_curve(runs, SMALL, [(s, 2.3 if s < 300 else 5.0) for s in steps_to(400)])
    judge = Stopping(("diverged",), (SMALL, LARGE), runs)
    assert [run for run, _ in judge.judge([SMALL, LARGE])] == [SMALL]
    assert judge.judge([SMALL, LARGE]) == []  # the curve has not grown
    with pytest.raises(StoppedByRule, match="stopped by the rule 'diverged': from step 360"):
        check_rules(runs / SMALL.id)
    check_rules(runs / LARGE.id)
    with hold_run(runs / SMALL.id) as held:
        held.fail("stopped")
        held.clear_failure()  # launch --retry
    check_rules(runs / SMALL.id)


def test_a_verdict_that_cannot_be_read_counts_for_nothing(tmp_path):
    for text in ("", "[" * 10**5, '{"rule": 3}', "\x00"):
        (tmp_path / RULE).write_text(text)
        check_rules(tmp_path)
    write_verdict(tmp_path, Verdict(rule="behind", step=3, reason="why."))
    with pytest.raises(StoppedByRule, match="why"):
        check_rules(tmp_path)


def test_a_rule_that_is_none_is_refused_with_the_near_ones():
    with pytest.raises(UserError, match="Did you mean 'behind'"):
        rules_named(["behid"])
    assert rules_named(["behind", "behind"]) == ("behind",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"recipe": {"warmup_steps": 10, "dropout": 0.2}}, {}),
        (
            {"recipe": {"warmup_steps": 10}},
            {"recipe": {"warmup_steps": 10, "stochastic_depth": 0.1}},
        ),
        (
            {"objective": {"kind": "simclr"}, "batch": 64},
            {"objective": {"kind": "simclr"}, "batch": 32},
        ),
        ({}, {"init": {"from": "there"}}),
    ],
)
def test_losses_of_another_kind_are_no_rivals(tmp_path, one, other):
    """Dropout and stochastic depth raise the loss in training; that of SimCLR is one among the
    images of a batch; and what a network begins with has cost compute elsewhere."""
    pair = []
    for run, changes in ((SMALL, one), (LARGE, other)):
        fields = {**run.model_dump(mode="json", by_alias=True), **changes}
        pair.append(Run.model_validate(fields))
    small, large = pair
    study = STUDY.model_copy(update={"runs": (small, large)})
    prepare(study, tmp_path, retry=False, say=pytest.fail)
    write_curve(tmp_path, large, [(s, noise(s) * 0.5) for s in range(1, 40)])
    write_curve(tmp_path, small, [(s, noise(s) * falling(s, floor=1.5)) for s in steps_to(400)])
    assert Stopping(("behind",), study.runs, tmp_path).verdict(small) is None
