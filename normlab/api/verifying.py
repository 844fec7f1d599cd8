"""Claims put to the test, and the runs that they need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, overload

# Each of these loads what it needs when it is first asked for it.
from normlab import claims, config, show
from normlab import runs as run_files
from normlab.api.arguments import takes_texts
from normlab.api.making import compose, make_seen
from normlab.api.places import ignore
from normlab.api.shown import Shown
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import RenderableType

    from normlab.claims import Claim, Scale, Verdict
    from normlab.config import Config
    from normlab.runs import Plan


@dataclass(frozen=True)
class Verification:
    """Claims, and the runs that they are judged by."""

    claims: "Sequence[Claim]"
    scale: "Scale"
    plan: "Plan | None"  # None where no claim needs a run
    experiments: "Mapping[str, Sequence[Config]]"  # each claim's runs, by its id
    root: Path  # where its verdicts are kept

    def judge(self, claim: "Claim") -> "Verdict":
        """The verdict of a claim by the runs as they are."""
        return claims.judge_runs(claim, self.scale, self.experiments[claim.id])

    def with_data(self, on_missing: Callable[[str], object] = ignore) -> Self:
        """The same without the runs whose data cannot be had, of which `on_missing` hears."""
        pending = self.plan.pending if self.plan else ()
        missing = run_files.without_data(pending)
        for line in dict.fromkeys(map(str, missing.values())):
            on_missing(line)
        left = tuple(named for named in pending if config.run_id(named) not in missing)
        return replace(self, plan=self.plan and replace(self.plan, pending=left))

    def waiting(self) -> dict[str, set[str]]:
        """Of each claim the ids of its runs that are to be made."""
        pending = {config.run_id(c) for c in (self.plan.pending if self.plan else ())}
        return {
            identity: pending & set(map(config.run_id, configs))
            for identity, configs in self.experiments.items()
        }

    def remember(self, verdicts: "Sequence[Verdict]") -> None:
        """Keep verdicts beside the runs, for lists of claims and reports to tell them."""
        claims.remember(verdicts, self.root)


class Verdicts(Sequence["Verdict"], Shown):
    """Verdicts on claims, in order, by their places or by the claims' ids."""

    def __init__(self, verdicts: "Sequence[Verdict]"):
        self._verdicts = tuple(verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    @overload
    def __getitem__(self, place: int | str) -> "Verdict": ...
    @overload
    def __getitem__(self, place: slice) -> "Verdicts": ...
    def __getitem__(self, place: int | str | slice) -> "Verdict | Verdicts":
        if isinstance(place, slice):
            return Verdicts(self._verdicts[place])
        if isinstance(place, str):
            by_id = {verdict.claim.id: verdict for verdict in self._verdicts}
            if place not in by_id:
                raise ConfigError(f"{place}: no such claim here; choices: {', '.join(by_id)}")
            return by_id[place]
        return self._verdicts[place]

    @property
    def frame(self) -> "DataFrame":
        """A row a figure that was measured: id, verdict, measured, value, low, high, n, gate."""
        from pandas import DataFrame

        rows = claims.as_rows(self._verdicts)
        figures = [
            {"id": row["id"], "verdict": row["verdict"], "measured": name, **figure}
            for row in rows
            for name, figure in row["measured"].items()
        ]
        return DataFrame(figures)

    def __repr__(self) -> str:
        return f"<Verdicts: {show.summary_line(self._verdicts)}>"

    def _drawn(self, width: int) -> "RenderableType":  # noqa: ARG002  # as wide as its console
        from rich.console import Group
        from rich.text import Text

        reports = map(show.verdict_report, self._verdicts)
        return Group(*reports, Text(show.summary_line(self._verdicts)))


@takes_texts
def verify(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
    progress: bool | None = None,
) -> Verdicts:
    """Put claims to the test: make the runs that are missing, measure, judge, keep the verdicts.

    Words are ids, YAML files of claims, and settings of where runs are made; without ids every
    claim is meant. `progress` is that of `sweep`. Raises ConfigError for other words.
    """
    verification = plan_verification(
        *words, scale=scale, config_dir=config_dir, retry_failed=retry_failed
    ).with_data()
    by_id = {claim.id: claim for claim in verification.claims}
    found: dict[str, Verdict] = {}

    def judge(identity: str) -> str:
        found[identity] = verdict = verification.judge(by_id[identity])
        verification.remember([verdict])  # each at once, so that a Ctrl-C loses none
        return verdict.verdict

    planned = verification.plan
    if planned is not None and planned.pending:
        waiting = {identity: ids for identity, ids in verification.waiting().items() if ids}
        make_seen(planned, progress, lambda _: show.ClaimsSoFar(waiting, judge))
    for identity in by_id:
        if identity not in found:
            judge(identity)
    return Verdicts([found[identity] for identity in by_id])


def plan_verification(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
) -> Verification:
    """What `verify` is to do; raises ConfigError for words that are no claims or settings."""
    names, overrides = claim_words(words)
    every = [claim for claim in claims.CLAIMS.values() if scale == "small" or claim.paper]
    chosen = claims.find_claims(names) if names else every
    root = results_root(overrides)
    planned, experiments = claims.plan_claims(
        chosen, scale, overrides, config_dir, retry_failed=retry_failed
    )
    return Verification(chosen, scale, planned, experiments, root)


def claim_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of claims, and settings."""
    names: list[str] = []
    settings: list[str] = []
    for word in words:
        (settings if claims.is_setting(word) else names).append(word)
    return names, settings


def results_root(overrides: Iterable[str] = ()) -> Path:
    """The results folder that settings name."""
    return Path(compose(*(o for o in overrides if o.startswith("output.root="))).output.root)
