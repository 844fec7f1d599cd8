"""Charts to files: one specification gives PNG, SVG, PDF and interactive HTML."""

import re
from pathlib import Path
from typing import Any

import altair as alt

from normlab.errors import ConfigError
from normlab.runs import write_whole
from normlab.show.charts.marks import HOVER
from normlab.show.templates import render, script_json, vega_script

FORMATS = ("png", "svg", "pdf", "html")

_LEAST_SIDE = 20  # of a panel
_TRIES = 8


def check_format(file: Path) -> str:
    """The form that a file's suffix names; raises ConfigError for one that charts have not."""
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise ConfigError(
            f"{file}: cannot write {file.suffix or 'a file without a suffix'}; "
            f"choices: {', '.join('.' + name for name in FORMATS)}"
        )
    return form


def save(chart: Any, file: Path, size: tuple[int, int] | None = None) -> None:
    """Write a chart whole, in the form that the file's suffix says; raises ConfigError for another.

    HTML holds all it needs and opens from disk without a network. `size` is the width and height of
    the whole picture in pixels, of which a PNG has two by two for one; raises ConfigError where it
    is too small for title, axes and legend.
    """
    form = check_format(file)
    spec = specification(chart)
    if size:
        _fit(spec, size)
    if form == "html":
        specs = script_json({"picture": spec})
        page = render("charts/picture.html.j2", specs=specs, vega=vega_script())
        write_whole(file, lambda path: path.write_text(page, encoding="utf-8"))
    else:
        content = _rendered(_without_hover(spec), form)
        write_whole(file, lambda path: path.write_bytes(content))


def whole_chart(chart: Any, size: tuple[int, int] | None = None) -> Any:
    """A chart that holds its rows itself, of any number, so wide and high as `save` has it."""
    spec = specification(chart)
    if size:
        _fit(spec, size)
    return type(chart).from_dict(spec, validate=False)


def specification(chart: Any) -> dict[str, Any]:
    """A chart as Vega-Lite; pictures bound their rows themselves, as Altair refuses over 5000."""
    with alt.data_transformers.disable_max_rows():
        spec: dict[str, Any] = chart.to_dict()
    return spec


def _fit(spec: dict[str, Any], size: tuple[int, int]) -> None:
    """Change the size of a chart's panels until the whole of it has a size."""
    panel = spec.get("spec", spec)
    for _ in range(_TRIES):
        whole = _size_of(spec)
        if all(abs(has - wanted) <= 1 for has, wanted in zip(whole, size, strict=True)):
            return
        for side, has, wanted in zip(("width", "height"), whole, size, strict=True):
            # The room around the panels stays as it is, so that a step or two is enough; a panel
            # that stands beside others takes its part of what is missing.
            change = (wanted - has) / _in_a_row(spec, side)
            panel[side] = max(_LEAST_SIDE, panel[side] + change)
    raise ConfigError(
        f"--size {size[0]}x{size[1]}: does not fit this picture, which was "
        f"{whole[0]:.0f}x{whole[1]:.0f} at the nearest; name another size"
    )


def _in_a_row(spec: dict[str, Any], side: str) -> int:
    """How many panels stand beside each other along a side."""
    facet = spec.get("facet", {})
    if "field" in facet:  # panels that are wrapped into rows
        count, columns = len(facet["sort"]), int(spec["columns"])
        return columns if side == "width" else -(-count // columns)
    along = facet.get("column" if side == "width" else "row", {"sort": [None]})
    values: list[Any] = along["sort"]
    return len(values)


def _size_of(spec: dict[str, Any]) -> tuple[float, float]:
    svg = _rendered(_without_hover(spec), "svg").decode()
    found = re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', svg)
    if found is None:
        raise ValueError("the picture has no size")
    return float(found[1]), float(found[2])


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
