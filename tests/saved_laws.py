"""A law fitted to a few runs and saved as a file, for tests of it and of `fit-laws check`."""

import json

import numpy as np

from fits.fit_laws import main
from fits.laws.powers import saturating

TRUTH = 0.6, 0.35, 0.1, 0.5
ASKED = "--x", "eflop", "--y", "error", "--where", "model=S"


def rows(n=16, noise=0.01, seed=0, first=1e-2, last=1e3):
    compute = np.geomspace(first, last, n)
    error = saturating(compute, *TRUTH) * np.exp(noise * np.random.default_rng(seed).normal(size=n))
    return [f"S,{x:.6g},{y:.6f}" for x, y in zip(compute, error, strict=True)]


def write(path, lines):
    path.write_text("\n".join(["model,eflop,error", *lines]) + "\n")
    return path


RUNS = [*rows(), "B,1,0.9", "B,2,0.8", "S,5,", "S,50,0.9"]


def saved_law(table, lines, *options):
    """What `fit-laws --save` writes of a table of these lines: bytes."""
    path = table.with_suffix(".json")
    assert main([str(write(table, lines)), *ASKED, *options, "--save", str(path)]) == 0
    return path.read_bytes()


def check_command(capsys):
    """`fit-laws check`: arguments -> status, output, errors."""

    def run(*arguments):
        status = main(["check", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_evidence(path, change):
    edit(path, lambda value: change(value["evidence"]))
