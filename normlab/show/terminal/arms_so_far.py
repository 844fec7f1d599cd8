"""The comparison of a sweep's arms while their runs are made: stable from the first to the last."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from normlab.analysis import places
from normlab.runs import Outcome, Plan, Summary, read_summary, run_folder
from normlab.show.charts.panels import evenly_chosen
from normlab.show.terminal.jobs import telling
from normlab.show.terminal.plain_tables import GAP, diagnosis_style
from normlab.vocabulary import DIAGNOSES, FINAL

# Lines that a table has beside its rows: its head, a rule and the key to its signs.
_FRAME = 3
_TO_MAKE, _AT_WORK = "·", "…"
_HEAD = "train accuracy"


class ArmsSoFar:
    """Each arm's train accuracy by depth, the mean of the runs that have ended."""

    def __init__(self, plan: Plan):
        self._folders = {folder.name: folder for folder in map(run_folder, plan.configs)}
        self._places = places(plan.configs)
        self._arms = list(dict.fromkeys(place.arm for place in self._places.values()))
        self._depths = sorted({place.depth for place in self._places.values()})
        seeds = {place.seed for place in self._places.values()}
        self.names = {
            identity: ", ".join(
                [
                    place.arm,
                    *([f"depth {place.depth}"] if len(self._depths) > 1 else []),
                    *([f"seed {place.seed}"] if len(seeds) > 1 else []),
                ]
            )
            for identity, place in self._places.items()
        }
        self._cells: dict[tuple[str, Any], list[str]] = {}
        for identity, place in self._places.items():
            self._cells.setdefault((place.arm, place.depth), []).append(identity)
        self._missing = Counter(place.arm for place in self._places.values())
        self._results: dict[str, Summary] = {}
        pending = {run_folder(config).name for config in plan.pending}
        for identity in self._folders.keys() - pending:
            self._read(identity)

    def ended(self, outcome: Outcome) -> None:
        """Take in a run that has ended."""
        self._read(outcome.run_id)

    def drawn(
        self, at_work: Collection[str], width: int, rows: int | None
    ) -> RenderableType | None:
        """The table in so many rows of a terminal, or with None that of all arms that have a
        result; None where there is nothing to show."""
        if rows is None:
            arms: Sequence[str] = self._with_results()
        else:
            arms = self._window(rows - _FRAME) if rows > _FRAME else ()
        if not arms:
            return None
        longest = max(len(runs) for runs in self._cells.values())
        cell = len("0.000 u") + (len(f" {longest}/{longest}") if longest > 1 else 0) + GAP
        name_width = max(map(len, [_HEAD, *arms]))
        most = max(1, (width - min(name_width, width * 2 // 5)) // cell)
        depths = evenly_chosen(self._depths, most)
        room = max(len(_HEAD), width - GAP - cell * len(depths))
        names, dropped = telling(arms, room)
        table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0))
        table.add_column(_HEAD, no_wrap=True, min_width=min(max(map(len, [_HEAD, *names])), room))
        for depth in depths:
            head = f"depth {depth}" if len(self._depths) > 1 else ""
            table.add_column(head, justify="right", min_width=cell - GAP, no_wrap=True)
        for arm, name in zip(arms, names, strict=True):
            shown = Text(name)
            shown.truncate(room, overflow="ellipsis")
            table.add_row(shown, *(self._cell(arm, depth, at_work) for depth in depths))
        table.caption = self._key(dropped, len(depths), stopped=rows is None)
        table.caption_justify = "left"
        return table

    def _read(self, identity: str) -> None:
        summary = read_summary(self._folders[identity]) if identity in self._folders else None
        if summary is not None and summary.status in FINAL:
            self._missing[self._places[identity].arm] -= identity not in self._results
            self._results[identity] = summary

    def _with_results(self) -> list[str]:
        return list(dict.fromkeys(p.arm for i, p in self._places.items() if i in self._results))

    def _window(self, count: int) -> Sequence[str]:
        """So many of the arms, from the one before the first that has runs to be made."""
        missing = (i for i, arm in enumerate(self._arms) if self._missing[arm])
        first = next(missing, len(self._arms))
        start = max(0, min(first - 1, len(self._arms) - count))
        return self._arms[start : start + count]

    def _cell(self, arm: str, depth: Any, at_work: Collection[str]) -> Text:
        runs = self._cells.get((arm, depth), [])
        found = [self._results[identity] for identity in runs if identity in self._results]
        if not found:
            if not runs:
                return Text()
            return Text(_AT_WORK if set(runs) & set(at_work) else _TO_MAKE, style="dim")
        scores = [summary.train_acc for summary in found if summary.train_acc is not None]
        verdicts = [summary.verdict for summary in found]
        # The worst of the most frequent, as a comparison has it.
        verdict = max(
            DIAGNOSES, key=lambda name: (verdicts.count(name), list(DIAGNOSES).index(name))
        )
        mark = DIAGNOSES[verdict].mark if verdict in verdicts else ""
        text = f"{sum(scores) / len(scores):.3f}" if scores else "–"
        part = f" {len(found)}/{len(runs)}" if len(found) < len(runs) else ""
        style = diagnosis_style(verdict) if mark else ""
        return Text(f"{text} {mark}".rstrip() + part, style=style)

    def _key(self, dropped: str, depths: int, *, stopped: bool) -> Text:
        """What the signs mean, and what is left out for want of room."""
        verdicts = {summary.verdict for summary in list(self._results.values())}
        marks = [f"{d.mark} {name}" for name, d in DIAGNOSES.items() if d.mark and name in verdicts]
        left_out = [f"all {dropped}"] if dropped else []
        if depths < len(self._depths):
            left_out.append(f"{depths} of {len(self._depths)} depths")
        at_work = [] if stopped else [f"{_AT_WORK} at work"]
        signs = [f"{_TO_MAKE} to make", *at_work, *marks, *left_out]
        return Text("  ".join(signs), style="dim", no_wrap=True, overflow="ellipsis")
