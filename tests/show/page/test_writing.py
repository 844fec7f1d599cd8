"""The page as text: whole, escaped, and of finished runs only."""

import re
from pathlib import Path

import pytest

from normlab.errors import ConfigError
from normlab.results import read_results
from normlab.show import ClaimVerdict, Selection, write_report
from tests.show.page.reports import HOSTILE, report_on
from tests.tools.synthetic_results import write_runs


def test_names_are_escaped_everywhere(tmp_path):
    page = report_on(tmp_path / "results", count=40, experiment=HOSTILE).read_text()
    assert "<img" not in page.split("<script>")[0]  # before Vega's own code
    assert page.count("</script>") == 3  # of its own three scripts


def test_the_page_is_small_and_says_how_to_repeat_it(page):
    text = page.read_text()
    assert len(text) < 3e6
    assert "normlab sweep" in text
    assert "The gradient (first/last layer)" in text
    assert "http-equiv" not in text
    own = text.split("<script>")[0]  # before Vega's code
    assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)=["'](?!data:)""", own)


@pytest.mark.parametrize(
    "keep",
    [
        lambda frame: frame.iloc[:1],
        lambda frame: frame[frame["seed"] == 0],
        lambda frame: frame.assign(status="diverged"),
    ],
    ids=["one run", "one seed", "all diverged"],
)
def test_few_runs_make_a_page_too(tmp_path, keep):
    page = report_on(tmp_path / "results", keep=keep).read_text()
    assert 'class=picture id="gradient"' in page
    assert 'class=picture id="accuracy"' in page


def test_verdicts_are_listed(tmp_path):
    row = ClaimVerdict("C14", "deeper <nets>", "PASS")
    page = report_on(tmp_path / "results", count=40, verdicts=[row]).read_text()
    assert "deeper &lt;nets&gt;" in page
    assert ">PASS<" in page


def test_a_report_is_html_of_finished_runs(tmp_path):
    root = tmp_path / "results"
    write_runs(2, root)
    frame, _ = read_results([root])
    with pytest.raises(ConfigError, match=r"a report is a page; name it .*out.html"):
        write_report(Selection(frame, [root]), Path("out.pdf"))
    with pytest.raises(ConfigError, match="no finished run is there to draw"):
        write_report(Selection(frame.iloc[:0], [root]), tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()
