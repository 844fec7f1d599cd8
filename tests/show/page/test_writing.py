"""The page as text: whole, escaped, and of finished runs only."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from normlab.analysis import read_results
from normlab.errors import ConfigError
from normlab.show import ClaimVerdict, Selection, write_report
from normlab.show.page import links
from normlab.vocabulary import CAUSES, DIAGNOSES
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
    assert 'class=picture id="gradient-picture"' in page
    assert 'class=picture id="accuracy-picture"' in page


def test_verdicts_are_listed(tmp_path):
    row = ClaimVerdict("C14", "deeper <nets>", "PASS")
    page = report_on(tmp_path / "results", count=40, verdicts=[row]).read_text()
    assert "deeper &lt;nets&gt;" in page
    assert ">PASS<" in page


def test_the_cause_stands_beside_the_verdict(tmp_path):
    def older(frame):
        return frame.assign(cause=frame["cause"].where(frame["norm"] != "none"))

    text = report_on(tmp_path / "results", keep=older).read_text()
    rows = text[text.index("<table id=runs>") : text.index("</table>")].split("<tr>")
    head, *rows = [re.sub(r"\s*<[^>]+>\s*", "|", row) for row in rows[1:]]
    assert head.rstrip("|").endswith("verdict||||cause")
    ends = {tuple(filter(None, row.split("|")))[-2:] for row in rows}
    assert ends == {
        ("trains", "none"),
        ("trains", "not recorded"),
        ("vanishing", "vanishing_at_init"),
        ("vanishing", "not recorded"),
    }
    links = text[text.index("<table id=folders>") :]
    assert "<td>vanishing</td><td>vanishing_at_init</td>" in links
    assert all(f"<li>{name}: " in text for name in CAUSES)


def test_a_report_is_html_of_finished_runs(tmp_path):
    root = tmp_path / "results"
    write_runs(2, root)
    frame, _ = read_results([root])
    with pytest.raises(ConfigError, match=r"a report is a page; name it .*out.html"):
        write_report(Selection(frame, [root]), Path("out.pdf"))
    with pytest.raises(ConfigError, match="no finished run is there to draw"):
        write_report(Selection(frame.iloc[:0], [root]), tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_every_run_is_a_link_that_holds_where_results_and_page_are_moved(tmp_path):
    """Also out of an experiment whose name a URL cannot hold as it is."""
    page = report_on(tmp_path / "here" / "results", count=40, experiment="a #1 %41")
    moved = (tmp_path / "here").rename(tmp_path / "there")
    text = (moved / page.name).read_text()
    found = re.findall(r'<td><a href="([^"]+)">(\w+)</a>', text)
    assert len(found) == 20
    for href, run in found:
        assert "#" not in href
        folder = moved / unquote(href)
        assert folder.name == run
        assert (folder / "summary.json").is_file()


def test_of_very_many_runs_the_first_are_links(tmp_path, monkeypatch):
    monkeypatch.setattr(links, "MOST_LINKED", 3)
    page = report_on(tmp_path / "results", count=40).read_text()
    assert page.count("<td><a href=") == 3
    assert "The folders of 3 runs, of 20" in page


def test_one_run_a_row_is_marked_and_two_are_both_there(tmp_path):
    def accuracies(count):
        page = report_on(tmp_path / str(count) / "results", count=count).read_text()
        return re.findall(r'<td data-value="[^"]*">(\d\.\d{3}[^<]*)</td>', page)

    assert all(re.fullmatch(r"[01]\.\d{3}\*", text) for text in accuracies(40))
    two = accuracies(80)
    assert all(re.fullmatch(r"[01]\.\d{3}, [01]\.\d{3}", text) for text in two)
    assert len(two) == 40  # of training and of other images, of 20 nets


def test_the_page_has_heads_and_explains_its_words(page):
    own = page.read_text().split("<script")[0]
    heads = re.findall(r"<h2[^>]*>(.*?)</h2>", own)
    assert heads == [
        *("What was found", "Results", "Pictures", "Words and signs", "Every run", "To repeat it")
    ]
    assert re.findall(r"<h3>(.*?)</h3>", own) == [
        *("Train error by depth", "Gradient by layer, through training"),
        "Train accuracy by epoch",
    ]
    words = own[own.index("Words and signs") : own.index("Every run")]
    for diagnosis in DIAGNOSES.values():
        assert f"{diagnosis.name}: {diagnosis.meaning.replace(chr(39), '&#39;')}" in words
    assert own.index("type=range") < own.index('id="gradient-picture"')
    assert 'data-names=\'["step 0", "step 5", "step 40", "step 165"]\'' in own
