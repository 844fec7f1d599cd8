"""Claims and their verdicts as a person reads them: lists, reports, Markdown, JSON."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
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
    Claim,
    Measure,
    Measured,
    Protocol,
    Scale,
    Verdict,
    as_rows,
)
from normlab.runs import to_json
from normlab.show.terminal.tables import duration, number

STYLES = {
    PASS: "green",
    FAIL: "red",
    CONFOUNDED: "magenta",
    REPORTED: "cyan",
    INCOMPLETE: "yellow",
}


def claims_table(
    claims: Sequence[Claim], scale: Scale, last: Mapping[str, Mapping[str, Any]]
) -> Group:
    """Every claim with its source, its time at a scale, and its last verdict on this machine."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("claim", overflow="fold", ratio=3)
    table.add_column("source", overflow="fold", ratio=2, style="dim")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("last verdict", no_wrap=True)
    for claim in claims:
        protocol = claim.small if scale == "small" else claim.paper
        verdict = last.get(claim.id, {}).get("verdict")
        table.add_row(
            claim.id,
            claim.title,
            claim.source,
            time_of(protocol) if protocol else "–",
            Text(verdict or "–", style=STYLES.get(verdict or "", "dim")),
        )
    return Group(
        table,
        Text(),
        Text(
            "normlab verify C14 puts a claim to the test, --all every one; normlab claims C14 "
            "explains it. Time: on 2 CPU cores; C14 to C17 share their runs.",
            style="dim",
        ),
    )


def time_of(protocol: Protocol) -> str:
    """A protocol's time on 2 CPU cores in a word or two."""
    return "a GPU's" if math.isnan(protocol.seconds) else duration(protocol.seconds)


def claim_page(claim: Claim, last: Mapping[str, Any] | None) -> Group:
    """A claim explained: what is compared, how, which trap it avoids, and how to repeat an arm."""
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("claim", claim.statement)
    facts.add_row("source", claim.source)
    if claim.found:
        facts.add_row("found there", claim.found)
    facts.add_row("compared", claim.compares)
    if claim.trap:
        facts.add_row("trap", claim.trap)
    for name, protocol in (("small", claim.small), ("paper", claim.paper)):
        if protocol is None:
            continue
        known = (
            "" if math.isnan(protocol.seconds) else f" ({duration(protocol.seconds)} on 2 cores)"
        )
        facts.add_row(f"{name} scale", f"{protocol.about}{known}")
        facts.add_row("gate", _gates(protocol))
    if claim.pilot:
        facts.add_row("pilot", claim.pilot)
    facts.add_row("command", Text(f"normlab verify {claim.file or claim.id}"))
    if claim.arm:
        facts.add_row("one arm", Text(claim.arm))
    if last:
        verdict = last["verdict"]
        facts.add_row(
            "last verdict",
            Text(verdict, style=STYLES.get(verdict, "")).append(f", {last['judged'][:10]}"),
        )
    return Group(Text(f"{claim.id}  {claim.title}", style="bold"), Text(), facts)


def _gates(protocol: Protocol) -> RenderableType:
    lines = [
        f"{measure.name}: {gate_text(measure)}" for measure in protocol.measures if measure.gate
    ]
    return Text("\n".join(lines) or "none: reported without a verdict")


def verdict_report(verdict: Verdict) -> Group:
    """What a claim says, what its source found, what was measured, and the verdict."""
    claim, protocol = verdict.claim, verdict.claim.protocol(verdict.scale)
    head = Text().append(f"{claim.id}  ", style="bold")
    head.append(verdict.verdict, style=f"bold {STYLES[verdict.verdict]}")
    head.append(f"  {claim.title}", style="bold")
    lines: list[RenderableType] = [Text(claim.statement)]
    if claim.found:
        lines.append(Text(f"{claim.source}: {claim.found}", style="dim"))
    lines.append(Text(protocol.about, style="dim"))
    if verdict.reason:
        lines.append(Text(verdict.reason, style=STYLES[verdict.verdict]))
    if verdict.measured:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", no_wrap=True)
        table.add_column("measured", overflow="fold")
        for name in ("", "spread", "gate"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("n", justify="right", no_wrap=True)
        for part in verdict.measured:
            table.add_row(
                _mark(part),
                part.measure.name,
                value_text(part),
                spread_text(part),
                gate_text(part.measure),
                str(part.n),
            )
        lines.append(table)
    return Group(head, Padding(Group(*lines), (0, 0, 1, 5)))


def _mark(part: Measured) -> Text:
    if part.measure.gate is None:
        return Text("·", style="dim")
    bad = CONFOUNDED if part.measure.confounds else FAIL
    return Text("✓", style=STYLES[PASS]) if part.holds else Text("✗", style=STYLES[bad])


def summary_line(verdicts: Sequence[Verdict]) -> str:
    """`20 claims: 17 PASS, 1 FAIL, 2 REPORTED`."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    parts = [f"{counts[name]} {name}" for name in STYLES if counts[name]]
    return f"{len(verdicts)} claim{'s' if len(verdicts) != 1 else ''}: {', '.join(parts)}"


def to_verdict_json(verdicts: Sequence[Verdict]) -> str:
    """A JSON list of verdicts; an open end of a gate and a figure that is not finite are null."""
    return json.dumps(
        [json.loads(to_json(row)) for row in as_rows(verdicts)], indent=2, ensure_ascii=False
    )


def to_verdict_markdown(verdicts: Sequence[Verdict]) -> str:
    """A Markdown table, a row a figure."""
    lines = ["| claim | measured | figure | spread | gate | n | verdict |", "|---" * 7 + "|"]
    for verdict in verdicts:
        head = f"{verdict.claim.id} {verdict.claim.title}"
        for part in verdict.measured or (None,):
            cells = (
                [verdict.reason, "", "", "", ""]
                if part is None
                else [
                    part.measure.name,
                    value_text(part),
                    spread_text(part),
                    gate_text(part.measure),
                    str(part.n),
                ]
            )
            first = part is None or part is verdict.measured[0]
            row = [head if first else "", *cells, f"**{verdict.verdict}**" if first else ""]
            cells = [cell.replace("|", r"\|") for cell in row]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# --------------------------------------------------------------------------------- figures


def value_text(part: Measured) -> str:
    """A figure as its measure's form has it."""
    if part.measure.form == "count":
        return f"{round(part.value * part.n)} of {part.n}"
    return _figure(part.measure, part.value)


def spread_text(part: Measured) -> str:
    """The spread over the seeds: an interval of a mean, percentiles of a median, or all values."""
    if part.measure.form == "count" or math.isnan(part.low):
        return "–" if math.isinf(part.value) else ""
    if part.low == part.high == part.value:
        return "all alike"
    return f"{_bare(part.measure, part.low)} … {_bare(part.measure, part.high)}"


def gate_text(measure: Measure) -> str:
    """A gate in words: `≤ 1e-8`, `4 … 6`, `= 0`, `> 5 pp`, `all`."""
    if measure.gate is None:
        return ""
    low, high = measure.gate
    if measure.form == "count":
        return "all"
    if low == high:
        return f"= {_exact(measure, low)}"
    if -1e-9 < high < 0:
        return "< 0"
    if low == -math.inf:
        return f"≤ {_unit(measure, _exact(measure, high))}"
    if high == math.inf:
        return f"≥ {_unit(measure, _exact(measure, low))}"
    return f"{_exact(measure, low)} … {_exact(measure, high)}"


def _figure(measure: Measure, value: float) -> str:
    return _unit(measure, _bare(measure, value))


def _unit(measure: Measure, text: str) -> str:
    return {"points": f"{text} pp", "times": f"×{text}"}.get(measure.form, text)


def _bare(measure: Measure, value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{100 * value:.2f}" if measure.form == "points" else number(value)


def _exact(measure: Measure, value: float) -> str:
    """A gate's bound, without the zeros that a measured figure has."""
    text = _bare(measure, value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
