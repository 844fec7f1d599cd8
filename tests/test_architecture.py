"""The house's rules: import-linter keeps the order, packages are entered by their doors, reading
needs no torch."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import normlab

PACKAGE = Path(normlab.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))


def test_packages_import_only_from_those_above_them() -> None:
    """The order itself stands in pyproject.toml."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def imported(file: Path) -> set[str]:
    """The modules of normlab that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "normlab"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nobody_reaches_past_a_door(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0]
    past = {name for name in imported(file) if name.count(".") > 1 and name.split(".")[1] != own}
    assert not past


def loaded_by(statement: str) -> set[str]:
    """Heavy packages in memory after a statement in a fresh interpreter."""
    heavy = ("torch", "hydra", "omegaconf", "pandas", "sklearn", "scipy", "numpy", "pyarrow")
    heavy += ("pydantic", "yaml", "rich", "importlib.metadata")
    code = f"import sys\n{statement}\nprint(*[m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return set(output.split())


def test_import_normlab_is_light() -> None:
    assert loaded_by("import normlab") == set()


def test_command_line_starts_light() -> None:
    assert loaded_by("from normlab.cli import main") == set()


def test_settings_need_pydantic_alone() -> None:
    code = "from normlab.config import complete_override, compose"
    assert loaded_by(code) <= {"pydantic", "importlib.metadata"}


@pytest.mark.parametrize("package", ["config", "analysis", "claims", "show"])
def test_reading_needs_no_torch(package: str) -> None:
    """Whatever a package that reads results exports; doors are lazy, so import-linter sees none."""
    stub = (PACKAGE / package / "__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r" as (\w+)$", stub, re.MULTILINE)
    live = {"watch", "watch_sweep"} if package == "show" else set()  # of runs that go on
    exported = ", ".join(sorted(set(names) - live))
    assert "torch" not in loaded_by(f"from normlab.{package} import {exported}")


def test_reading_runs_and_diagnosing_them_needs_no_torch() -> None:
    names = "normlab.runs import read_run, find_run, Summary"
    assert "torch" not in loaded_by(f"from {names}")
    names = "normlab.measurement import diagnose, predict, overview"
    assert "torch" not in loaded_by(f"from {names}")


def test_readme_lists_the_house() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("## The house", 1)[1].split("\n## ", 1)[0]
    shown = re.findall(r"^  (\w+)(?:/|\.py) ", tree.split("\nconfigs/")[0], re.MULTILINE)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    assert layers[0] == "__main__"
    # Siblings stand in any order.
    expected = [set(layer.split(" | ")) for layer in reversed(layers[1:])]
    places = iter(shown)
    assert [set(itertools.islice(places, len(layer))) for layer in expected] == expected
    assert not list(places)


@pytest.mark.parametrize("page", ["README.md", "results/README.md", "results/LOG.md"])
def test_what_a_page_links_to_is_in_the_repository(page: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'src="([^":]+)"', text)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    places = {str(parent) for name in tracked for parent in (Path(name), *Path(name).parents)}
    for link in [ROOT / page, *((ROOT / page).parent / link for link in links)]:
        assert str(link.resolve().relative_to(ROOT.resolve())) in places
