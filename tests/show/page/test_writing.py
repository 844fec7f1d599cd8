"""The page in a real browser: drawn, without errors or requests, and it does what it says."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from normlab.errors import ConfigError
from normlab.results import read_results
from normlab.show import ClaimVerdict, Selection, write_report
from normlab.show.page.writing import page_text
from tests.tools.synthetic_results import write_runs

HOSTILE = "<img src=x onerror=alert(1)>"
needs_browser = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Debian's chromium and chromium-driver",
)


def report_on(root, *, count=80, experiment="synthetic", keep=None, **options):
    write_runs(count, root, experiment, with_tables=True)
    frame, _ = read_results([root])
    frame = frame[frame["optimizer.lr"] == 0.1]
    file = root.parent / "report.html"
    kept = frame if keep is None else keep(frame)
    write_report(Selection(kept, [root]), file, **options)
    return file


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report_on(tmp_path_factory.mktemp("report") / "results")


@pytest.fixture(scope="module")
def open_page():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,2400",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )

    def opened(file):
        driver.get_log("performance")
        driver.get_log("browser")
        driver.get(file.as_uri())
        wanted = len(driver.find_elements("css selector", ".picture"))
        for _ in range(150):
            if driver.execute_script("return Object.keys(window.views || {}).length") == wanted:
                return driver
            time.sleep(0.1)
        raise AssertionError(driver.get_log("browser"))

    yield opened
    driver.quit()


@needs_browser
def test_the_page_draws_without_an_error_or_a_request(page, open_page):
    browser = open_page(page)
    for name in ("error", "gradient", "accuracy"):
        svg = browser.find_element("css selector", f"#{name} svg.marks")
        assert len(svg.find_elements("css selector", "path")) > 10
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert [url for url in asked if url.startswith("file")] == [page.as_uri()]


@needs_browser
def test_hovering_shows_a_value(page, open_page):
    from selenium.webdriver import ActionChains

    browser = open_page(page)
    point = browser.find_elements("css selector", "#error svg.marks .mark-symbol path")[0]
    ActionChains(browser).move_to_element(point).perform()
    for _ in range(50):
        tip = browser.find_elements("css selector", "#vg-tooltip-element.visible")
        if tip:
            break
        time.sleep(0.1)
    assert "train error" in tip[0].text
    assert re.search(r"variant\s*(no-norm|bn|ln)", tip[0].text)


def opacities(browser, name):
    script = f"""return [...document.querySelectorAll('#{name} svg.marks .mark-line path')]
        .map(p => Number(p.getAttribute('stroke-opacity') ?? p.getAttribute('opacity') ?? 1))"""
    return sorted(set(browser.execute_script(script)))


@needs_browser
def test_the_legend_isolates_a_variant(page, open_page):
    browser = open_page(page)
    assert opacities(browser, "error") == [1]
    label = browser.find_elements("css selector", "#error svg.marks .role-legend-label text")[1]
    label.click()
    time.sleep(0.5)
    assert opacities(browser, "error") == [0.08, 1]


@needs_browser
def test_the_slider_moves_the_profile(page, open_page):
    browser = open_page(page)

    def lines():
        found = browser.find_elements("css selector", "#gradient svg.marks .mark-line path")
        return [path.get_attribute("d") for path in found]

    before = lines()
    browser.execute_script(
        """const slider = document.querySelector('#gradient input[type=range]');
        slider.value = slider.max; slider.dispatchEvent(new Event('input'));"""
    )
    time.sleep(0.5)
    after = lines()
    assert len(before) == len(after) > 4
    assert before != after


@needs_browser
def test_the_table_sorts(page, open_page):
    browser = open_page(page)

    def column(index):
        cells = browser.find_elements("css selector", f"#runs tbody td:nth-child({index})")
        return [cell.get_attribute("data-value") or cell.text for cell in cells]

    heads = browser.find_elements("css selector", "#runs th")
    heads[1].click()
    assert [int(v) for v in column(2)] == sorted(int(v) for v in column(2))
    heads[3].click()
    heads[3].click()
    accuracies = [float(v) for v in column(4)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(accuracies) == 20


@needs_browser
def test_the_page_fits_a_phone(page, open_page):
    browser = open_page(page)
    phone = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.refresh()
        time.sleep(2)
        wide, screen = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        assert wide == screen == 400
        pictures = browser.find_elements("css selector", ".picture svg.marks")
        assert [picture.size["width"] <= 400 for picture in pictures] == [True] * 3
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@needs_browser
def test_a_hostile_name_is_text(tmp_path, open_page):
    browser = open_page(report_on(tmp_path / "results", count=40, experiment=HOSTILE))
    assert browser.find_element("css selector", "h1").text == HOSTILE
    assert browser.find_elements("css selector", "img") == []
    assert browser.get_log("browser") == []


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


def test_the_page_lists_every_command_commit_and_machine_of_its_runs(tmp_path):
    root = tmp_path / "results"
    environments = [
        {"command": ["__main__.py", "sweep", "norm=bn", "--report", "a.html"], "torch": "2.13.0"},
        {"command": ["normlab", "sweep", "model.depth=8,20"], "git_commit": "a" * 40},
        {"command": ["normlab", "sweep", "norm=bn"], "git_commit": "b" * 40, "git_dirty": True},
    ]
    for folder, environment in zip(write_runs(3, root), environments, strict=True):
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    frame, _ = read_results([root])
    page = page_text(Selection(frame, [root], ["seed=0"]))
    told = page[page.index("To repeat it") : page.index("<details>")]
    lines = told[told.index("<pre>") + 5 : told.index("</pre>")].splitlines()
    assert sorted(lines[:2]) == ["normlab sweep model.depth=8,20", "normlab sweep norm=bn"]
    assert lines[2:] == [f"normlab compare {root} --where seed=0"]
    assert re.search(r"commit (a{10} and b{10} with changes|b{10} with changes and a{10})", told)
    assert "PyTorch 2.13.0" in told


def test_a_page_of_very_many_commands_shows_the_first(tmp_path):
    root = tmp_path / "results"
    for index, folder in enumerate(write_runs(9, root)):
        environment = {"command": ["normlab", "run", f"seed={index}"]}
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    frame, _ = read_results([root])
    page = page_text(Selection(frame, [root]))
    assert page.count("normlab run seed=") == 6
    assert "# 3 more, in the runs&#39; environment.json" in page


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


def test_runs_without_layers_say_so(tmp_path):
    root = tmp_path / "results"
    write_runs(40, root)
    frame, _ = read_results([root])
    page = page_text(Selection(frame, [root]))
    assert "No picture of the gradient: no layers.parquet of 40 runs can be read." in page


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
