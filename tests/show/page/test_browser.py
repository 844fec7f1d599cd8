"""The page in a real browser: drawn, without errors or requests, and it does what it says."""

import itertools
import json
import re
import shutil

import pytest

from normlab.analysis import read_results
from normlab.config import compose
from normlab.measurement import predict, weight_variance
from normlab.show import Selection, write_report
from tests.analysis import sample
from tests.show.page.reports import HOSTILE, report_on
from tests.tools.processes import wait_for

needs_browser = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Debian's chromium and chromium-driver",
)


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
        drawn = "return Object.keys(window.views || {}).length"
        wait_for(lambda: driver.execute_script(drawn) == wanted)
        return driver

    try:
        yield opened
    finally:
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


@pytest.mark.slow
@needs_browser
def test_hovering_shows_a_value(page, open_page):
    from selenium.webdriver import ActionChains

    browser = open_page(page)
    point = browser.find_elements("css selector", "#error svg.marks .mark-symbol path")[0]
    ActionChains(browser).move_to_element(point).perform()
    shown = "#vg-tooltip-element.visible"
    wait_for(lambda: browser.find_elements("css selector", shown))
    tip = browser.find_elements("css selector", shown)
    assert "train error" in tip[0].text
    assert re.search(r"variant\s*(no-norm|bn|ln)", tip[0].text)


def opacities(browser, name):
    script = f"""return [...document.querySelectorAll('#{name} svg.marks .mark-line path')]
        .map(p => Number(p.getAttribute('stroke-opacity') ?? p.getAttribute('opacity') ?? 1))"""
    return sorted(set(browser.execute_script(script)))


@pytest.mark.slow
@needs_browser
def test_the_legend_isolates_a_variant(page, open_page):
    browser = open_page(page)
    assert opacities(browser, "error") == [1]
    label = browser.find_elements("css selector", "#error svg.marks .role-legend-label text")[1]
    label.click()
    wait_for(lambda: opacities(browser, "error") == [0.08, 1])


@pytest.mark.slow
@needs_browser
def test_the_slider_moves_the_profile(page, open_page):
    browser = open_page(page)

    def lines():
        found = browser.find_elements("css selector", "#gradient svg.marks .mark-line path")
        return [path.get_attribute("d") for path in found]

    before = lines()
    slider = browser.find_element("css selector", "#gradient input[type=range]")
    picture = browser.find_element("css selector", "#gradient svg.marks")
    assert slider.location["y"] + slider.size["height"] <= picture.location["y"]
    told = browser.find_element("css selector", "#gradient output")
    assert told.text == "step 0"
    browser.execute_script(
        "arguments[0].value = arguments[0].max; arguments[0].dispatchEvent(new Event('input'));",
        slider,
    )
    wait_for(lambda: lines() != before)
    assert told.text == "step 165"
    assert len(before) == len(lines()) > 4


@pytest.mark.slow
@needs_browser
def test_a_dark_screen_has_a_dark_page_whose_lines_show(page, open_page):
    browser = open_page(page)

    def darkest():
        """The least luminance of a line of the pictures, from 0 to 255, and the page's."""
        return browser.execute_script(
            """const light = text => { const [r, g, b] = text.match(/\\d+/g).map(Number);
                 return .2126 * r + .7152 * g + .0722 * b; };
               const strokes = [...document.querySelectorAll('svg.marks .mark-line path')]
                 .map(path => light(getComputedStyle(path).stroke));
               const page = getComputedStyle(document.body).backgroundColor;
               return [Math.min(...strokes), light(page)];
            """
        )

    assert darkest() == [0, pytest.approx(255)]  # no norm is black on white
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        wait_for(lambda: darkest()[0] > 100)
        assert darkest()[1] < 40
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.slow
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


@pytest.mark.slow
@needs_browser
def test_the_page_fits_a_phone(page, open_page):
    browser = open_page(page)
    phone = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.refresh()
        wait_for(lambda: len(browser.find_elements("css selector", ".picture svg.marks")) == 3)
        wide, screen = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
        assert wide == screen == 400
        cue = browser.find_element("css selector", ".scroll-cue")
        assert "scroll it sideways" in cue.text
        pictures = browser.find_elements("css selector", ".picture svg.marks")
        assert [picture.size["width"] <= 400 for picture in pictures] == [True] * 3
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
@needs_browser
def test_a_hostile_name_is_text(tmp_path, open_page):
    browser = open_page(report_on(tmp_path / "results", count=40, experiment=HOSTILE))
    assert browser.find_element("css selector", "h1").text == HOSTILE
    assert browser.find_elements("css selector", "img") == []
    assert browser.get_log("browser") == []


@pytest.fixture
def theory_page(tmp_path):
    """A page of two nets that mean-field theory covers, and of one that it does not."""
    root = tmp_path / "results"
    root.mkdir()
    deltas = [0.1, 0.2, 0.3, 0.4, 9.0]
    sample.measured(root, {0: deltas}, "norm=none")
    sample.measured(root, {0: deltas}, "norm=none", "model.activation=relu", seed=1)
    sample.measured(root, {0: deltas}, "norm=ln")
    frame, _ = read_results([root])
    write_report(Selection(frame, [root]), tmp_path / "report.html")
    return tmp_path / "report.html"


# The last is the residual one, which theory covers of a φ whose φ″ is odd.
DRAGGED = [
    ("relu", 2.0, 0.0, 50, False),
    ("relu", 1.0, 0.3, 20, False),
    ("tanh", 1.76, 0.05, 50, False),
    ("tanh", 4.0, 0.05, 100, False),
    ("sigmoid", 1.0, 0.0, 20, False),
    ("gelu", 2.5, 0.1, 30, False),
    ("silu", 0.4, 0.0, 12, False),
    ("erf", 0.7, 0.9, 40, False),
    ("tanh", 1.3, 0.2, 30, True),
]


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(("activation", "weights", "biases", "depth", "residual"), DRAGGED)
def test_what_the_page_predicts_is_what_normlab_does(
    theory_page, open_page, activation, weights, biases, depth, residual
):
    config = compose(
        [
            *("model=mlp", "norm=none", "data=gaussian", f"model.activation={activation}"),
            *("model.init=lecun_normal", f"model.init_gain={weights**0.5}", "model.width=64"),
            *(
                f"model.bias_std={biases**0.5}",
                f"model.depth={depth}",
                f"model.residual={residual}",
            ),
        ]
    )
    assert weight_variance(config) == pytest.approx(weights)
    net = {
        "activation": activation,
        "weight_variance": weights,
        "bias_variance": biases,
        "input_variance": 1.0,
        "input_bias": 1.0,
        "depth": depth,
        "residual": residual,
    }
    found = open_page(theory_page).execute_script("return predictedProfile(arguments[0])", net)
    factors = predict(config).factors
    assert len(found) == depth - 1
    ratios = [one / other for one, other in itertools.pairwise(found)]
    assert ratios == pytest.approx(factors.tolist(), rel=2e-5)
    assert found[-1] == 1


@needs_browser
def test_the_predicted_gradient_moves_beside_the_measured_one(theory_page, open_page):
    browser = open_page(theory_page)
    section = browser.find_element("css selector", "#mean-field")

    def drawn(mark):
        paths = section.find_elements("css selector", f"svg.marks .mark-{mark} path")
        return [path.get_attribute("d") or path.get_attribute("transform") for path in paths]

    def rows(name):
        return browser.execute_script(f"return views['mean-field'].data('{name}')")

    def drag(name, value):
        browser.execute_script(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
            section.find_element("css selector", f"[name={name}]"),
            value,
        )

    told = section.find_element("css selector", ".told")
    nets = [option.text for option in section.find_elements("css selector", "[name=net] option")]
    assert len(nets) == 2  # LayerNorm's gradient theory does not know
    at_first, told_first = drawn("line"), told.text
    assert "the critical phase" in told_first  # He's initialization of a ReLU
    assert [row["value"] for row in rows("measured")] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert [row["value"] for row in rows("predicted")] == pytest.approx([1] * 4)
    drag("weight_variance", 1)
    wait_for(lambda: drawn("line") != at_first)
    assert [row["value"] for row in rows("predicted")] == pytest.approx([8**-0.5, 0.5, 2**-0.5, 1])
    assert "ordered phase" in told.text
    drag("weight_variance", 4)
    assert "√χ₁ = 1.41: the chaotic phase" in told.text
    drag("depth", 40)
    wait_for(lambda: len(rows("predicted")) == 39)
    assert "the gradient explodes" in told.text
    assert len(drawn("symbol")) == 4  # what was measured stays
    skips = section.find_element("css selector", "[name=residual]")
    assert not skips.is_enabled()  # of a ReLU with skips theory says nothing
    drag("activation", "tanh")
    assert skips.is_enabled()
    before = drawn("line")
    skips.click()
    wait_for(lambda: drawn("line") != before)
    assert "phase" not in told.text
    section.find_element("css selector", "button").click()
    wait_for(lambda: drawn("line") == at_first)
    assert told.text == told_first
    assert browser.get_log("browser") == []
