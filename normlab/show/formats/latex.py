"""latex: tables for a paper."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.show.formats.registry import TableFormat

if TYPE_CHECKING:
    from normlab.show.comparisons.comparing import Comparison
    from normlab.show.comparisons.layout import ComparisonLayout

_ESCAPES = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r" $\pm$ ",
    "÷": r" $\times\!\div$ ",  # stands for ×÷ here
    "·": r"$\cdot$",
    "–": "--",
}


def to_latex(layout: "ComparisonLayout", notes: Sequence[str] = ()) -> str:
    """A comparison as a LaTeX tabular for the booktabs package, its notes as comments below."""
    keys = layout.heads
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(layout.columns)}}}",
        r"\toprule",
        _row([_escaped(head) for head in (*keys, *layout.columns)]),
        r"\midrule",
    ]
    for line in layout.lines:
        cells = [
            rf"\textbf{{{_escaped(cell.text)}}}" if cell.best else _escaped(cell.text)
            for cell in line.cells
        ]
        lines.append(_row([*map(_escaped, layout.names(line)), *cells]))
    comments = [f"% {note}" for note in notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *comments])


def _comparison(compared: "Comparison") -> str:
    return to_latex(compared.layout, compared.explanations())


def _row(texts: Sequence[str]) -> str:
    return f"{' & '.join(texts)} " + r"\\"


def _escaped(text: str) -> str:
    text = text.replace(" ±", "±").replace(" ×÷", "÷")
    return "".join(_ESCAPES.get(character, character) for character in text)


LATEX = TableFormat(_comparison)
