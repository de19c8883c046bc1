"""Where runs can be trained: one file a launcher, one line here."""

from typing import TypeAlias

from scaling.launch.local import Local
from scaling.launch.ray import Ray

Launcher: TypeAlias = Local | Ray
"""What starts workers; `scaling launch --on KIND` names one.

The union of configs that do what `scaling.launch.protocol.StartsWorkers` says. To add one, write
`scaling/launch/x.py` with a config of another `kind`, and add it here.
"""
