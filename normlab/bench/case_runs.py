"""The runs of labelled cases, as given, with the fix and with the first advice, and how they are
judged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normlab.bench.cases import (
    Confusion,
    JudgedCase,
    LabelledCase,
    Tally,
    confusion,
    judge_case,
    tally,
)
from normlab.config import Config, run_id
from normlab.errors import ConfigError
from normlab.runs import Summary, read_summary, run_folder


@dataclass(frozen=True)
class DiagnosisBench:
    """Labelled cases judged, and the time that their runs took."""

    judged: Sequence[JudgedCase]
    given_seconds: float  # of the runs as they were given
    seconds: float  # of all
    runs: int
    peers: Sequence[str] = ()  # others whose word stands beside

    @property
    def tally(self) -> Tally:
        """How often it was right."""
        return tally(self.judged)

    @property
    def confusion(self) -> Confusion:
        """What was said of which cause."""
        return confusion(self.judged)

    def to_plain(self) -> dict[str, Any]:
        """What `--format json` prints."""
        return {
            **self.tally.to_plain(),
            **{name: tally(self.of_peer(name)).to_plain() for name in self.peers},
            "confusion": self.confusion.to_plain(),
            "given_seconds": self.given_seconds,
            "seconds": self.seconds,
            "runs": self.runs,
            "cases": [each.to_plain() for each in self.judged],
        }

    def of_peer(self, name: str) -> list[JudgedCase]:
        """The cases as if its first word had been said of each, without advice."""
        return [JudgedCase(j.case, j.peers[name][0], None, (), j.given) for j in self.judged]


def first_configs(cases: Sequence[LabelledCase]) -> list[Config]:
    """The runs of the first pass, each once: every case as given and with its fix."""
    return once(config for case in cases for config in (case.given, case.fixed) if config)


def once(configs: Iterable[Config]) -> list[Config]:
    """Configs of runs in one place without those that are the run of one before."""
    found: dict[str, Config] = {}
    for config in configs:
        found.setdefault(run_id(config), config)
    return list(found.values())


def tried_configs(cases: Sequence[LabelledCase]) -> dict[int, Config]:
    """The runs of the second pass by the number of their case: with its first advice, which the run
    as given has to be made for. Advice that cannot be is none."""
    found = {}
    for case in cases:
        summary = _summary(case.given)
        for advice in summary.advice[:1] if summary else ():
            try:
                found[case.number] = case.with_advice(advice)
            except ConfigError:
                continue
    return found


def run_names(cases: Sequence[LabelledCase], tries: Mapping[int, Config]) -> dict[str, str]:
    """What the runs of cases are called as they are made, by run id; one that several cases share
    by the first."""
    names: dict[str, str] = {}
    for case in cases:
        whole = f"case {case.number} {case.cause}"
        for config, how in (
            (case.given, ""),
            (case.fixed, " with its fix"),
            (tries.get(case.number), " with the advice"),
        ):
            if config is not None:
                names.setdefault(run_folder(config).name, f"{whole}{how}")
    return names


def judge_cases(
    cases: Sequence[LabelledCase],
    tries: Mapping[int, Config],
    peers: Mapping[str, Callable[[Config], Sequence[str]]],
    on_case: Callable[[LabelledCase], object] = lambda _: None,
) -> DiagnosisBench:
    """The cases by what their runs say; a peer's function gives the causes that it says of one,
    and trains for it."""
    judged = []
    seconds: dict[str, float] = {}
    given_seconds = 0.0
    for case in cases:
        on_case(case)
        given, fixed, tried = (
            None if config is None else _summary(config)
            for config in (case.given, case.fixed, tries.get(case.number))
        )
        for summary in filter(None, (given, fixed, tried)):
            seconds[summary.run_id] = summary.seconds or 0.0
        given_seconds += (given.seconds or 0.0) if given else 0.0
        said = {name: say(case.given) for name, say in peers.items()}
        judged.append(judge_case(case, given, fixed, tried, said))
    return DiagnosisBench(judged, given_seconds, sum(seconds.values()), len(seconds), list(peers))


def _summary(config: Config) -> Summary | None:
    return read_summary(run_folder(config))
