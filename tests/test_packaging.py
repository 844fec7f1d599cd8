"""A wheel works without the checkout: the configs travel in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import normlab

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, where an installer would put it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("normlab-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_package_and_its_configs(unpacked: Path) -> None:
    others = ("*.j2", "*.css", "*.js", "*.md", "py.typed")
    kinds = [(kind, ROOT / "normlab") for kind in ("*.py", "*.pyi", *others)]
    for kind, folder in (*kinds, ("*.yaml", ROOT / "configs")):
        inside = unpacked / "normlab" / ("configs" if kind == "*.yaml" else "")
        in_wheel = {f.relative_to(inside) for f in inside.rglob(kind)}
        assert in_wheel == {f.relative_to(folder) for f in folder.rglob(kind)} != set()
    folders = {part.name for part in unpacked.iterdir() if part.is_dir()}
    assert folders == {"normlab", f"normlab-{normlab.__version__}.dist-info"}


def test_the_wheel_runs_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "normlab", "run", "model=mlp", "model.depth=3", "training.steps=2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    where = subprocess.run(
        [sys.executable, "-c", "from normlab.config import config_folder as f; print(f())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()) == unpacked / "normlab" / "configs"


def test_the_citation_names_this_version() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    citation = readme.split("## How to cite", 1)[1]
    assert f"version = {{{normlab.__version__}}}" in citation
    assert f"**{normlab.__version__}**" in readme.split("## Changes", 1)[1]
