"""Verdicts on claims as a person reads them."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from normlab.claims import (
    CONFOUNDED,
    FAIL,
    INCOMPLETE,
    PASS,
    REPORTED,
    Measured,
    Verdict,
)
from normlab.show.comparisons.origins import unlike_runs
from normlab.show.terminal.claim_figures import gate_text, spread_text, value_text
from normlab.text import plural

STYLES = {
    PASS: "green",
    FAIL: "red",
    CONFOUNDED: "magenta",
    REPORTED: "cyan",
    INCOMPLETE: "yellow",
}


def verdict_report(verdict: Verdict) -> Group:
    """What a claim says, what its source found, what was measured, and the verdict."""
    claim, protocol = verdict.claim, verdict.claim.protocol(verdict.scale)
    style = STYLES[verdict.verdict]
    head = Text().append(f"{claim.id}  ", style="bold")
    head.append(verdict.verdict, style=f"bold {style}")
    head.append(f"  {claim.title}", style="bold")
    lines: list[RenderableType] = [Text(claim.statement)]
    if claim.found:
        lines.append(Text(f"{claim.source} – {claim.found}", style="dim"))
    lines.append(Text(protocol.about, style="dim"))
    if verdict.reason:
        lines.append(Text(verdict.reason, style=style))
    if verdict.measured:
        lines.append(_measured_table(verdict.measured))
    if verdict.unlike:
        lines.append(Text(unlike_runs(verdict.unlike), style="dim"))
    return Group(head, Padding(Group(*lines), (0, 0, 1, 5)))


def _measured_table(measured: Sequence[Measured]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("measured", overflow="fold")
    for name in ("", "spread", "gate", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in measured:
        table.add_row(
            _holds_mark(part),
            Text(part.measure.name),
            value_text(part),
            spread_text(part),
            gate_text(part.measure),
            str(part.n),
        )
    return table


def _holds_mark(part: Measured) -> Text:
    """Whether a figure lies within its gate, a dot where it has none."""
    if part.measure.gate is None:
        return Text("·", style="dim")
    outside = CONFOUNDED if part.measure.confounds else FAIL
    return Text("✓", style=STYLES[PASS]) if part.holds else Text("✗", style=STYLES[outside])


def summary_line(verdicts: Sequence[Verdict]) -> str:
    """`20 claims: 17 PASS, 1 FAIL, 2 REPORTED`."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    parts = [f"{counts[name]} {name}" for name in STYLES if counts[name]]
    return f"{plural(len(verdicts), 'claim')}: {', '.join(parts)}" if parts else "0 claims judged"
