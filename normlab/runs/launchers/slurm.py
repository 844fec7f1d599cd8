"""Runs in the jobs of a Slurm cluster; each job works through many of them."""

import re
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from normlab.config import LAUNCHERS, Config, Count, Launcher, Positive, Whole, run_id
from normlab.errors import ConfigError
from normlab.runs.environment import command_line
from normlab.runs.launchers import cluster_device, local, with_device
from normlab.runs.launchers.local import LocalLauncher
from normlab.runs.launchers.packed import Packed
from normlab.runs.launchers.slurm_job import (
    POLL_SECONDS,
    STOP_FILE,
    Job,
    outcomes_file,
    read_outcomes,
    work,
)
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.vocabulary import FINAL

STATE_SECONDS = 30.0  # between questions to Slurm's accounting, which burden the cluster
STOP_SECONDS = local.STOP_SECONDS + 5
LOGS = ".slurm"


@LAUNCHERS.register("slurm")
class SlurmLauncher(Launcher):
    """Jobs of a Slurm cluster, each of which works through many runs."""

    starting = "waiting for Slurm to start the jobs"

    cluster: Literal["slurm", "local", "debug"]
    partition: str | None
    minutes: Count
    cpus_per_job: Count
    gpus_per_job: Whole
    runs_per_device: Count
    memory_gb: Positive | None
    jobs: Count
    array_parallelism: Count
    options: Annotated[tuple[str, ...], Field(strict=False)]

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            if not re.fullmatch(r"[a-z][a-z-]*(=[^\x00-\x1f]+)?", option):
                raise ValueError(
                    f"launcher.options: {option!r} is no option of sbatch; write name=value or "
                    "name, as in 'launcher.options=[\"account=lab\",exclusive]'"
                )
        return options

    def launch(self, configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
        """Deal the runs to jobs and yield their outcomes as they end.

        Runs that an ended job has left are failed with its state as the reason. Raises ConfigError
        where submitit is not installed or the jobs cannot be submitted.
        """
        count = min(self.jobs, len(configs))
        shares = {number: list(configs[number::count]) for number in range(count)}
        logs = Path(configs[0].output.root).absolute() / LOGS
        device = cluster_device(configs[0], self.gpus_per_job, "launcher.gpus_per_job")
        executor = self.executor(logs)
        from cloudpickle import dumps  # submitit's own

        with tempfile.TemporaryDirectory(
            prefix="sweep-", dir=logs, ignore_cleanup_errors=True
        ) as folder:
            place = Path(folder)
            jobs = submit(
                executor,
                [
                    Job(
                        number,
                        [run_id(config) for config in share],
                        Packed.of([with_device(config, device) for config in share], dumps),
                        self._workers(share[0], device),
                        place,
                        command_line(),
                        force,
                    )
                    for number, share in shares.items()
                ],
            )
            try:
                yield from collect(jobs, shares, place)
            except BaseException:  # Ctrl-C, or the sweep no longer listens
                cancel(jobs, place / STOP_FILE)
                raise

    def executor(self, logs: Path) -> Any:
        """submitit's executor; raises ConfigError where there is none or no Slurm."""
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(
                "launcher=slurm: needs the package submitit; pip install 'normlab[slurm]'"
            ) from error
        try:
            logs.mkdir(parents=True, exist_ok=True)
            executor = submitit.AutoExecutor(folder=logs, cluster=self.cluster)
        except OSError as error:
            raise ConfigError(f"output.root: {logs} cannot be made ({error.strerror})") from error
        except RuntimeError as error:
            raise ConfigError(
                "launcher=slurm: this machine has no srun, so it is no part of a Slurm cluster; "
                "launcher.cluster=local runs the jobs here"
            ) from error
        options = (option.partition("=") for option in self.options)
        parameters = {
            "name": "normlab",
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus_per_job,
            "gpus_per_node": self.gpus_per_job or None,
            "mem_gb": self.memory_gb,
            "slurm_partition": self.partition,
            "slurm_array_parallelism": self.array_parallelism,
            # Since Slurm 22.05, srun does not take it from sbatch.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus_per_job}"],
            "slurm_additional_parameters": {name: value or True for name, _, value in options},
        }
        executor.update_parameters(**{k: v for k, v in parameters.items() if v is not None})
        return executor

    def _workers(self, config: Config, device: str) -> LocalLauncher:
        """A job's worker processes: `runs_per_device` a GPU, or as many as its cores allow."""
        cores = max(1, self.cpus_per_job // config.runtime.threads)
        workers = None if device == "cuda" else cores
        return LocalLauncher(
            name="local",
            workers=workers,
            runs_per_device=self.runs_per_device,
            timeout_seconds=None,
        )


def submit(executor: Any, jobs: Sequence[Job]) -> list[Any]:
    """submitit's jobs, in one array; raises ConfigError where Slurm refuses them."""
    from submitit.core.utils import FailedJobError

    from normlab.runs.launchers.worker_process import safe_path

    try:
        with safe_path():  # jobs inherit the environment
            return list(executor.map_array(work, jobs))
    except (FailedJobError, OSError, RuntimeError) as error:
        reason = ([line for line in str(error).splitlines() if line.strip()] or [""])[-1].strip()
        raise ConfigError(f"launcher=slurm: the jobs were not submitted ({reason})") from error


def collect(
    jobs: Sequence[Any], shares: dict[int, list[Config]], folder: Path
) -> Generator[Outcome, None, None]:
    """The outcomes that the jobs write, as they write them, until all of them have ended."""
    missing = {
        number: {run_id(config): config for config in configs} for number, configs in shares.items()
    }
    offsets = dict.fromkeys(missing, 0)
    # Of runs that were interrupted: a job that is started again may finish them yet.
    interrupted: dict[str, Outcome] = {}
    asked = time.monotonic()
    while missing:
        due = time.monotonic() - asked > STATE_SECONDS
        if due:
            asked = time.monotonic()
        for number in list(missing):
            # Asked before reading, so that an ended job has written all that it will.
            ended = jobs[number].done(force_check=due)
            due = False  # one answer is about all jobs
            file = outcomes_file(folder, number)
            outcomes, offsets[number] = read_outcomes(file, offsets[number])
            for outcome in outcomes:
                if outcome.status == "interrupted":
                    interrupted[outcome.run_id] = outcome
                elif missing[number].pop(outcome.run_id, None) is not None:
                    yield outcome
            if ended:
                for identity, config in missing.pop(number).items():
                    yield interrupted.get(identity) or _unreported(config, jobs[number])
        time.sleep(POLL_SECONDS if missing else 0)


def _unreported(config: Config, job: Any) -> Outcome:
    """The outcome of a run of which an ended job has written nothing."""
    if recorded := recorded_outcome(config, FINAL):
        return recorded
    reason = f"its job {job.job_id} ended before it ({job.state}); see {job.paths.stderr}"
    return Outcome(run_id(config), "failed", reason)


def cancel(jobs: Sequence[Any], stop: Path) -> None:
    """Let the jobs at work mark their runs interrupted, and cancel all."""
    stop.touch()
    at_work = []
    for job in jobs:
        if job.state in ("PENDING", "QUEUED"):
            job.cancel(check=False)
        else:
            at_work.append(job)
    deadline = time.monotonic() + STOP_SECONDS
    try:
        while time.monotonic() < deadline and not all(job.done() for job in at_work):
            time.sleep(POLL_SECONDS)
    finally:
        for job in at_work:
            if not job.done():
                job.cancel(check=False)
