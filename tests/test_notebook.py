"""The notebook: its outputs are of its source, it runs, and what it says of them is so."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.tools import notebook as tool

FILE = Path(__file__).parents[1] / "results" / "why_norms_and_skips.ipynb"
MOST_BYTES = 300_000
# What its words say of the figures, asked in its own kernel.
SAID = """
assert run.diagnosis.verdict == "vanishing"
assert run.summary.train_acc < 0.2
assert run.summary.gradient_ratio_end < 1e-9
assert 0.28 < measured < 0.38
assert abs(theory.factor / measured - 1) < 0.05
assert run.diagnosis.advice[0] == "norm=bn"
deepest = runs.where("model.depth=20").frame.set_index("norm")
assert (deepest.loc["bn", "train_acc"] > 0.95).all()
assert (runs.where("norm=bn").frame["verdict"] == "trains").all()
assert (deepest.loc["ln", "verdict"] == "vanishing").all()
found = deep.frame.set_index(["model.residual", "model.depth"])
plain, shallow = found.loc[(False, 44)], found.loc[(False, 8)]
assert plain["train_error"] > shallow["train_error"] + 0.1
assert plain["verdict"] == "undertrained" and plain["gradient_ratio_end"] > 0.01
assert (found.loc[True, "verdict"] == "trains").all()
"""


@pytest.fixture
def notebook() -> Any:
    if not FILE.exists():
        pytest.skip("not a checkout")
    return tool.read(FILE)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_its_outputs_are_of_its_source(notebook: Any) -> None:
    """Else `python -m tests.tools.notebook results/why_norms_and_skips.ipynb` makes them anew."""
    assert notebook.metadata["executed"]["source_sha256"] == tool.source_digest(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert 10 <= len(notebook.cells) <= 15


def test_its_outputs_are_answers_only(notebook: Any) -> None:
    kinds = {output.output_type for output in outputs(notebook)}
    assert kinds <= {"execute_result", "display_data", "stream"}
    assert not [o for o in outputs(notebook) if o.get("name") == "stderr"]
    pictures = [o for o in outputs(notebook) if "image/svg+xml" in o.get("data", {})]
    assert len(pictures) == 3
    assert FILE.stat().st_size < MOST_BYTES
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|Users)/", text)


@pytest.mark.slow
def test_it_runs_and_what_it_says_is_so(notebook: Any, tmp_path: Path) -> None:
    import nbformat

    notebook.cells.append(nbformat.v4.new_code_cell(SAID))
    tool.run(notebook, tmp_path)
