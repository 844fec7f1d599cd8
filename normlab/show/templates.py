"""HTML from jinja2 templates that lie in this package, escaped by default."""

import functools
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, **values: Any) -> str:
    """The text of a template, named by its path in this package; every value in it is escaped."""
    return _environment().get_template(template).render(**values)


def packaged_file(name: str) -> Markup:
    """A style or script of this package, as it is."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))  # our own file


def script_json(value: Any) -> Markup:
    """JSON that a <script> can hold: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)  # nothing is left in it that HTML could read


@functools.cache  # it takes a second
def vega_script() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return Markup(script.replace("</script", "<\\/script"))  # no data of ours
