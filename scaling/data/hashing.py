"""Random bits without a state: a hash of a key and a counter, the same on every machine.

Integer arithmetic modulo 2**64 alone, so nothing depends on libm, on byte order or on how many
numbers were drawn before. Not for cryptography.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = 0x9E3779B97F4A7C15  # odd, nearest to 2**64 / golden ratio
WORD = (1 << 64) - 1


def hash64(key: ArrayLike, counter: ArrayLike) -> NDArray[np.uint64]:
    """Word number `counter` of the stream `key`: uniform on 0 .. 2**64 - 1, broadcast shape.

    Source: SplitMix64, Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
    generators", with the multipliers of Stafford's variant 13.
    """
    x = np.atleast_1d(np.asarray(counter)).astype(np.uint64)  # numpy warns of scalars that wrap
    x = (x + np.uint64(1)) * np.uint64(GOLDEN) + np.asarray(key, np.uint64)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def key(*words: int) -> np.uint64:
    """One key from several whole numbers (a seed, a purpose, an epoch); their order matters."""
    folded = np.uint64(len(words))
    for word in words:
        folded = hash64(folded, [word & WORD])[0]
    return folded
