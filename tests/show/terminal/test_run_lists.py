"""Runs one by one, and counted."""

import time
from datetime import date

import pytest
from pandas import DataFrame
from rich.cells import cell_len

from normlab.analysis import listed, summarize
from normlab.show import RunList, counts_line
from normlab.show.comparisons.comparing import Comparison
from normlab.show.terminal.comparison_tables import comparison_table
from normlab.show.terminal.run_lists import runs_table
from tests.show.terminal.printing import text_of


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_list_of_runs_fits_and_says_what_it_leaves_out(frame: DataFrame, width: int) -> None:
    runs = listed(frame, limit=7)
    text = text_of(runs_table(RunList(runs, len(frame) - 7, width)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "and 293 more" in text
    assert sum(str(i) in text for i in frame["run_id"]) == 7
    for settings in runs["settings"]:
        assert settings in " ".join(text.split())
    assert "more" not in text_of(runs_table(RunList(listed(frame[:5]), 0, width)), width)


def test_a_run_is_told_by_what_it_came_to_and_its_start_in_local_time(
    frame: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        three = frame.head(3).assign(
            status=["finished", "failed", "diverged"],
            verdict=["vanishing", None, "diverged"],
            cause=["vanishing_at_init", None, None],  # the last one is of an older version
            started=["2001-02-03T20:00:00+00:00", "x", f"{date.today().year}-06-01T23:30:00+00:00"],
            seed=[1, 2, 3],
        )
        text = text_of(runs_table(RunList(listed(three, "seed"), 0, 140)), 140)
    finally:
        monkeypatch.undo()
        time.tzset()
    head, _, *lines = [line.split() for line in text.splitlines()]
    figures = ["outcome", "cause", "train", "seconds"]
    assert head == ["run", "started", "network", "settings", *figures]
    assert [line[1] for line in lines] == ["2001-02-04", "–", "06-02"]
    assert lines[2][2] == "08:30"
    assert lines[0][-4:-2] == ["vanishing", "vanishing_at_init"]
    assert lines[1][-3] == "failed"
    assert lines[2][-5:-2] == ["diverged", "not", "recorded"]


@pytest.mark.parametrize("width", [54, 80, 120])
def test_the_cause_stands_right_after_the_outcome_while_settings_fold(
    frame: DataFrame, width: int
) -> None:
    verdicts = ["trains", "undertrained", "trains", "undertrained"]
    causes = ["none", "exploding_at_init", "memorizes", None]
    runs = listed(frame.head(4).assign(verdict=verdicts, cause=causes), "verdict")
    lines = text_of(runs_table(RunList(runs, 0, width)), width).splitlines()
    at = lines[0].index("cause")
    assert lines[0][at - 15 : at].split() == ["outcome"]
    told = {
        line[:10]: line[at - 15 : at + 17].split(maxsplit=1)
        for line in lines[2:]
        if line[:10] in set(runs["run_id"])
    }
    assert sorted([outcome, cause.rstrip()] for outcome, cause in told.values()) == [
        ["trains", "memorizes"],
        ["trains", "–"],
        ["undertrained", "exploding_at_init"],
        ["undertrained", "not recorded"],
    ]


def test_where_there_is_no_room_the_cause_comes_first_below(frame: DataFrame) -> None:
    runs = listed(frame.head(1).assign(verdict="undertrained", cause="depth"))
    head, _, run, below = text_of(runs_table(RunList(runs, 0, 53)), 53).splitlines()[:4]
    assert "cause" not in head
    assert run.startswith(runs["run_id"].iloc[0])
    assert below.split(", ")[0].strip() == "cause depth"


@pytest.mark.parametrize("cause", ["none", None])
def test_where_all_train_there_is_no_column_of_causes(frame: DataFrame, cause: str | None) -> None:
    runs = listed(frame.head(2).assign(verdict="trains", cause=cause))
    assert "cause" not in text_of(runs_table(RunList(runs, 0, 120)), 120)


def test_markup_in_names_is_text(frame: DataFrame) -> None:
    odd = frame.head(3).assign(experiment=["[red]x[/]", "y", "y"], norm="[bold]n")
    assert "[red]x[/]" in text_of(runs_table(RunList(listed(odd), 0, 120)), 120)
    summary = summarize(odd, ["norm"], [], ["train_acc"])
    assert "[bold]n" in text_of(comparison_table(Comparison(summary, ["norm"], [])))


def test_the_counts_in_one_line() -> None:
    assert counts_line({}) == "no runs"
    assert counts_line({"finished": 1}) == "1 run: 1 finished"
    assert counts_line({"finished": 3, "failed": 1, "repeated": 2}) == (
        "4 runs: 3 finished, 1 failed (not in the means); 2 in several folders, counted once"
    )
