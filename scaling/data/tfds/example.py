"""What a record that should be a tf.train.Example holds, and what it lacks, in words."""

from collections.abc import Mapping
from typing import Any

from fits.base.names import did_you_mean

IMAGE, LABEL = ("bytes_list", "encoded image"), ("int64_list", "whole number")
"""Where a feature keeps its values, and what one of them is to a person."""
FILE_NAME = "file_name"
"""The feature that says which file an image was, as ImageNet and its relatives have it in TFDS."""


def features_in(record: bytes) -> Mapping[str, Any]:
    """The features of a tf.train.Example, by name; ValueError where it is none."""
    from google.protobuf.message import DecodeError
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        return tf_example_pb2.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(f"no tf.train.Example: {error}") from error


def lacks(
    features: Mapping[str, Any],
    key: str,
    called: str,
    kind: tuple[str, str],
    *,
    several: bool = False,
) -> str | None:
    """Why `features` have no one value under `key`, an end of a sentence; None: they have one.

    Args:
      called: by what a person says the key, as `--label-key` or `label_key`.
      kind: `IMAGE` or `LABEL`.
      several: whether any number of values is fine.
    """
    values, words = kind
    if key not in features:
        near = did_you_mean(key, features)
        there = ", ".join(sorted(features)) or "none"
        return f"no feature {key!r} ({called}). {near}It has {there}"
    if (count := len(getattr(features[key], values).value)) != 1 and not several:
        return f"{count} values of {key!r} ({called}), where one {words} is needed"
    return None
