"""How often a diagnosis was right: the confusion matrix, the counts, and what it missed."""

import shlex
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.runs import Outcome
from normlab.show.terminal.plain_tables import facts_table
from normlab.text import percent, plural
from normlab.vocabulary import CAUSES

if TYPE_CHECKING:
    from normlab.bench import Confusion, DiagnosisBench, JudgedCase, Share


@dataclass(frozen=True)
class CasesSoFar:
    """The runs of cases while they are made: each by the number of its case."""

    names: Mapping[str, str]

    def ended(self, outcome: Outcome) -> None:
        """A run has ended: nothing is judged before the last."""

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> None:
        """Nothing is to be seen beside the jobs."""


_NOTHING, _ONLY_SAID = "·", "–"
_LETTERS = string.ascii_lowercase + string.ascii_uppercase


def diagnosis_bench(found: "DiagnosisBench", *, tries: bool) -> Group:
    """The matrix, the counts, the time, and each miss in a line."""
    return Group(
        *_matrix(found.confusion, _peer_columns(found)),
        Text(),
        *_counts(found, tries=tries),
        *_misses(found.judged),
        *(_short_tries(found.judged) if tries else ()),
    )


# -------------------------------------------------------------------------------- matrix


def _peer_columns(found: "DiagnosisBench") -> dict[str, "Confusion"]:
    from normlab.bench import confusion

    return {name: confusion(found.of_peer(name)) for name in found.peers}


def _matrix(matrix: "Confusion", peers: dict[str, "Confusion"]) -> Iterator[Text]:
    """A row a labelled cause, a column a cause that was said, which the row's letter names."""
    letters = dict(zip(matrix.causes, _LETTERS, strict=False))
    names = max(len(name) for name in (*matrix.causes, "labelled"))
    digits = max((len(str(count)) for count in matrix.counts.values()), default=1)
    heads = {"named": matrix, **peers}
    line = f"{'labelled':<{names + 2}}  "
    line += " ".join(f"{letters[said]:>{digits}}" for said in matrix.causes)
    line += "".join(f"  {head:>5}" for head in heads)
    yield Text(line, style="bold", no_wrap=True)
    yield Text("─" * len(line), no_wrap=True, overflow="crop")
    for cause in matrix.causes:
        row = Text(f"{letters[cause]} {cause:<{names}} ", no_wrap=True)
        for said in matrix.causes:
            count = matrix.counts.get((cause, said))
            shown = _NOTHING if count is None else str(count)
            row.append(f" {shown:>{digits}}", style=_cell_style(cause, said, count))
        for head, counted in heads.items():
            share = counted.named.get(cause)
            told = f"{share.part}/{share.of}" if share else _ONLY_SAID
            row.append(f"  {told:>{max(5, len(head))}}")
        yield row
    statuses = [name for name in matrix.causes if name not in CAUSES]
    yield Text("columns: what was said, by the letter of its row", style="dim")
    if len(matrix.named) < len(matrix.causes):
        yield Text(f"{_ONLY_SAID} was only said: no case is labelled so", style="dim")
    if statuses:
        yield Text(f"{', '.join(statuses)}: runs without a cause", style="dim")


def _cell_style(cause: str, said: str, count: int | None) -> str:
    if count is None:
        return "dim"
    return "green" if cause == said else "red"


# -------------------------------------------------------------------------------- counts


def _counts(found: "DiagnosisBench", *, tries: bool) -> Iterator[RenderableType]:
    counted = found.tally
    facts = facts_table()
    facts.add_row("cause named", f"in {_share(counted.named)} that fail")
    facts.add_row("", f"{_share(counted.sound_given_cause)} sound trainings given a cause")
    if tries:
        unfixed = sum(not each.case.healthy and each.case.fixed is None for each in found.judged)
        without = f"; {plural(unfixed, 'case')} without fix" if unfixed else ""
        facts.add_row(
            "first try",
            f"recovers 90% of what the fix brings in {_share(counted.recovers)}{without}",
        )
        facts.add_row("", f"loses five points or more in {_share(counted.harms)}")
    for name in found.peers:
        from normlab.bench import tally

        theirs = tally(found.of_peer(name))
        anywhere = sum(_among_warnings(each, name) for each in found.judged)
        facts.add_row(
            name,
            f"names the cause in {_share(theirs.named)} by its weightiest warning, "
            f"in {anywhere} by any",
        )
        facts.add_row("", f"{_share(theirs.sound_given_cause)} sound trainings given a cause")
    facts.add_row(
        "time",
        f"{found.given_seconds:.1f} s of training as given, {found.seconds:.1f} s of all "
        f"{plural(found.runs, 'run')}",
    )
    yield facts


def _among_warnings(judged: "JudgedCase", name: str) -> bool:
    causes = {judged.case.cause, *judged.case.also}
    return not judged.case.healthy and bool(causes & set(judged.peers[name]))


def _share(share: "Share") -> str:
    told = "" if share.share is None else f" ({percent(share.share)})"
    return f"{share.part} of {share.of}{told}"


# -------------------------------------------------------------------------------- misses


def _misses(judged: "Sequence[JudgedCase]") -> Iterator[Text]:
    missed = [each for each in judged if not each.named]
    if missed:
        yield Text()
        yield Text("Missed", style="bold")
    for each in missed:
        labelled = " or ".join([each.case.cause, *each.case.also])
        words = shlex.join(each.case.words)
        yield _line(f"case {each.case.number}: said {each.said}, labelled {labelled}: {words}")


def _short_tries(judged: "Sequence[JudgedCase]") -> Iterator[Text]:
    short = [each for each in judged if each.recovers is False or each.harms]
    if short:
        yield Text()
        yield Text("First advice that falls short: given, with it, with the fix", style="bold")
    for each in short:
        advice = each.advice[0] if each.advice else "none"
        figures = ", ".join(map(_figure, (each.given, each.tried, each.fixed)))
        yield _line(f"case {each.case.number}: {each.case.cause}: {advice}: {figures}")


def _line(text: str) -> Text:
    """A case in one line, whose end is left out where there is no room: its number finds it."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
