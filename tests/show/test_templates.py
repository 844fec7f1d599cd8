"""What goes into a page is text, unless it is the page's own."""

import json

from markupsafe import Markup

from normlab.show.templates import packaged_file, render, script_json, vega_script


def test_json_cannot_end_its_script() -> None:
    hostile = {"name": "</script><script>alert('&amp;')</script>"}
    text = script_json(hostile)
    assert not set("<>&") & set(text)
    assert json.loads(text) == hostile


def test_a_value_is_escaped_and_the_packages_own_text_is_not() -> None:
    page = render("charts/picture.html.j2", specs="<b>", vega=Markup("a && b"))
    assert "&lt;b&gt;" in page
    assert "a && b" in page


def test_styles_and_scripts_are_files_of_the_package() -> None:
    assert ".picture" in packaged_file("page/style.css")
    assert "</script" not in packaged_file("page/script.js")
    assert "</script" not in vega_script()
