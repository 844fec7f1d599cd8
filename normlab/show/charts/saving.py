"""Charts to files: one specification gives PNG, SVG, PDF and interactive HTML."""

from pathlib import Path
from typing import Any

import altair as alt

from normlab.errors import ConfigError
from normlab.runs import write_whole
from normlab.show.charts.marks import HOVER
from normlab.show.templates import render, script_json, vega_script

FORMATS = ("png", "svg", "pdf", "html")


def check_format(file: Path) -> str:
    """The form that a file's suffix names; raises ConfigError for one that charts have not."""
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise ConfigError(
            f"{file}: cannot write {file.suffix or 'a file without a suffix'}; "
            f"choices: {', '.join('.' + name for name in FORMATS)}"
        )
    return form


def save(chart: Any, file: Path) -> None:
    """Write a chart whole, in the form that the file's suffix says; raises ConfigError for another.

    HTML holds all it needs and opens from disk without a network.
    """
    form = check_format(file)
    if form == "html":
        specs = script_json({"picture": chart.to_dict()})
        page = render("charts/picture.html.j2", specs=specs, vega=vega_script())
        write_whole(file, lambda path: path.write_text(page, encoding="utf-8"))
    else:
        content = _rendered(_without_hover(chart.to_dict()), form)
        write_whole(file, lambda path: path.write_bytes(content))


def _rendered(spec: dict[str, Any], form: str) -> bytes:
    import vl_convert

    # Altair's own save would check the specification twice more, a second for a large picture.
    version = alt.SCHEMA_VERSION.rpartition(".")[0]
    if form == "png":
        png: bytes = vl_convert.vegalite_to_png(spec, version, scale=2.0)
        return png
    if form == "pdf":
        pdf: bytes = vl_convert.vegalite_to_pdf(spec, version)
        return pdf
    svg: str = vl_convert.vegalite_to_svg(spec, version)
    return svg.encode()


def _without_hover(spec: Any) -> Any:
    """A specification without the points that are for the pointer only."""
    if isinstance(spec, dict):
        return {key: _without_hover(value) for key, value in spec.items()}
    if isinstance(spec, list):
        kept = [v for v in spec if not (isinstance(v, dict) and v.get("name") == HOVER)]
        return [_without_hover(value) for value in kept]
    return spec
