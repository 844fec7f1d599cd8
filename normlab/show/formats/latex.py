"""latex: tables for a paper."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.show.formats.registry import TableFormat
from normlab.text import capitalized
from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from normlab.show.comparisons.comparing import PairedComparison
    from normlab.show.comparisons.layout import ComparisonLayout

_SIGNS = {
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
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "×÷": r"$\times\!\div$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "--": "-{}-",  # of an option's name
    "∅": r"$\emptyset$",
    "†": r"\textdagger{}",
    "…": r"\dots{}",
    "–": "--",
}
_TO_WRITE = re.compile(
    "|".join(
        (
            r"(?P<power>(?<![\w.])(?P<mantissa>[+-]?\d+(?:\.\d+)?)e(?P<exponent>[+-]?\d+)(?!\w))",
            r"(?P<minus>(?<![\w-])-(?=\d))",
            r"(?P<spread>(?:±|×÷)(?=[\d>]))",
            # Longer signs first, so that ×÷ is not taken for ×.
            f"(?P<sign>{'|'.join(map(re.escape, sorted(_SIGNS, key=len, reverse=True)))})",
        )
    )
)


def to_latex(
    layout: "ComparisonLayout", notes: Sequence[str] = (), caption: str | None = None
) -> str:
    """A comparison as a LaTeX table for the booktabs package; its notes go into the caption.

    Numbers that are written with an exponent become powers of ten.
    """
    keys = layout.heads
    lines = []
    for index, line in enumerate(layout.lines):
        if index and line.starts and layout.several:
            lines.append(r"\addlinespace")
        names = layout.names(line)
        shown = names if line.starts else ("",) * len(line.keys) + names[len(line.keys) :]
        cells = [_bold(cell.text) if cell.best else _written(cell.text) for cell in line.cells]
        lines.append(_row([*map(_written, shown), *cells]))
    return _table(
        (*keys, *layout.columns),
        "l" * len(keys) + "r" * len(layout.columns),
        lines,
        [caption or _about(layout), *notes],
    )


def to_paired_latex(compared: "PairedComparison", caption: str | None = None) -> str:
    """Differences from a baseline as a LaTeX table for the booktabs package."""
    from normlab.analysis import short_names
    from normlab.show.comparisons.pairs import HEADS, pair_lines, pair_notes

    names = short_names(compared.keys)
    lines = [
        _row(
            [
                *map(_written, (*line.keys, line.metric)),
                _bold(line.difference) if line.differs else _written(line.difference),
                *map(_written, (line.interval, line.n, line.p)),
            ]
        )
        for line in pair_lines(compared.pairs, compared.keys)
    ]
    about = caption or f"Paired differences by {', '.join(names)}"
    return _table(
        (*names, *HEADS),
        "l" * (len(names) + 1) + "r" * (len(HEADS) - 1),
        lines,
        [about, *pair_notes(compared.pairs), *compared.notes],
    )


def _table(
    heads: Sequence[str], alignment: str, lines: Sequence[str], sentences: Sequence[str]
) -> str:
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_sentences(sentences)}}}",
            r"\label{tab:comparison}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _row([_written(head) for head in heads]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _about(layout: "ComparisonLayout") -> str:
    """What a table shows, in words: its metrics by its keys."""
    shown = dict.fromkeys(line.metric for line in layout.lines)
    labels = [metric.label for metric in shown if metric.name in METRICS]
    heads = [head.rpartition(" ")[0] for head in layout.columns if " " in head]
    keys = dict.fromkeys((*layout.rows, *heads))
    return f"{', '.join(labels)} by {', '.join(keys)}"


def _sentences(texts: Sequence[str]) -> str:
    """Texts with a full stop each, in one line; a word at their beginning gets a capital."""
    sentences = []
    for text in texts:
        words = text.replace("  ", ", ").rstrip(".")
        sentences.append(capitalized(words) if re.match(r"[a-z]{2}", words) else words)
    return " ".join(f"{_written(sentence)}." for sentence in sentences)


def _bold(text: str) -> str:
    return rf"\textbf{{\boldmath {_written(text)}}}"


def _row(texts: Sequence[str]) -> str:
    r"""A line of a table; \\ before it would take a bracket for a length."""
    first, *others = texts
    first = f"{{{first[0]}}}{first[1:]}" if first.startswith(("[", "*")) else first
    return " & ".join([first, *others]) + r" \\"


def _written(text: str) -> str:
    """A text as LaTeX has it."""
    return _TO_WRITE.sub(_replaced, text)


def _replaced(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "power":
            return rf"${found['mantissa']} \times 10^{{{int(found['exponent'])}}}$"
        case "minus":
            return "$-$"
        case "spread":
            return f"{_SIGNS[found[0]]} "
    return _SIGNS[found[0]]


LATEX = TableFormat(
    comparison=lambda compared: to_latex(
        compared.layout, compared.explanations(), compared.options.caption
    ),
    pairs=lambda compared: to_paired_latex(compared, compared.options.caption),
    captioned=True,
)
