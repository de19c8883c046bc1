"""From a study file to a Study, or to every mistake in it, named at once.

Pydantic checks each key on its own; here keys are checked against each other, against the zoo and
against the data that is really there. What can be checked is checked, whatever else is wrong.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.zoo import ViTShape, vit
from scaling.data import Source
from scaling.data.source import SourceConfig
from scaling.evaluate import Evaluation
from scaling.evaluate.fewshot import FewShot
from scaling.evaluate.upstream import Upstream
from scaling.lines import Place, lines
from scaling.mistakes import Mistakes, Schema, explain, near_names, nearest, show
from scaling.recipe import Recipe
from scaling.study import Run, Study, check_whole_batches
from scaling.study_file import Grid, Sizes, StudyFile
