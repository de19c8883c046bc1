"""How many intervals of a simulation have to hold the truth."""

from scipy.stats import binom


def fewest(intervals, chance=0.05):
    """Of so many independent 90 % intervals fewer hold it with less than that probability."""
    return int(binom.ppf(chance, intervals, 0.9))
