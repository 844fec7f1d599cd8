"""The formats of answers: what each has, and what it says."""

import io
import json
import math
import re
import subprocess
import sys

import pandas
import pytest
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.results import layout, read_results, summarize
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
from tests.show.comparisons.summaries import METRICS
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
        "rich csv json",
        "rich json md",
        "rich json",
    ]


def test_a_baseline_has_no_document(frame: DataFrame) -> None:
    options = ComparisonOptions(baseline="norm=none")
    for form in ("md", "latex"):
        with pytest.raises(ConfigError) as refused:
            comparison(frame, options, form)
        words = f"--format {form}: --baseline has none; choices: rich, csv, json"
        assert str(refused.value) == words


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


def test_latex_is_a_tabular(frame: DataFrame) -> None:
    laid = lay_out(summarize(frame, ["norm"], ["model.depth"], METRICS), ["norm"], ["model.depth"])
    lines = to_latex(laid).splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrr}"
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + 3 * 2
    assert {line.count(" & ") for line in body} == {5}
    assert r"train\_acc" in body[1]
    assert r"$\pm$" in body[1]
    assert r"$\times\!\div$" in body[2]
    assert "_" not in re.sub(r"\\_", "", "".join(body))


@pytest.mark.parametrize("form", ["md", "latex"])
def test_other_formats_say_what_their_figures_leave_out(frame: DataFrame, form: str) -> None:
    broken = frame.head(30).copy()
    broken["status"] = ["failed", "diverged", *["finished"] * 28]
    options = ComparisonOptions(["norm"], ["model.depth"], METRICS)
    text = comparison(broken, options, form)
    assert isinstance(text, str)
    notes = text.split("\n\n" if form == "md" else r"\end{tabular}")[1].strip().splitlines()
    assert all(line.startswith("% ") for line in notes) == (form == "latex")
    words = " ".join(notes)
    for said in (
        "30 runs: 28 finished, 1 diverged, 1 failed (not in the means)",
        "share a cell; name it in --rows",
        "(Student's t)",
        "bold: best of its column",
        "v vanishing",
    ):
        assert said in words
    one = comparison(frame.head(3), ComparisonOptions(["run_id"], [], METRICS), form)
    assert (r"\*: n = 1" if form == "md" else "% *: n = 1") in str(one)


@pytest.mark.parametrize("form", ["rich", "csv", "json", "md", "latex"])
def test_no_runs_are_no_crash(form: str) -> None:
    nothing = read_results([])[0]
    shown = comparison(nothing, ComparisonOptions(), form)
    text = shown if isinstance(shown, str) else text_of(shown)
    assert text.strip() if form == "csv" else "no runs" in text or text == "[]"
