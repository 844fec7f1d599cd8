"""Runs in the jobs of a Slurm cluster; each job works through many of them.

A job is given a share of the runs and makes them in worker processes, as the local launcher does.
It tells their outcomes in a file of its own beside submitit's logs.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from normlab.config import Config, LocalLauncher, SlurmLauncher, run_id
from normlab.errors import ConfigError
from normlab.runs.launchers import cluster_device, local
from normlab.runs.outcomes import Outcome
from normlab.runs.records import command_line, run_folder
from normlab.runs.summary import read_summary

POLL_SECONDS = 0.5
STATE_SECONDS = 30.0  # between questions to Slurm, which are dear
STOP_SECONDS = local.STOP_SECONDS + 5
LOGS = ".slurm"


def launch(
    configs: Sequence[Config], launcher: SlurmLauncher, *, force: bool
) -> Generator[Outcome, None, None]:
    """Deal the runs to jobs and yield their outcomes as they finish.

    Runs that an ended job has left are failed with its state as the reason. Raises ConfigError
    where submitit is not installed or the jobs cannot be submitted.
    """
    count = min(launcher.jobs, len(configs))
    shares = {number: list(configs[number::count]) for number in range(count)}
    logs = Path(configs[0].output.root).absolute() / LOGS
    device = cluster_device(configs[0], launcher.gpus_per_job, "launcher.gpus_per_job")
    executor = _executor(launcher, logs)
    with tempfile.TemporaryDirectory(
        prefix="sweep-", dir=logs, ignore_cleanup_errors=True
    ) as folder:
        jobs: list[Any] = _submit(executor, shares, launcher, device, Path(folder), force)
        try:
            yield from _outcomes(jobs, shares, Path(folder))
        except BaseException:  # Ctrl-C, or the sweep no longer listens
            _stop(jobs, Path(folder) / "stop")
            raise


def _executor(launcher: SlurmLauncher, logs: Path) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(
            "launcher=slurm: needs the package submitit; pip install 'normlab[slurm]'"
        ) from error
    try:
        logs.mkdir(parents=True, exist_ok=True)
        executor = submitit.AutoExecutor(folder=logs, cluster=launcher.cluster)
    except OSError as error:
        raise ConfigError(f"output.root: {logs} cannot be made ({error.strerror})") from error
    except RuntimeError as error:
        raise ConfigError(
            "launcher=slurm: this machine has no srun, so it is no part of a Slurm cluster; "
            "launcher.cluster=local runs the jobs here"
        ) from error
    options = (option.partition("=") for option in launcher.options)
    parameters = {
        "name": "normlab",
        "timeout_min": launcher.minutes,
        "cpus_per_task": launcher.cpus_per_job,
        "gpus_per_node": launcher.gpus_per_job or None,
        "mem_gb": launcher.memory_gb,
        "slurm_partition": launcher.partition,
        "slurm_array_parallelism": launcher.array_parallelism,
        # Since Slurm 22.05, srun does not take it from sbatch.
        "slurm_srun_args": [f"--cpus-per-task={launcher.cpus_per_job}"],
        "slurm_additional_parameters": {name: value or True for name, _, value in options},
    }
    executor.update_parameters(**{k: v for k, v in parameters.items() if v is not None})
    return executor


def _submit(
    executor: Any,
    shares: dict[int, list[Config]],
    launcher: SlurmLauncher,
    device: str,
    folder: Path,
    force: bool,
) -> list[Any]:
    from submitit.core.utils import FailedJobError

    def job(number: int) -> tuple[Any, ...]:
        configs = [
            config.model_copy(
                update={"runtime": config.runtime.model_copy(update={"device": device})}
            )
            for config in shares[number]
        ]
        threads = configs[0].runtime.threads
        workers = None if device == "cuda" else max(1, launcher.cpus_per_job // threads)
        pool = LocalLauncher(name="local", workers=workers, runs_per_device=1, timeout_seconds=None)
        return configs, pool, folder, number, command_line(), force

    try:
        # One array of jobs; an argument list for each parameter.
        return list(executor.map_array(_work, *zip(*map(job, shares), strict=True)))
    except (FailedJobError, OSError, RuntimeError) as error:
        reason = ([line for line in str(error).splitlines() if line.strip()] or [""])[-1].strip()
        raise ConfigError(f"launcher=slurm: the jobs were not submitted ({reason})") from error


def _work(
    configs: list[Config],
    pool: LocalLauncher,
    folder: Path,
    number: int,
    command: list[str],
    force: bool,
) -> None:
    """A job: work through a share of the runs and write a line for the outcome of each."""
    sys.argv = command  # what started the sweep goes into environment.json, not submitit's job
    told, stop, ended = folder / f"{number}.jsonl", folder / "stop", threading.Event()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once: the runs need time to end
        raise KeyboardInterrupt

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if stop.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    # A job that was preempted and started again has told some outcomes before.
    known = {o.run_id for o in _told(told, 0)[0] if o.status != "interrupted"}
    before = signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=watch, daemon=True).start()
    try:
        left = [config for config in configs if run_id(config) not in known]
        if not left:
            return
        with contextlib.closing(local.launch(left, pool, force=force)) as outcomes:
            for outcome in outcomes:
                with told.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
    except KeyboardInterrupt:
        if not stop.exists():
            raise
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)


def _outcomes(
    jobs: Sequence[Any], shares: dict[int, list[Config]], folder: Path
) -> Generator[Outcome, None, None]:
    """What the jobs tell, as they tell it, until all of them have ended."""
    missing = {
        number: {run_id(config): config for config in configs} for number, configs in shares.items()
    }
    read = dict.fromkeys(missing, 0)
    cut: dict[str, Outcome] = {}  # interrupted; a job that is started again may finish them yet
    asked = time.monotonic()
    while missing:
        due = time.monotonic() - asked > STATE_SECONDS
        if due:
            asked = time.monotonic()
        for number in list(missing):
            # Asked before reading, so that an ended job has told all that it will.
            ended = jobs[number].done(force_check=due)
            due = False  # one answer is about all jobs
            told, read[number] = _told(folder / f"{number}.jsonl", read[number])
            for outcome in told:
                if outcome.status == "interrupted":
                    cut[outcome.run_id] = outcome
                elif missing[number].pop(outcome.run_id, None) is not None:
                    yield outcome
            if ended:
                for identity, config in missing.pop(number).items():
                    yield cut.get(identity) or _left(config, jobs[number])
        time.sleep(POLL_SECONDS if missing else 0)


def _told(file: Path, start: int) -> tuple[list[Outcome], int]:
    """The outcomes in the whole lines of a job's file from an offset on, and the next offset."""
    try:
        with file.open("rb") as lines:
            lines.seek(start)
            text = lines.read()
    except FileNotFoundError:
        return [], start
    whole = text[: text.rfind(b"\n") + 1]
    return [Outcome(**json.loads(line)) for line in whole.splitlines()], start + len(whole)


def _left(config: Config, job: Any) -> Outcome:
    """The outcome of a run of which an ended job has told nothing."""
    summary = read_summary(run_folder(config))
    if summary is not None and summary.final:
        return Outcome.from_summary(summary)
    reason = f"its job {job.job_id} ended before it ({job.state}); see {job.paths.stderr}"
    return Outcome(run_id(config), "failed", reason)


def _stop(jobs: Sequence[Any], stop: Path) -> None:
    """Let the jobs at work mark their runs interrupted, and cancel all."""
    stop.touch()
    going = []
    for job in jobs:
        if job.state in ("PENDING", "QUEUED"):
            job.cancel(check=False)
        else:
            going.append(job)
    deadline = time.monotonic() + STOP_SECONDS
    try:
        while time.monotonic() < deadline and not all(job.done() for job in going):
            time.sleep(POLL_SECONDS)
    finally:
        for job in going:
            if not job.done():
                job.cancel(check=False)
