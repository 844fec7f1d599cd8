"""Runs as tasks of a Ray cluster; their folders come back through Ray, not a shared file system."""

import contextlib
import functools
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from normlab.config import Config, RayLauncher, run_id, to_yaml
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs.execution import outcome_of, record_failure
from normlab.runs.launchers import cluster_device
from normlab.runs.locks import LOCK_FILE, RunLock
from normlab.runs.outcomes import Outcome
from normlab.runs.records import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    command_line,
    run_folder,
    to_json,
    unwritable,
    write_whole,
)
from normlab.runs.summary import SUMMARY_FILE, parse_summary, read_summary

STOP_SECONDS = 15.0
CONNECT_SECONDS = 5.0
# For run folders on their way, some tens of kilobytes each; Ray's own default is 30 % of memory.
LOCAL_STORE_BYTES = 200 * 2**20

Files = dict[str, bytes]


def launch(
    configs: Sequence[Config], launcher: RayLauncher, *, force: bool
) -> Generator[Outcome, None, None]:
    """Execute each run as a task and yield their outcomes as they finish.

    A run whose node or worker is lost is tried again, `max_retries` times. This process holds the
    lock of every run that is out. Raises ConfigError where Ray is not installed, its cluster cannot
    be reached, or no node of it has what a run needs.
    """
    ray = _import_ray(launcher)
    with _cluster(ray, launcher):
        cpus, gpus = _needs(ray, configs[0], launcher)
        device = cluster_device(configs[0], gpus, "launcher.gpus_per_run")
        task = ray.remote(_work).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=launcher.max_retries, retry_exceptions=False
        )
        waiting = list(reversed(configs))
        running: dict[Any, tuple[Config, RunLock]] = {}
        try:
            while waiting or running:
                # One task at work and one behind it in each slot: no slot waits for this process.
                most = 2 * max(1, _slots(ray, cpus, gpus))
                while waiting and len(running) < most:
                    config = waiting.pop()
                    claimed = _claim(config, force=force)
                    if isinstance(claimed, Outcome):
                        yield claimed
                    else:
                        job = task.remote(config, device, command_line())
                        running[job] = config, claimed
                ended, _ = ray.wait(list(running)) if running else ([], [])
                for job in ended:
                    yield _receive(ray, job, *running.pop(job), launcher)
        except BaseException:  # Ctrl-C, or the sweep no longer listens
            _stop(ray, running, launcher)
            raise


def _import_ray(launcher: RayLauncher) -> ModuleType:
    # Ray reads these once. It reports usage to its makers unless told otherwise, and tries a run
    # that takes too much memory again without end.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(launcher.max_retries))
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "launcher=ray: needs the package ray; pip install 'normlab[ray]'"
        ) from error
    return ray


@contextlib.contextmanager
def _cluster(ray: ModuleType, launcher: RayLauncher) -> Iterator[None]:
    """A connection to the cluster; one that the program has made already is used and kept."""
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    # What log_to_driver leaves: news of lost nodes and retries, printed to standard output.
    ray._private.worker._worker_logs_enabled = False
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if launcher.address is None:
            ray.init(
                address="local",  # null would take any cluster that it finds
                num_cpus=launcher.local_cpus,
                object_store_memory=LOCAL_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            _check_reachable(launcher.address)
            ray.init(address=launcher.address, **quiet)
    except Exception as error:  # Ray raises errors of many kinds here
        where = "null" if launcher.address is None else launcher.address
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "AuthenticationError" in str(error.__cause__):
            reason = "it wants its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        raise ConfigError(f"launcher.address={where}: no connection to Ray ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    # Ray itself tries for minutes and then ends the whole process.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    elif address != "auto":
        raise ValueError("write host:port, or auto")


def _needs(ray: ModuleType, config: Config, launcher: RayLauncher) -> tuple[float, float]:
    """CPUs and GPUs of a run; raises ConfigError where no node has as many."""
    cpus, gpus = launcher.cpus_per_run, launcher.gpus_per_run
    if cpus is None:
        cpus = config.runtime.threads
    if gpus is None:
        wanted = config.runtime.device in ("auto", "cuda")
        gpus = 1 if wanted and ray.cluster_resources().get("GPU") else 0
    if not _slots(ray, cpus, gpus):
        raise ConfigError(
            f"launcher=ray: no node of the cluster has {cpus:g} CPUs and {gpus:g} GPUs for a run; "
            "change launcher.cpus_per_run or launcher.gpus_per_run"
        )
    return cpus, gpus


def _slots(ray: ModuleType, cpus: float, gpus: float) -> int:
    """How many runs the cluster's nodes can make at once."""
    total = 0
    for node in ray.nodes():
        if node["Alive"]:
            needs = [("CPU", cpus), *([("GPU", gpus)] if gpus else [])]
            # Ray counts in ten-thousandths.
            total += min(
                round(node["Resources"].get(kind, 0) * 10_000) // max(1, round(need * 10_000))
                for kind, need in needs
            )
    return total


def _work(config: Config, device: str, command: list[str]) -> tuple[Outcome, Files]:
    """A task: one run into a folder of this node's own, and the content of its files."""
    sys.argv = command  # what started the sweep goes into environment.json, not Ray's worker
    with tempfile.TemporaryDirectory(prefix="normlab-", ignore_cleanup_errors=True) as root:
        placed = config.model_copy(
            update={
                "output": config.output.model_copy(update={"root": root}),
                # The folder goes with the task, and a checkpoint in it: a lost run starts over.
                "runtime": config.runtime.model_copy(
                    update={"device": device, "checkpoint_seconds": 0.0}
                ),
            }
        )
        try:
            outcome = outcome_of(placed, force=True, stop=lambda: False)
        except KeyboardInterrupt:  # from ray.cancel
            outcome = Outcome(run_id(config), "interrupted", "stopped before its end")
        files = {
            file.name: file.read_bytes()
            for file in run_folder(placed).glob("[!.]*")
            if file.name != LOCK_FILE
        }
    if SUMMARY_FILE in files:
        summary = parse_summary(files[SUMMARY_FILE])
        named = summary.model_copy(update={"config": config.model_dump(mode="json")})
        files[SUMMARY_FILE] = (to_json(named.to_plain()) + "\n").encode()
        files["config.yaml"] = to_yaml(config).encode()
    return outcome, files


def _claim(config: Config, *, force: bool) -> RunLock | Outcome:
    """The lock of a run's folder, or its outcome where it is finished, busy or impossible."""
    identity, folder = run_id(config), run_folder(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder)
    except BusyError as error:
        return Outcome(identity, "busy", str(error))
    except OSError as error:
        return Outcome(identity, "failed", str(unwritable(folder, error)))
    summary = read_summary(folder)
    if summary is not None and summary.final and not force:
        lock.release()
        return Outcome.from_summary(summary)
    if force:
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return lock


def _receive(
    ray: ModuleType, job: Any, config: Config, lock: RunLock, launcher: RayLauncher
) -> Outcome:
    """The outcome of a task that has ended, its files stored and its folder given free."""
    identity, folder, lost = run_id(config), run_folder(config), ""

    def failed(reason: str) -> Outcome:
        return Outcome(identity, "failed", reason)

    try:
        outcome: Outcome
        outcome, files = ray.get(job)
        if lock.lost:
            return failed(f"{folder}: another process took this run over, or deleted it")
        _store(folder, files)
        return outcome
    except ray.exceptions.TaskCancelledError:
        return Outcome(identity, "interrupted", "stopped before its start")
    except ray.exceptions.RayTaskError as error:  # before OSError, which it also is at times
        text = next(iter(str(error.cause).splitlines()), "")
        return failed(f"{type(error.cause).__name__}: {text}")
    except ray.exceptions.RayError as error:
        lost = (
            f"its worker or node was lost, after launcher.max_retries={launcher.max_retries} more "
            f"tries ({type(error).__name__}), out of memory perhaps"
        )
        return failed(lost)
    except RecordError as error:
        return failed(str(error))
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()  # of a run that never began
        if lost:
            record_failure(config, lost, 0.0)


def _store(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a run's files, and last the summary that makes it whole."""
    if files:
        for name in (SUMMARY_FILE, CHECKPOINT_FILE, WEIGHTS_FILE):
            (folder / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == SUMMARY_FILE):
        write_whole(folder / name, functools.partial(Path.write_bytes, data=files[name]))


def _stop(
    ray: ModuleType, running: Mapping[Any, tuple[Config, RunLock]], launcher: RayLauncher
) -> None:
    """Cancel the tasks and store what those at work have measured."""
    for job in running:
        ray.cancel(job)
    ended: list[Any] = []
    try:
        if running:
            ended, _ = ray.wait(list(running), num_returns=len(running), timeout=STOP_SECONDS)
    finally:
        for job, (config, lock) in running.items():
            if job in ended:
                _receive(ray, job, config, lock, launcher)
            else:
                lock.release()
