"""Claims as a person reads them: the list, and one explained."""

import math
import shlex
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from normlab.claims import Claim, Protocol, Remembered, Scale
from normlab.show.terminal.claim_figures import gate_text
from normlab.show.terminal.plain_tables import ShellCommand, Unpadded, facts_table
from normlab.show.terminal.verdicts import STYLES
from normlab.text import duration

# Of a verdict that no longer holds.
OUTDATED = "outdated"
WHY_OUTDATED = "runs, gates or normlab have changed since it was judged; verify judges anew"


def claims_table(claims: Sequence[Claim], scale: Scale, last: Mapping[str, Remembered]) -> Group:
    """Every claim with its source, its time at a scale, and its last verdict on this machine."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    table.add_column("claim", overflow="fold", ratio=3)
    table.add_column("source", overflow="fold", ratio=2, style="dim")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("last verdict", no_wrap=True)
    for claim in claims:
        protocol = claim.at(scale)
        verdict = last.get(claim.id)
        table.add_row(
            claim.id,
            Text(claim.title),  # of a person's own claim, which may hold brackets
            Text(claim.source),
            time_of(protocol) if protocol else "–",
            _last_verdict(verdict) if verdict else Text("–", style="dim"),
        )
    words = (
        "normlab verify C14 puts a claim to the test, --all every one; normlab claims C14 "
        "explains it. Time: on 2 CPU cores; C14 to C17 and C27 share their runs."
    )
    if not all(verdict.holds for verdict in last.values()):
        words += f" {OUTDATED}: {WHY_OUTDATED}."
    return Group(table, Text(), Text(words, style="dim"))


def _last_verdict(last: Remembered) -> Text:
    if last.holds:
        return Text(last.verdict, style=STYLES.get(last.verdict, "dim"))
    return Text(OUTDATED, style="dim")


def time_of(protocol: Protocol) -> str:
    """A protocol's time on 2 CPU cores in a word or two."""
    return "a GPU's" if math.isnan(protocol.seconds) else duration(protocol.seconds)


def claim_page(claim: Claim, last: Remembered | None) -> Group:
    """A claim explained: what is compared, how, which trap it avoids, and how to repeat an arm."""
    facts = facts_table()
    facts.add_row("claim", Text(claim.statement))
    facts.add_row("source", Text(claim.source))
    if claim.found:
        facts.add_row("found there", Text(claim.found))
    facts.add_row("compared", Text(claim.compares))
    if claim.trap:
        facts.add_row("trap", Text(claim.trap))
    for name, protocol in (("small", claim.small), ("paper", claim.paper)):
        if protocol is not None:
            seconds = protocol.seconds
            known = f" ({duration(seconds)} on 2 cores)" if not math.isnan(seconds) else ""
            facts.add_row(f"{name} scale", Text(f"{protocol.about}{known}"))
            facts.add_row("gate", _gates(protocol))
    if claim.pilot:
        facts.add_row("pilot", Text(claim.pilot))
    facts.add_row("command", ShellCommand(["normlab", "verify", str(claim.file or claim.id)]))
    if claim.arm:
        facts.add_row("one arm", ShellCommand(shlex.split(claim.arm)))
    if last:
        judged = _last_verdict(last).append(f", {last.judged:%Y-%m-%d}")
        if not last.holds:
            judged.append(f": {WHY_OUTDATED}")
        facts.add_row("last verdict", judged)
    return Group(Text(f"{claim.id}  {claim.title}", style="bold"), Text(), Unpadded(facts))


def _gates(protocol: Protocol) -> Text:
    """The protocol's gates, a line each."""
    lines = [
        f"{measure.name}: {gate_text(measure)}" for measure in protocol.measures if measure.gate
    ]
    return Text("\n".join(lines) or "none: reported without a verdict")
