"""The house's rules: a module imports only from those above it, and reading needs no torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import normlab

PACKAGE = Path(normlab.__file__).parent
# From the top of the house to its bottom; README.md lists them in the same order.
ORDER = (
    "errors",
    "config",
    "completion",
    "data",
    "layers",
    "initializers",
    "models",
    "optimizers",
    "probes",
    "locks",
    "records",
    "training",
    "diagnosis",
    "theory",
    "runs",
    "launchers",
    "sweep",
    "results",
    "demonstrations",
    "evidence",
    "claims",
    "verification",
    "series",
    "charts",
    "tables",
    "comparisons",
    "verdicts",
    "sketches",
    "pictures",
    "report",
    "live",
    "bench",
    "cli",
)


def imported_modules(name: str) -> set[str]:
    """The normlab modules that a module imports, anywhere in it."""
    files = [PACKAGE / f"{name}.py", *(PACKAGE / name).glob("*.py")]
    found = set()
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "normlab" and len(parts) > 1:
                found.add(parts[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("normlab.")}
    return found - {name}


def test_every_module_has_its_place() -> None:
    packages = {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"} | packages
    assert modules == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_only_from_above(name: str) -> None:
    above = set(ORDER[: ORDER.index(name)])
    assert imported_modules(name) <= above


def test_only_config_imports_hydra() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        imports = [
            line for line in text.splitlines() if "import" in line.split()[:1] + line.split()[2:3]
        ]
        names_hydra = any("hydra" in line or "omegaconf" in line for line in imports)
        assert not names_hydra or file.stem == "config", file


def loaded_by(statement: str) -> set[str]:
    """Heavy packages in memory after a statement in a fresh interpreter."""
    heavy = ("torch", "hydra", "omegaconf", "pandas", "sklearn", "scipy", "numpy", "pyarrow")
    code = f"import sys\n{statement}\nprint(*[m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return set(output.split())


def test_import_normlab_is_light() -> None:
    assert loaded_by("import normlab") == set()


def test_command_line_starts_light() -> None:
    assert loaded_by("import normlab.cli, normlab.config, normlab.completion") == set()


@pytest.mark.parametrize(
    "module",
    [
        "records",
        "diagnosis",
        "results",
        "tables",
        "comparisons",
        "theory",
        "claims",
        "verdicts",
        "pictures",
        "report",
    ],
)
def test_reading_needs_no_torch(module: str) -> None:
    assert "torch" not in loaded_by(f"import normlab.{module}")


def test_readme_lists_the_house() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    tree = readme.split("## The house", 1)[1].split("\n## ", 1)[0]
    places = [tree.index(f"  {name}") for name in ORDER]
    assert places == sorted(places)


@pytest.mark.parametrize("page", ["README.md", "results/README.md", "results/LOG.md"])
def test_what_a_page_links_to_is_in_the_repository(page: str) -> None:
    root = PACKAGE.parent
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    text = (root / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'src="([^":]+)"', text)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    places = {str(parent) for name in tracked for parent in (Path(name), *Path(name).parents)}
    for link in [root / page, *((root / page).parent / link for link in links)]:
        assert str(link.resolve().relative_to(root.resolve())) in places
