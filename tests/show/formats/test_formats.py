"""The formats of answers: what each has, and what it says."""

import io
import json
import math
import re
import subprocess
import sys
from typing import Any

import pandas
import pytest
from pandas import DataFrame

from normlab.analysis import layout, read_results, summarize
from normlab.errors import ConfigError
from normlab.show import (
    TABLE_FORMATS,
    ComparisonOptions,
    TableFormat,
    comparison,
    formats_of,
)
from normlab.show.comparisons.layout import lay_out
from normlab.show.formats.data import to_csv, to_json_rows
from normlab.show.formats.latex import to_latex
from normlab.show.formats.markdown import to_markdown
from tests.show.comparisons.summaries import METRICS, tidy
from tests.show.terminal.printing import text_of


def test_the_command_line_asks_for_the_choices_without_loading_what_draws() -> None:
    heavy = ("torch", "pandas", "numpy", "altair", "pydantic", "rich", "jinja2")
    code = (
        "import sys; from normlab.show import TABLE_FORMATS, formats_of; "
        "print(*TABLE_FORMATS, sep=' '); "
        "[print(*formats_of(kind)) for kind in ('pairs', 'verdicts', 'answer')]; "
        f"assert not [m for m in {heavy} if m in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "rich csv json md latex",
        "rich csv json md latex",
        "rich json md",
        "rich json",
    ]


def test_a_baselines_differences_read_alike_in_a_terminal_and_in_documents(
    frame: DataFrame,
) -> None:
    options = ComparisonOptions(["norm"], ["model.depth"], METRICS, baseline="norm=none")
    lines = text_of(comparison(frame, options), 200).splitlines()
    shown = [line.split() for line in lines if line.startswith(("bn", "ln"))]
    assert len(shown) == 2 * 4 * 2
    markdown = str(comparison(frame, options, "md"))
    rows = [
        line.strip("|").split("|") for line in markdown.splitlines() if line[:3] in ("| b", "| l")
    ]
    assert [" ".join(row).replace("**", "").split() for row in rows] == shown
    assert "Student" not in markdown
    assert "p: paired t-test, two-sided, uncorrected.\n" in markdown
    latex = str(comparison(frame, options, "latex"))
    body = [line.removesuffix(r" \\").split(" & ") for line in latex.splitlines() if " & " in line]
    assert body[0] == ["norm", "depth", "metric", "difference", r"95\% interval", "n", "p"]
    assert len(body) == 1 + len(shown)
    assert body[1][2] == r"train\_acc"
    bold = sum(r"\textbf" in row[3] for row in body)
    assert bold == sum("**" in line for line in markdown.splitlines())
    assert 0 < bold < len(shown)


def test_a_format_without_differences_says_which_have_some(frame: DataFrame) -> None:
    TABLE_FORMATS.add("count", TableFormat(lambda compared: f"{len(compared.layout.lines)} lines"))
    try:
        with pytest.raises(ConfigError) as refused:
            comparison(frame, ComparisonOptions(baseline="norm=none"), "count")
    finally:
        TABLE_FORMATS.remove("count")
    words = "--format count: --baseline has none; choices: rich, csv, json, md, latex"
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("options", "form", "message"),
    [
        ({"caption": "Mine"}, "md", "--caption: --format md has none; choices: latex"),
        ({"spread": "std", "baseline": "norm=none"}, "rich", "--spread std: --baseline has inter"),
    ],
)
def test_what_would_be_ignored_is_refused(
    frame: DataFrame, options: dict[str, Any], form: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        comparison(frame, ComparisonOptions(**options), form)


def test_a_format_from_outside_is_used_as_its_own_are(frame: DataFrame) -> None:
    rows = TableFormat(lambda compared: f"{len(compared.layout.lines)} lines")
    TABLE_FORMATS.add("count", rows)
    try:
        assert comparison(frame, ComparisonOptions(["norm"], []), "count") == "3 lines"
        assert "count" not in formats_of("pairs")
        assert "count" in formats_of("comparison")
    finally:
        TABLE_FORMATS.remove("count")


def test_an_answer_is_drawn_for_people_and_written_for_programs() -> None:
    values = {"q": math.inf, "phase": "ordered"}
    rich, plain = (TABLE_FORMATS[name].answer for name in ("rich", "json"))
    assert rich is not None
    assert plain is not None
    assert rich(values, lambda: "a table") == "a table"
    written = plain(values, lambda: pytest.fail("nobody asked to draw"))
    assert json.loads(str(written)) == {"q": None, "phase": "ordered"}
    assert [name for name, part in TABLE_FORMATS.items() if part.for_people] == ["rich"]


def test_json_is_strict_and_tidy(frame: DataFrame) -> None:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, METRICS)
    summary.loc[0, ["mean", "low", "high"]] = [math.inf, math.nan, -math.inf]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    back = json.loads(to_json_rows(summary), parse_constant=refuse)
    assert len(back) == len(summary)
    figures = ["mean", "low", "high", "std", "n"]
    assert list(back[0])[:10] == [*rows, *cols, "metric", *figures]
    assert (back[0]["mean"], back[0]["low"], back[0]["high"]) == (None, None, None)
    assert back[1]["mean"] == summary["mean"][1]
    assert back[1]["model.residual"] is False
    assert type(back[1]["model.depth"]) is int
    assert json.loads(to_json_rows(summary[:0])) == []


def test_csv_reads_back(frame: DataFrame) -> None:
    summary = summarize(frame, ["norm"], ["model.depth"], METRICS)
    back = pandas.read_csv(io.StringIO(to_csv(summary)), keep_default_na=False)
    assert back["norm"].tolist() == summary["norm"].tolist()
    assert back["mean"].astype(float).tolist() == summary["mean"].tolist()


def test_markdown_reads_back(frame: DataFrame) -> None:
    laid = lay_out(summarize(frame, ["norm"], ["model.depth"], METRICS), ["norm"], ["model.depth"])
    lines = to_markdown(laid).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert table[0] == ["norm", "metric", "depth 8", "depth 20", "depth 56", "depth 110"]
    assert table[1] == ["---", "---", "---:", "---:", "---:", "---:"]
    assert len(table) == 2 + 3 * 2
    texts = [cell.removeprefix("**").removesuffix("**") for cell in table[2][2:]]
    assert texts == [cell.text for cell in laid.lines[0].cells]
    assert "**" in to_markdown(laid)


def test_latex_is_a_table_of_booktabs(frame: DataFrame) -> None:
    laid = lay_out(summarize(frame, ["norm"], ["model.depth"], METRICS), ["norm"], ["model.depth"])
    lines = to_latex(laid, ["n = 3 runs a cell", "trains  v vanishing"]).splitlines()
    assert lines[1:3] == [r"\begin{table}", r"\centering"]
    assert lines[3] == (
        r"\caption{Train accuracy, first over last layer's gradient at the end by norm, depth. "
        r"n = 3 runs a cell. Trains, v vanishing.}"
    )
    assert lines[5] == r"\begin{tabular}{llrrrr}"
    assert [lines[i] for i in (6, 8, -3)] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines.count(r"\addlinespace") == 3 - 1
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + 3 * 2
    assert {line.count(" & ") for line in body} == {5}
    assert body[1].startswith(r"none & train\_acc & ")
    assert body[2].startswith(" & ratio end & ")
    assert r"$\pm$" in body[1]
    assert r"$\times\!\div$" in body[2]
    assert "_" not in re.sub(r"\\_", "", "".join(body))
    own = to_latex(laid, caption="50% of C_1").splitlines()
    assert own[3] == r"\caption{50\% of C\_1.}"


def test_latex_writes_powers_of_ten_and_escapes_what_it_would_read() -> None:
    key = "schedule.milestones"
    summary = tidy(
        mean=[1.7e-5, 0.5, 0.25],
        metric=["train_loss", "train_loss", "train_loss"],
        **{key: ["[0.5,0.75]", "*", "a_b"], "optimizer.lr": [1e-5, 0.1, 3e20]},
    )
    lines = to_latex(lay_out(summary, [key, "optimizer.lr"], [])).splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert body[1:] == [
        # A bracket or star after \\ would be a part of it.
        r"{[}0.5,0.75] & $1 \times 10^{-5}$ & \textbf{\boldmath $1.7 \times 10^{-5}$*} \\",
        r"{*} & 0.1 & 0.500* \\",
        r"a\_b & $3 \times 10^{20}$ & 0.250* \\",
    ]


@pytest.mark.parametrize("form", ["md", "latex"])
def test_other_formats_say_what_their_figures_leave_out(frame: DataFrame, form: str) -> None:
    broken = frame.head(30).copy()
    broken["status"] = ["failed", "diverged", *["finished"] * 28]
    options = ComparisonOptions(["norm"], ["model.depth"], METRICS)
    text = comparison(broken, options, form)
    assert isinstance(text, str)
    notes = text.split("\n\n" if form == "md" else r"\caption{")[1].strip().splitlines()
    words = (
        " ".join(notes if form == "md" else notes[:1]).replace("Bold", "bold").replace("-{}-", "--")
    )
    for said in (
        "30 runs: 28 finished, 1 diverged, 1 failed (not in the means)",
        "share a cell; name it in --rows",
        "(Student's t)",
        "bold: best of its column",
        "v vanishing",
    ):
        assert said in words
    one = comparison(frame.head(3), ComparisonOptions(["run_id"], [], METRICS), form)
    assert (r"\*: n = 1" if form == "md" else "*: n = 1") in str(one)


def test_cells_of_unlike_data_are_said_where_no_key_tells_them_apart(frame: DataFrame) -> None:
    mixed = frame.assign(data=frame["data"].where(frame["model.depth"] > 8, "gaussian"))
    for rows, said in ((None, False), (["norm"], True), (["norm", "data"], False)):
        text = text_of(comparison(mixed, ComparisonOptions(rows), "rich"), 200)
        assert ("cells are of unlike data (digits, gaussian); name data in --rows" in text) is said
        assert ("data" in text.splitlines()[0].split()) is not said


@pytest.mark.parametrize("form", ["rich", "csv", "json", "md", "latex"])
def test_no_runs_are_no_crash(form: str) -> None:
    nothing = read_results([])[0]
    shown = comparison(nothing, ComparisonOptions(), form)
    text = shown if isinstance(shown, str) else text_of(shown)
    assert text.strip() if form == "csv" else "no runs" in text.lower() or text == "[]"
