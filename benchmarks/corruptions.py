"""Images a second of each common corruption, on one core.

python benchmarks/corruptions.py [SIDE [IMAGES]]: noise over a gradient, severities 1 to 5.
"""

import sys
import time

import numpy as np

from scaling.evaluate.corrupted import CORRUPTIONS, corrupt


def main():
    given = [int(word) for word in sys.argv[1:]]
    side, count = given + [224, 10][len(given) :]
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, side)[:, None, None]
    images = (ramp + rng.uniform(0, 55, (count, side, side, 3))).astype(np.uint8)
    print(f"corruption,images/s at {side} px")
    for kind in CORRUPTIONS:
        corrupt(images[0], kind, 1, 0)
        began = time.perf_counter()
        for number, image in enumerate(images):
            for severity in range(1, 6):
                corrupt(image, kind, severity, number)
        print(f"{kind},{5 * count / (time.perf_counter() - began):.0f}")


if __name__ == "__main__":
    main()
