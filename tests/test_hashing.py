"""Random bits from a key and a counter."""

import numpy as np

from scaling.data.hashing import hash64, key


def test_the_stream_of_key_zero_is_the_published_splitmix64():
    # The reference implementation (prng.di.unimi.it/splitmix64.c), started from state 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert hash64(0, np.arange(3)).tolist() == published


def test_every_bit_is_set_half_of_the_time():
    words = hash64(key(5), np.arange(40_000))
    share = [(words >> np.uint64(bit) & np.uint64(1)).mean() for bit in range(64)]
    np.testing.assert_allclose(share, 0.5, atol=0.0125)  # five standard deviations


def test_keys_tell_their_words_and_the_order_of_these_apart():
    words = [(0,), (1,), (0, 0), (0, 1), (1, 0), (-1,), (1 << 70,), (0, 0, 0)]
    assert len({int(key(*w)) for w in words}) == len(words) - 1  # words count modulo 2**64
    assert key(1 << 70) == key(0)
