"""python notebooks/execute.py [--write]

Runs every notebook of this folder from top to bottom in a fresh kernel; a cell that fails ends it
with that cell's traceback and exit status 1. With --write the outputs are kept in the notebook,
without anything that another run or another machine would change; without, nothing is written.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

try:
    import nbformat
    from nbclient import NotebookClient
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed; run `make notebooks`, which installs it first.")

HERE = Path(__file__).resolve().parent


def main() -> None:
    paths = sorted(HERE.glob("*.ipynb"))
    with ProcessPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
        for path, cells in zip(paths, pool.map(execute, paths), strict=True):
            print(f"{path.name}: {cells} cells, no error", flush=True)


def execute(path: Path) -> int:
    """Run one notebook; returns how many cells it has."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,  # seconds a cell
        kernel_name="python3",
        coalesce_streams=True,  # how often a cell flushes depends on the load
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()
    if "--write" in sys.argv[1:]:
        notebook.metadata = {  # the kernel would add the version of Python
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        nbformat.write(notebook, path)
    return len(notebook.cells)


if __name__ == "__main__":
    main()
