"""One run and its diagnosis."""

from pathlib import Path

import pytest
from rich.console import Console

import normlab
from normlab.errors import ConfigError, RecordError
from tests.conftest import TINY
from tests.show.terminal.printing import text_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> normlab.Run:
    place = tmp_path_factory.mktemp("one")
    made = normlab.run(*TINY, "norm=bn", f"output.root={place}/results")
    return normlab.Run(made.folder)


def test_a_diagnosis_is_its_sentence(run: normlab.Run) -> None:
    summary, diagnosis = run.summary, run.diagnosis
    assert str(diagnosis) == f"{summary.verdict}. {summary.reason}"
    assert (diagnosis.verdict, diagnosis.cause) == (summary.verdict, summary.cause)
    assert (diagnosis.evidence, diagnosis.advice) == (summary.evidence, summary.advice)
    assert repr(diagnosis) == f"<Diagnosis {summary.verdict}, cause {summary.cause}>"
    assert diagnosis == normlab.Run(run.folder).diagnosis
    page = diagnosis._repr_html_()
    assert all(str(fact).partition(" ")[0] in page for fact in diagnosis.evidence)


def test_a_run_shows_itself_everywhere(run: normlab.Run) -> None:
    assert repr(run) == f"<Run {run.id}: MLP-4 bn on gaussian, {run.summary.verdict}>"
    shown = str(run)
    assert shown.startswith(f"MLP-4 bn on gaussian, {run.id}\nδ at step 0")
    assert run.diagnosis.reason.split()[0] in shown
    assert "\x1b" not in shown
    assert "\x1b[1" in text_of(run, 80, color="standard")
    page = run._repr_html_()
    assert page.startswith('<div class="normlab">')
    assert f"<b>MLP-4 bn on gaussian, {run.id}</b>" in page


def test_nothing_of_a_run_is_markup(run: normlab.Run) -> None:
    """Not even on a console that reads some."""
    odd = run.summary.model_copy(update={"name": "[red]x[/] <script>"})
    files = run.files.__class__(
        *(run.folder, run.config, run.environment, run.metrics, run.layers), odd
    )
    shown = normlab.Run(run.folder, files)
    assert "[red]x[/] &lt;script&gt;" in shown._repr_html_()
    console = Console(width=80, markup=True)
    with console.capture() as captured:
        console.print(shown)
    assert "[red]x[/] <script>" in captured.get()


def test_a_picture_of_one_run(run: normlab.Run, tmp_path: Path) -> None:
    run.plot("heatmap", probe="grad_norm", title="Mine").save(tmp_path / "heatmap.svg")
    assert "Mine" in (tmp_path / "heatmap.svg").read_text()
    with pytest.raises(ConfigError, match=r"^metric train_acc: plot gradients takes none"):
        run.plot(metric="train_acc")


def test_a_run_that_has_not_ended_says_so(tmp_path: Path) -> None:
    (tmp_path / "0123456789").mkdir()
    run = normlab.Run(tmp_path / "0123456789")
    assert repr(run) == "<Run 0123456789: unfinished>"
    with pytest.raises(RecordError):
        _ = run.summary
