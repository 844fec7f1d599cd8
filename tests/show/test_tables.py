import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from rich.console import Console, RenderableType

from normlab.config import compose
from normlab.runs import Run, Summary
from normlab.show import run_report
from normlab.show.terminal.tables import (
    BARS,
    gradient_strip,
    gradient_strips,
    layer_table,
    number,
    ratio_style,
)


def layers_frame(count: int, steps: tuple[int, ...] = (0, 10)) -> DataFrame:
    return DataFrame(
        [
            {
                "step": step,
                "layer": layer,
                "name": f"hidden{layer}" if layer < count else "output",
                "kind": "linear",
                "delta_rms": 10.0 ** (layer - count) * (step + 1),
                "grad_norm": math.nan if step == steps[-1] else 0.5,
                "act_std": 1.0,
            }
            for step in steps
            for layer in range(1, count + 1)
        ]
    )


SUMMARY: dict[str, Any] = {
    "name": "MLP-4 bn on digits",
    "status": "finished",
    "verdict": "trains",
    "reason": "Train accuracy 99.0 %.",
    "try": ["norm=bn", "model.residual=true"],
    "train_acc": 0.99,
    "train_loss": 0.01,
    "test_acc": None,
    "test_loss": None,
    "parameters": 1234,
    "steps": 10,
    "seconds": 1.25,
    "device": "cpu",
}


def run_of(layers: DataFrame, summary: dict[str, Any] = SUMMARY) -> Run:
    metrics = DataFrame({"step": [summary["steps"]]})
    environment = {"command": ["normlab", "run", "seed=[1]"]}
    typed = Summary.model_validate({"run_id": "0123456789", **summary})
    return Run(Path("results/runs/0123456789"), compose(), environment, metrics, layers, typed)


def printed(renderable: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("count", [1, 2, 20, 21, 110, 1000])
def test_everything_fits_the_width(width: int, count: int) -> None:
    text = printed(run_report(run_of(layers_frame(count)), width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "output" in text
    assert "trains" in text


def test_values_are_the_first_and_the_last_measured() -> None:
    text = printed(layer_table(layers_frame(3), 80) or "")
    row = next(line for line in text.splitlines() if "hidden1" in line).split()
    assert row[:5] == ["1", "hidden1", "0.0100", "0.110", "0.500"]


def test_columns_are_dropped_from_the_right() -> None:
    frame = layers_frame(3)
    assert "act std" in printed(layer_table(frame, 120) or "", 120)
    narrow = printed(layer_table(frame, 44) or "", 44)
    assert "δ end" in narrow
    assert "act std" not in narrow.splitlines()[1]
    assert "left out for width: ‖∇W‖, act std" in narrow


def test_a_deep_table_is_folded_and_says_so() -> None:
    text = printed(layer_table(layers_frame(110), 80) or "")
    shown = [
        int(line.split()[0])
        for line in text.splitlines()
        if line.strip()[:1].isdigit() and "hidden" in line
    ]
    assert shown[:3] == [1, 2, 3]
    assert shown[-2:] == [108, 109]
    assert len(shown) < 20
    assert f"{len(shown) + 1} of 110 layers shown" in text
    assert "shown" not in printed(layer_table(layers_frame(20), 80) or "")


def test_no_table_without_measurements() -> None:
    assert layer_table(DataFrame({"step": [], "layer": [], "name": [], "kind": []}), 80) is None
    assert gradient_strips(DataFrame({"step": [], "layer": []}), 80) == []
    assert "verdict" in printed(run_report(run_of(DataFrame({"step": []})), 80))


def test_the_report_names_the_command_and_stale_scores() -> None:
    text = printed(run_report(run_of(layers_frame(3)), 80))
    assert "normlab run 'seed=[1]'" in text
    assert "(at step" not in text
    for loss, shown in ((0.01, "loss 0.01"), (None, "loss not finite")):
        diverged = run_of(layers_frame(3), {**SUMMARY, "steps": 12, "train_loss": loss})
        diverged.metrics["step"] = 10
        assert f"{shown} (at step 10)" in printed(run_report(diverged, 80))


def test_one_snapshot_has_no_end() -> None:
    text = printed(run_report(run_of(layers_frame(3, steps=(0,))), 80))
    assert "δ init" in text
    assert "δ end" not in text


def test_strips_lie_under_one_another() -> None:
    strips = [
        gradient_strip("δ", [scale * 1.5**i for i in range(60)], 80).plain for scale in (1, 1e-9)
    ]
    assert len({strip.index(" output") for strip in strips}) == 1


def test_a_strip_draws_a_bar_a_layer_on_a_log_scale() -> None:
    deltas = [10.0**power for power in range(-7, 1)]  # eight bars, eight decades
    text = gradient_strip("δ", [*deltas, 1.0], 80).plain
    bars = list(text.split("input ")[1].split(" output")[0])
    assert "".join(dict.fromkeys(bars)) == BARS
    assert "min 1.0e-07 max 1.00" in text


def test_a_level_gradient_looks_level() -> None:
    text = gradient_strip("δ", [1.0, 0.8, 1.2, 0.9, 1.0], 80).plain
    assert set(text.split("input ")[1].split(" output")[0]) <= set(BARS[-2:])


@pytest.mark.parametrize(
    ("deltas", "mark"),
    [
        ([0.0, 0.0, 1.0, 1.0], "·"),
        ([math.inf, 1.0, 1.0], "!"),
        ([math.nan, 1.0], "!"),
        ([0.0], "·"),
    ],
)
def test_a_strip_marks_what_has_no_logarithm(deltas: list[float], mark: str) -> None:
    assert mark in gradient_strip("δ", deltas, 80).plain


@given(
    deltas=st.lists(st.floats(), min_size=1, max_size=300),
    width=st.integers(70, 200),
)
def test_any_strip_fits(deltas: list[float], width: int) -> None:
    assert len(gradient_strip("δ at step 10", [abs(d) for d in deltas], width)) <= width


@pytest.mark.parametrize(
    ("ratio", "style"),
    [
        (1e-9, "blue"), (0.05, "cyan"), (0.5, "green"), (1, "green"), (2.0, "green"),
        (50, "yellow"), (1e3, "red"), (math.inf, "red"), (math.nan, "red"),
    ],
)  # fmt: skip
def test_colours(ratio: float, style: str) -> None:
    assert ratio_style(ratio) == style


@given(st.floats())
def test_a_number_takes_little_room(value: float) -> None:
    text = number(value)
    assert len(text) <= 9
    if abs(value) < 1e300:
        assert float(text) == pytest.approx(value, rel=0.06)
