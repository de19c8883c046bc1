"""Where runs can be trained: one folder a launcher, one line here."""

from typing import TypeAlias

from scaling.launch.local.launcher import Local
from scaling.launch.ray.launcher import Ray
from scaling.launch.slurm.launcher import Slurm

Launcher: TypeAlias = Local | Slurm | Ray
"""What starts workers; `scaling launch --on KIND` names one.

The union of configs that do what `scaling.launch.protocol.StartsWorkers` says, told apart by their
`kind`. To add one, write `scaling/launch/x/launcher.py` with a config of another `kind`, and name
it here; its fields are keys of a study's `[launcher]`, and options of the command line where
`scaling/launch/options.py` has one of the field's name.
"""
