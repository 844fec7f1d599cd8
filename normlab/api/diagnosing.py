"""The diagnosis put to the test on trainings that fail for a known reason."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

# Each of these loads what it needs when it is first asked for it.
from normlab import bench
from normlab import runs as run_files
from normlab.api.making import run_plan
from normlab.api.places import RESULTS, Place, ignore

if TYPE_CHECKING:
    from normlab.bench import DiagnosisBench, LabelledCase
    from normlab.config import Config
    from normlab.runs import Plan, Run


def run_to_try(name: str | None = None, root: Place = RESULTS) -> "Run":
    """A run whose advice is to be tried, as `read_run` finds it; the latest is no trial itself, and
    none of a benchmark."""
    return run_files.read_run(run_files.find_run(name, Path(root), but=_makes_its_own_runs))


def _makes_its_own_runs(experiment: str) -> bool:
    """Whether an experiment's runs are those of `normlab doctor` or `normlab bench-diagnosis`."""
    return experiment == run_files.TRIALS or experiment.startswith(bench.BENCH)


def read_cases(file: Place, root: Place = RESULTS) -> "list[LabelledCase]":
    """The labelled trainings of a cases file; raises ConfigError that names one that cannot be."""
    return bench.read_cases(Path(file), str(root))


def plan_cases(cases: "Sequence[LabelledCase]") -> "Plan":
    """The runs of cases as they are given and with their fix."""
    return run_files.plan_configs(bench.first_configs(cases), retry_failed=True)


def advised(cases: "Sequence[LabelledCase]") -> "dict[int, Config]":
    """The runs of cases with the first advice that they got, by the number of their case."""
    return bench.tried_configs(cases)


def plan_advised(tries: "Mapping[int, Config]") -> "Plan | None":
    """The runs of cases with their advice; None where none got any."""
    configs = bench.once(tries.values())
    return run_files.plan_configs(configs, retry_failed=True) if configs else None


def judge_cases(
    cases: "Sequence[LabelledCase]",
    tries: "Mapping[int, Config]",
    *,
    peers: bool = False,
    on_case: "Callable[[LabelledCase], object]" = ignore,
) -> "DiagnosisBench":
    """Cases judged by the runs that are there; with `peers` torchmortem's word stands beside, where
    it is installed, and each case is trained for it."""
    others = {bench.PEER: bench.causes_said} if peers and bench.is_installed() else {}
    return bench.judge_cases(cases, tries, others, on_case)


def benchmark_diagnosis(
    file: Place, root: Place = RESULTS, *, with_advice: bool = True, peers: bool = False
) -> "DiagnosisBench":
    """Make the runs of a cases file that are missing, and judge what is said of them."""
    cases = read_cases(file, root)
    run_plan(plan_cases(cases))
    tries = advised(cases) if with_advice else {}
    planned = plan_advised(tries)
    if planned is not None:
        run_plan(planned)
    return judge_cases(cases, tries, peers=peers)
