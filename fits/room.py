"""Where words have room in a picture: plain geometry in pixels, no matplotlib.

Boxes are (left, bottom, right, top).
"""

from __future__ import annotations

import numpy as np

from fits.base.numbers import Array

FORBIDDEN = 1e6


class Room:
    """Keeps account of a panel's ink and finds words the place where they hide least of it.

    Words never cover other words nor leave the frame, unless every place offered would.
    """

    def __init__(self, frame: Array, ink: Array, weights: Array, margin: float):
        """
        Args:
          frame: box that words stay in.
          ink: where something is drawn, [marks, 2].
          weights: how bad it is to hide each mark, [marks].
          margin: how near a mark may come before it counts as hidden.
        """
        self.frame, self.ink, self.weights, self.margin = frame, ink, weights, margin
        self.taken: list[Array] = []

    def put(self, size: Array, centres: Array, bias: Array) -> Array:
        """Takes the best of the places offered.

        Args:
          size: width and height of the words.
          centres: places for their middle, [places, 2].
          bias: what speaks against each place, in weights of ink, [places].

        Returns:
          The centre chosen, [2].
        """
        boxes = np.concatenate([centres - size / 2, centres + size / 2], axis=-1)
        cost = bias + self._hidden(boxes)
        near = np.array([3, 0]) * self.margin  # between words of one line there is a space
        for box in self.taken:
            overlaps = (boxes[:, :2] < box[2:] + near) & (boxes[:, 2:] > box[:2] - near)
            cost[overlaps.all(axis=-1)] += FORBIDDEN
        outside = (boxes[:, :2] < self.frame[:2]) | (boxes[:, 2:] > self.frame[2:])
        cost[outside.any(axis=-1)] += FORBIDDEN
        best = int(np.argmin(cost))
        self.taken.append(boxes[best])
        return centres[best]

    def _hidden(self, boxes: Array) -> Array:
        """The weight of the ink in each box or within the margin of it."""
        x, y = self.ink.T
        left, bottom, right, top = (boxes + self.margin * np.array([-1, -1, 1, 1])).T[..., None]
        return ((left < x) & (x < right) & (bottom < y) & (y < top)) @ self.weights


def beside(points: Array, size: Array, gaps: Array) -> tuple[Array, Array, Array]:
    """Places for words beside points, all around and at several gaps.

    Args:
      points: [points, 2].
      size: width and height of the words.
      gaps: from a point to the nearest edge of the words, [gaps].

    Returns:
      Centres [places, 2]; and of each place the number of its point and its gap, [places] both.
    """
    angle = np.arange(16) * np.pi / 8
    around = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    away = gaps[:, None, None] * around + np.clip(1.5 * around, -1, 1) * size / 2
    centres = points[:, None, None] + away
    point, gap, _ = np.indices(centres.shape[:3])
    return centres.reshape(-1, 2), point.ravel(), gaps[gap.ravel()]


def distance(points: Array, centres: Array, size: Array) -> Array:
    """From words of this size at each of `centres` to the nearest of `points`, [centres]."""
    away = np.abs(centres[:, None] - points) - size / 2
    return np.hypot(*np.moveaxis(np.maximum(away, 0), -1, 0)).min(axis=1)


def along(corners: Array, spacing: float) -> Array:
    """Points on the line through `corners` [corners, 2], about `spacing` apart, ends included."""
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    where = np.r_[0.0, np.cumsum(lengths)]
    steps = np.linspace(0, where[-1], 2 + int(where[-1] / spacing))
    return np.stack([np.interp(steps, where, each) for each in corners.T], axis=-1)
