"""What can be minimised: one file an objective, one line here."""

from scaling.objectives.classify import Classify

Objective = Classify
