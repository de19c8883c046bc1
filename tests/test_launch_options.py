"""What a launch was told reaches those who carry it out, on this machine and on a cluster."""

import subprocess

import pytest
from launched import a_study
from test_stopping import write_curve

from scaling.launch import seats, stopping
from scaling.launch.devices import Machine, cores
from scaling.launch.dry_run import Places
from scaling.launch.launch import launch, prepare
from scaling.launch.launch_spec import Budget, LaunchSpec
from scaling.launch.ray.launcher import Ray
from scaling.launch.slurm.launcher import Slurm
from scaling.runs.rule_file import RULE
from scaling.runs.run_folder import RunFolder


def most_at_once(place):
    """Runs of the audit that were at work at the same time."""
    now = most = 0
    for event in place.all_events():
        now += 1 if event["event"] == "begin" else -1
        most = max(most, now)
    return most


def rising(place, run):
    """A curve that stays above the loss it began with, before the launch."""
    write_curve(
        place.runs, run, [(step, 2.3 if step < 300 else 5.0) for step in range(10, 401, 10)]
    )


# On this machine


@pytest.mark.parametrize(("rules", "done"), [(("diverged",), 1), ((), 2)])
def test_a_launch_gives_up_the_runs_that_a_rule_stops(place, monkeypatch, capfd, rules, done):
    monkeypatch.setattr(stopping, "SECONDS_BETWEEN_VERDICTS", 0.0)
    study = a_study(0, 1)
    given_up, other = study.runs
    prepare(study, place.runs, retry=False, say=pytest.fail)
    rising(place, given_up)
    assert place.launch(study, pause=0.1, stop=rules) == (not rules)
    said = capfd.readouterr().out
    assert len(place.events("end")) == done
    assert RunFolder(place.runs / other.id).failure() is None
    folder = RunFolder(place.runs / given_up.id)
    assert (folder.path / RULE).exists() == bool(rules)
    if rules:
        assert "it began with 2.3: training diverged" in folder.failure()
        assert folder.failure().startswith("stopped by the rule 'diverged'")
        assert f"to be stopped: {given_up.id}" in said
        assert "1 of 2 runs done, 1 failed" in said


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_workers_are_at_work_than_the_launch_may_have(place, monkeypatch, most):
    machine = Machine("gpu", ("GPU-a", "GPU-b", "GPU-c"), "H100", tuple(cores()))
    monkeypatch.setattr("scaling.launch.local.launcher.find_machine", lambda: machine)
    study = a_study(0, 1, 2)
    assert place.launch(study, workers=None, pause=0.05, max_parallel=most)
    assert place.ended_once(study)
    assert most_at_once(place) == most


# On a cluster


class _Job:
    """A job of no cluster: a process that pretends to train every run that is free."""

    def __init__(self, name, command):
        self.name, self.process = name, subprocess.Popen(command)

    def has_ended(self):
        return self.process.poll() is not None

    def last_words(self):
        return f"exit status {self.process.returncode}"


class _Cluster:
    """Gives every seat that it is asked for."""

    def __init__(self, command, seconds=0.0):
        self.command, self.seconds = command, seconds
        self.jobs, self.stopped, self.most = [], [], 0

    def start(self, count):
        new = [_Job(f"job {len(self.jobs) + n}", self.command) for n in range(count)]
        self.jobs += new
        self.most = max(self.most, sum(not job.has_ended() for job in self.jobs))
        return new

    def stop(self, jobs):
        self.stopped += jobs
        self.end()

    def device_seconds(self, job):
        return self.seconds

    def end(self):
        for job in self.jobs:
            job.process.kill()
            job.process.wait()


@pytest.fixture(params=[Slurm, Ray], ids=["slurm", "ray"])
def on_a_cluster(request, place, monkeypatch):
    """Launches a study with workers in jobs of a pretended cluster; returns what it answered, and
    the cluster."""
    clusters = []
    monkeypatch.setattr(seats, "SECONDS_BETWEEN_QUESTIONS", 0.2)
    monkeypatch.setattr(seats, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(request.param, "places", lambda self, study, spec: Places("no cluster"))

    def launched(study, *, pause=0.05, seconds=0.0, **spec):
        folders = [place.runs / run.id for run in study.runs]
        cluster = _Cluster(place.command(pause)(folders), seconds)
        clusters.append(cluster)
        module = request.param.__module__
        engine = f"{module}.{request.param.__name__}Engine"
        monkeypatch.setattr(engine, lambda *arguments: cluster)
        return launch(study, place.runs, LaunchSpec(**spec), request.param()), cluster

    yield launched
    for cluster in clusters:
        cluster.end()


@pytest.mark.parametrize(("limit", "most"), [(None, 3), (2, 2)])
def test_no_more_jobs_are_asked_for_than_the_launch_may_have(on_a_cluster, place, limit, most):
    study = a_study(0, 1, 2)
    done, cluster = on_a_cluster(study, max_parallel=limit)
    assert done
    assert place.ended_once(study)
    assert cluster.most == most


def test_jobs_are_stopped_when_the_flops_of_a_launch_are_spent(on_a_cluster, place, capfd):
    study = a_study(0, 1, 2)
    budget = Budget(flops=1.5 * study.runs[0].flops)
    done, cluster = on_a_cluster(study, pause=0.2, max_parallel=1, budget=budget)
    assert not done
    assert len(place.events("end")) == 1
    assert cluster.stopped == cluster.jobs
    assert f"the budget of {budget} is spent" in capfd.readouterr().out


def test_jobs_are_stopped_when_the_time_of_a_launch_is_spent(on_a_cluster, place, capfd):
    study = a_study(0, 1)
    done, cluster = on_a_cluster(study, pause=5.0, seconds=3600.0, budget=Budget(seconds=7200.0))
    assert not done
    assert place.events("end") == []
    assert len(cluster.jobs) == 2
    assert cluster.stopped == cluster.jobs
    assert "the budget of 2.0 h of device time is spent" in capfd.readouterr().out


def test_runs_that_a_rule_stops_are_given_up_in_jobs_too(on_a_cluster, place, monkeypatch):
    monkeypatch.setattr(stopping, "SECONDS_BETWEEN_VERDICTS", 0.0)
    study = a_study(0)
    (run,) = study.runs
    prepare(study, place.runs, retry=False, say=pytest.fail)
    rising(place, run)
    done, _ = on_a_cluster(study, pause=0.3, stop=("diverged",))
    assert not done
    assert "stopped by the rule 'diverged'" in RunFolder(place.runs / run.id).failure()
