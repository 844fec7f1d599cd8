"""What is read at the end of a run."""

from dataclasses import replace
from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.show import run_report
from normlab.show.terminal.layer_table import layer_table
from normlab.show.terminal.strips import gradient_strips
from tests.show.terminal.printing import printed, text_of
from tests.show.terminal.runs import SUMMARY, layers_frame, run_of


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("count", [1, 2, 20, 21, 110, 1000])
def test_everything_fits_the_width(width: int, count: int) -> None:
    text = text_of(run_report(run_of(layers_frame(count)), width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "output" in text
    assert "trains" in text


def test_no_table_without_measurements() -> None:
    assert layer_table(DataFrame({"step": [], "layer": [], "name": [], "kind": []}), 80) is None
    assert gradient_strips(DataFrame({"step": [], "layer": []}), 80) == []
    assert "verdict" in text_of(run_report(run_of(DataFrame({"step": []})), 80))


def test_the_report_names_the_command_and_stale_scores() -> None:
    text = text_of(run_report(run_of(layers_frame(3)), 80))
    assert "normlab run 'seed=[1]'" in text
    assert "(at step" not in text
    for loss, shown in ((0.01, "loss 0.01"), (None, "loss not finite")):
        diverged = run_of(layers_frame(3), {**SUMMARY, "steps": 12, "train_loss": loss})
        diverged.metrics["step"] = 10
        assert f"{shown} (at step 10)" in text_of(run_report(diverged, 80))


def test_one_snapshot_has_no_end() -> None:
    text = text_of(run_report(run_of(layers_frame(3, steps=(0,))), 80))
    assert "δ init" in text
    assert "δ end" not in text


@pytest.mark.parametrize(
    ("cause", "advice", "tried"),
    [
        ("depth", ["norm=bn"], True),
        ("depth", [], False),
        ("none", ["norm=bn"], False),
        (None, ["norm=bn"], False),  # an older version's: doctor needs a cause
    ],
)
def test_the_last_line_names_the_command_that_tries_the_advice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cause: str | None,
    advice: list[str],
    tried: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_of(layers_frame(3), {**SUMMARY, "cause": cause, "try": advice})
    files, last = printed(run_report(run, 80))[-2:]
    assert (last.split() == ["next", "normlab", "doctor", "0123"]) is tried
    assert (files if tried else last).startswith("files")
    elsewhere = replace(run, folder=Path("/a place/runs/0123456789"))
    last = printed(run_report(elsewhere, 80))[-1].rstrip()
    assert last.endswith("normlab doctor '/a place/runs/0123456789'") is tried
