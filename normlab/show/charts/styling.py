"""The title and looks of a whole chart."""

from typing import TYPE_CHECKING, Any

from normlab.show.charts.captions import about

if TYPE_CHECKING:
    from normlab.show.pictures.drawing import Subject


def styled(chart: Any, subject: "Subject", title: str, *notes: str) -> Any:
    """The chart under its title, in normlab's fonts and colours.

    Below the title stand what the runs are and, in a line each, the notes.
    """
    import altair as alt

    lines = [line for line in (about(subject.runs), *notes) if line]
    return in_style(chart.properties(title=alt.Title(subject.title or title, subtitle=lines)))


def in_style(chart: Any) -> Any:
    """The chart in normlab's fonts and colours."""
    return (
        chart.configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_title(
            anchor="start", fontSize=14, subtitleFontSize=11, subtitleColor="#555", offset=12
        )
        .configure_axis(labelFontSize=11, titleFontSize=12, gridColor="#e6e6e6")
        .configure_legend(labelFontSize=11, titleFontSize=12, orient="right")
        .configure_header(labelFontSize=12, labelFontWeight="bold")
        .configure_view(stroke="#bbb")
    )
