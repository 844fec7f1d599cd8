"""The marks of variants: a line each, a band over its seeds, and a legend that picks some."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
from pandas import DataFrame

from normlab.show.charts.domains import chance_values
from normlab.show.charts.variants import looks
from normlab.vocabulary import Metric

if TYPE_CHECKING:
    from normlab.show.pictures.drawing import Subject

# The name of points that cannot be seen but by the pointer; what is printed has none of them.
HOVER = "hover"
LABEL_PIXELS = 440  # of a legend: a variant's name with three settings


@dataclass(frozen=True)
class VariantMarks:
    """How variants are drawn: their colours, dashes and shapes, and the legend's selection."""

    color: Any
    dash: Any
    shape: Any
    picked: Any  # the parameter that a chart has to get

    def band(self, base: Any, low: Any) -> Any:
        """An area from `low`, an encoding of y, to the column high."""
        return base.mark_area().encode(y=low, y2="high:Q", opacity=self.opacity(0.18, 0.02))

    def line(self, base: Any, y: Any, width: float = 1.6) -> Any:
        """A line, dashed for a variant with skips."""
        marks = base.mark_line(strokeWidth=width)
        return marks.encode(y=y, strokeDash=self.dash, opacity=self.opacity())

    def hover(self, base: Any, y: Any, tooltip: list[Any]) -> Any:
        """Points that cannot be seen but by the pointer."""
        points = base.mark_point(size=28, filled=True)
        points = points.encode(y=y, opacity=self.opacity(0.01, 0), tooltip=tooltip)
        return points.properties(name=HOVER)

    def opacity(self, picked: float = 1, other: float = 0.08) -> Any:
        """The opacity of variants that the legend has picked, and that of the others."""
        return alt.when(self.picked).then(alt.value(picked)).otherwise(alt.value(other))


def variant_marks(table: DataFrame, subject: "Subject") -> VariantMarks:
    """The marks of a table's variants."""
    names = list(dict.fromkeys(table["variant"]))
    found = list(looks(subject.sharing, names).values())

    def scale(values: list[Any]) -> Any:
        return alt.Scale(domain=names, range=values)

    return VariantMarks(
        alt.Color(
            "variant:N",
            title="variant",
            scale=scale([look.colour for look in found]),
            legend=alt.Legend(
                symbolType="stroke", symbolSize=300, symbolOpacity=1, labelLimit=LABEL_PIXELS
            ),
        ),
        alt.StrokeDash(
            "variant:N", title="variant", scale=scale([list(look.dash) for look in found])
        ),
        alt.Shape("variant:N", title="variant", scale=scale([look.shape for look in found])),
        alt.selection_point(name="variants", fields=["variant"], bind="legend"),
    )


def chance_line(table: DataFrame, runs: DataFrame, metric: Metric) -> list[Any]:
    """A dotted line at each of the chance values.

    Its word stands outside of what is learned: below an accuracy, above an error.
    """
    error = metric.better == "lower"
    layers: list[Any] = []
    for value in chance_values(runs, metric):
        once = alt.Chart(table).transform_aggregate(rows="count()")  # else it is drawn for each row
        layers += [
            once.mark_rule(strokeDash=[2, 3], color="#777", clip=True).encode(y=alt.datum(value)),
            once.mark_text(
                align="right", baseline="bottom" if error else "top", dx=-3, fontSize=10,
                color="#777",
            ).encode(y=alt.datum(value), x=alt.value("width"), text=alt.value("chance")),
        ]  # fmt: skip
    return layers


def tooltip(place: str, title: str) -> list[Any]:
    """What the pointer shows of a variant's value at a place, a column such as layer."""
    return [
        alt.Tooltip("variant:N"),
        alt.Tooltip("depth:Q"),
        *([] if place == "depth" else [alt.Tooltip(place)]),
        alt.Tooltip("value:Q", title=title, format=".3g"),
        alt.Tooltip("low:Q", title="least seed", format=".3g"),
        alt.Tooltip("high:Q", title="greatest seed", format=".3g"),
        alt.Tooltip("n:Q", title="runs"),
    ]
