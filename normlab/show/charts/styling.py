"""The title and looks of a whole chart."""

from typing import Any

import altair as alt
from pandas import DataFrame


def styled(chart: Any, title: str, subtitle: str | list[str]) -> Any:
    """The chart under its title, in normlab's fonts and colours."""
    heading = alt.Title(title, subtitle=subtitle) if subtitle else alt.Title(title)
    return (
        chart.properties(title=heading)
        .configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_title(anchor="start", fontSize=14, subtitleFontSize=11, subtitleColor="#555")
        .configure_axis(labelFontSize=11, titleFontSize=12, gridColor="#e6e6e6")
        .configure_legend(labelFontSize=11, titleFontSize=12, orient="right")
        .configure_header(labelFontSize=12, labelFontWeight="bold")
        .configure_view(stroke="#bbb")
    )


def seeds_note(table: DataFrame, *, log: bool) -> str:
    """What a line and its band are, with the number of seeds where all lines agree in it."""
    most = int(table["n"].max())
    if most <= 1:
        return "one run a line"
    seeds = f"{most} seeds" if (table["n"] == most).all() else f"up to {most} seeds"
    return f"{'geometric ' if log else ''}mean of {seeds}, with the least and the greatest"
