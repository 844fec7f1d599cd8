"""The committed notebook, run anew with its outputs.

    python -m tests.tools.notebook results/why_norms_and_skips.ipynb

runs it in an empty folder and writes its outputs into the file, with a digest of the source that
they are of, so that a test finds outputs of another source.
"""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

SECONDS = 600  # of one cell


def read(file: Path) -> Any:
    return nbformat.read(file, as_version=4)


def source_digest(notebook: Any) -> str:
    source = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(source.encode()).hexdigest()


def run(notebook: Any, folder: Path) -> None:
    """Run all cells in a folder; raises where one fails."""
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata["executed"] = {"source_sha256": source_digest(notebook)}


def main() -> None:
    file = Path(sys.argv[1])
    notebook = read(file)
    with tempfile.TemporaryDirectory() as folder:
        run(notebook, Path(folder))
    nbformat.write(notebook, file)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
