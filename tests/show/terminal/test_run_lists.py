"""Runs one by one, and counted."""

import pytest
from pandas import DataFrame
from rich.cells import cell_len

from normlab.results import summarize
from normlab.show import counts_line, runs_table
from normlab.show.comparisons.comparing import Comparison
from normlab.show.terminal.comparison_tables import comparison_table
from tests.show.terminal.printing import text_of


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_runs_fits_and_says_what_it_leaves_out(frame: DataFrame, width: int) -> None:
    text = text_of(runs_table(frame, width=width, limit=7), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "and 293 more" in text
    assert sum(str(i) in text for i in frame["run_id"]) == 7
    assert "more" not in text_of(runs_table(frame[:5], width=width), width)


def test_markup_in_names_is_text(frame: DataFrame) -> None:
    odd = frame.head(3).assign(experiment="[red]x[/]", norm="[bold]n")
    assert "[red]x[/]" in text_of(runs_table(odd, width=120), 120)
    summary = summarize(odd, ["norm"], [], ["train_acc"])
    assert "[bold]n" in text_of(comparison_table(Comparison(summary, ["norm"], [], width=80)))


def test_the_counts_in_one_line() -> None:
    assert counts_line({}) == "no runs"
    assert counts_line({"finished": 1}) == "1 run: 1 finished"
    assert counts_line({"finished": 3, "failed": 1, "repeated": 2}) == (
        "4 runs: 3 finished, 1 failed (not in the means); 2 in several folders, counted once"
    )
