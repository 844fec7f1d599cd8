"""md: tables for GitHub."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.show.formats.registry import TableFormat

if TYPE_CHECKING:
    from normlab.claims import Verdict
    from normlab.show.comparisons.comparing import Comparison, PairedComparison
    from normlab.show.comparisons.layout import ComparisonLayout


def to_markdown(layout: "ComparisonLayout", notes: Sequence[str] = ()) -> str:
    """A comparison as a GitHub Markdown table, its notes as a paragraph below."""
    keys = layout.heads
    lines = [_row([*keys, *layout.columns])]
    lines.append(f"|{'---|' * len(keys)}{'---:|' * len(layout.columns)}")
    for line in layout.lines:
        cells = [
            f"**{cell.text}**" if cell.best else _escaped_stars(cell.text) for cell in line.cells
        ]
        lines.append(_row([*layout.names(line), *cells]))
    return "\n".join([*lines, *_paragraph(notes)])


def _paragraph(notes: Sequence[str]) -> list[str]:
    """Notes as sentences below a table."""
    return ["", ".\n".join(map(_escaped_stars, notes)) + "."] if notes else []


def to_paired_markdown(compared: "PairedComparison") -> str:
    """Differences from a baseline as a GitHub Markdown table, its notes as a paragraph below."""
    from normlab.analysis import short_names
    from normlab.show.comparisons.pairs import HEADS, pair_lines, pair_notes

    lines = [_row([*short_names(compared.keys), *HEADS])]
    lines.append(f"|{'---|' * (len(compared.keys) + 1)}{'---:|' * (len(HEADS) - 1)}")
    for line in pair_lines(compared.pairs, compared.keys):
        difference = f"**{line.difference}**" if line.differs else line.difference
        lines.append(_row([*line.keys, line.metric, difference, line.interval, line.n, line.p]))
    return "\n".join([*lines, *_paragraph([*pair_notes(compared.pairs), *compared.notes])])


def to_verdict_markdown(verdicts: "Sequence[Verdict]") -> str:
    """A Markdown table of verdicts, a row a figure."""
    from normlab.show.terminal.claim_figures import gate_text, spread_text, value_text

    lines = ["| claim | measured | figure | spread | gate | n | verdict |", "|---" * 7 + "|"]
    for verdict in verdicts:
        rows = [
            [part.measure.name, value_text(part), spread_text(part), gate_text(part.measure),
             str(part.n)]
            for part in verdict.measured
        ] or [[verdict.reason, "", "", "", ""]]  # fmt: skip
        for index, row in enumerate(rows):
            first = index == 0
            claim = f"{verdict.claim.id} {verdict.claim.title}" if first else ""
            lines.append(_row([claim, *row, f"**{verdict.verdict}**" if first else ""]))
    return "\n".join(lines)


def _comparison(compared: "Comparison") -> str:
    return to_markdown(compared.layout, compared.explanations())


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def _escaped_stars(text: str) -> str:
    return text.replace("*", r"\*")


MARKDOWN = TableFormat(_comparison, to_paired_markdown, to_verdict_markdown)
