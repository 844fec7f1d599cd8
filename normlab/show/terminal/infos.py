"""Versions, devices and places."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from normlab.show.terminal.plain_tables import facts_table


def info_table(facts: Mapping[str, Any]) -> Table:
    """Facts as two columns.

    A list is one line; a mapping is a line for each of its keys, such as data=mnist, of whose
    values None is a data set that is not here, and a mapping a plugin.
    """
    table = facts_table()
    absent = Text("not here yet; downloaded when first used", style="dim")
    for name, value in facts.items():
        if isinstance(value, Mapping):
            for key, place in value.items():
                if isinstance(place, Mapping):
                    table.add_row(f"plugin {key}", plugin_text(place))
                else:
                    table.add_row(f"{name}={key}", Text(place) if place else absent)
        else:
            table.add_row(name, Text(", ".join(value) if isinstance(value, list) else str(value)))
    return table


def plugin_text(facts: Mapping[str, Any]) -> Text:
    """A plugin's parts and where it lies, or why it could not be loaded."""
    if "error" in facts:
        return Text(f"left out: {facts['error']}")
    parts = ", ".join(facts["parts"]) or "only YAML"
    version = f"version {facts['version']}, " if facts["version"] else ""
    return Text(f"{parts}\n{version}source {facts['sha256']}, {facts['place']}")
