"""Claims while their runs are made: judged or waiting."""

from collections.abc import Callable, Collection, Mapping

from rich.console import RenderableType
from rich.text import Text

from normlab.runs import Outcome
from normlab.show.terminal.plain_tables import flowing
from normlab.show.terminal.verdicts import STYLES


class ClaimsSoFar:
    """Of each claim its verdict, or of how many runs it waits; judged when its last run ends."""

    names: Mapping[str, str] = {}  # its runs have those of their experiments

    def __init__(self, runs: Mapping[str, Collection[str]], judge: Callable[[str], str]):
        """`runs` are those that each claim needs made; `judge` gives a claim's verdict in a word,
        and is free to print."""
        self._runs = {claim: set(ids) for claim, ids in runs.items()}
        self._left = {claim: set(ids) for claim, ids in runs.items()}
        self._judge = judge
        self._verdicts: dict[str, str] = {}

    def ended(self, outcome: Outcome) -> None:
        """Judge each claim whose last run this was."""
        for claim, left in self._left.items():
            if outcome.run_id in left:
                left.remove(outcome.run_id)
                if not left:
                    self._verdicts[claim] = self._judge(claim)

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> RenderableType | None:
        """A word a claim; where there is no room for all, those that wait and have runs at work."""
        for claims in (
            list(self._runs),
            [claim for claim, left in self._left.items() if left],
            [claim for claim, left in self._left.items() if left & set(at_work)],
        ):
            lines = flowing(map(self._entry, claims), width)
            if len(lines) <= rows:
                break
        return Text("\n").join(lines[: max(rows, 0)]) if lines else None

    def _entry(self, claim: str) -> Text:
        if verdict := self._verdicts.get(claim):
            return Text(f"{claim} ").append(verdict, style=STYLES.get(verdict, ""))
        total = len(self._runs[claim])
        return Text(f"{claim} {total - len(self._left[claim])}/{total} runs", style="dim")
