"""Runs as tasks of a Ray cluster; their folders come back through Ray, not a shared file system."""

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Self

from pydantic import model_validator

from normlab.config import (
    LAUNCHERS,
    Config,
    Count,
    Launcher,
    NonNegative,
    Positive,
    Whole,
    run_id,
)
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs.environment import command_line
from normlab.runs.files import write_whole
from normlab.runs.folder import CHECKPOINT_FILE, STATE_FILE, WEIGHTS_FILE, lacks_kept, run_folder
from normlab.runs.holding import hold
from normlab.runs.launchers import available_cores, cluster_device
from normlab.runs.launchers.packed import Packed
from normlab.runs.locks import RunLock
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.runs.replacing import make_replacement, settle, working_folder
from normlab.runs.summary import SUMMARY_FILE
from normlab.text import error_line, first_line
from normlab.vocabulary import FINAL

STOP_SECONDS = 15.0
CONNECT_SECONDS = 5.0
# For run folders on their way, some tens of kilobytes each; Ray's own default is 30 % of memory.
LOCAL_STORE_BYTES = 200 * 2**20


class Claimed(NamedTuple):
    """A run that is out as a task, and its lock, which this process holds meanwhile."""

    config: Config
    lock: RunLock


@LAUNCHERS.register("ray")
class RayLauncher(Launcher):
    """Tasks of a Ray cluster."""

    starting = "starting Ray and its workers, which load PyTorch"

    address: str | None
    local_cpus: Count | None
    cpus_per_run: Positive | None
    gpus_per_run: NonNegative | None
    max_retries: Whole

    @model_validator(mode="after")
    def _check_resources(self) -> Self:
        for key in ("cpus_per_run", "gpus_per_run"):
            share = getattr(self, key)
            if share is not None and share > 1 and share != int(share):
                raise ValueError(f"launcher.{key}={share}: above 1 it must be a whole number")
        if self.address is not None and self.local_cpus is not None:
            raise ValueError(
                f"launcher.local_cpus={self.local_cpus}: only a local Ray has one; "
                "leave out launcher.address"
            )
        return self

    def launch(self, configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
        """Make each run as a task and yield their outcomes as they end.

        A run whose node or worker is lost is tried again, `max_retries` times. This process holds
        the lock of every run that is out. Raises ConfigError where Ray is not installed, its
        cluster cannot be reached, or no node of it has what a run needs.
        """
        from normlab.runs.launchers.ray_task import make_run

        ray = self._import_ray()
        with self.connection(ray):
            cpus, gpus = self._resources(ray, configs[0])
            device = cluster_device(configs[0], gpus, "launcher.gpus_per_run")
            task = ray.remote(make_run).options(
                num_cpus=cpus, num_gpus=gpus, max_retries=self.max_retries, retry_exceptions=False
            )
            waiting = list(reversed(configs))
            running: dict[Any, Claimed] = {}
            try:
                while waiting or running:
                    # A task at work and one behind it in each slot: none waits for this process.
                    most = 2 * max(1, count_slots(ray, cpus, gpus))
                    while waiting and len(running) < most:
                        claimed = claim(waiting.pop(), force=force)
                        if isinstance(claimed, Outcome):
                            yield claimed
                        else:
                            packed = Packed.of([claimed.config], ray.cloudpickle.dumps)
                            running[task.remote(packed, device, command_line())] = claimed
                    ended, _ = ray.wait(list(running)) if running else ([], [])
                    for job in ended:
                        yield self.receive(ray, job, running.pop(job))
            except BaseException:  # Ctrl-C, or the sweep no longer listens
                self._cancel(ray, running)
                raise

    def _import_ray(self) -> ModuleType:
        # Ray reads these once. It reports usage to its makers unless told otherwise, and tries a
        # run that takes too much memory again without end.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(self.max_retries))
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "launcher=ray: needs the package ray; pip install 'normlab[ray]'"
            ) from error
        return ray

    @contextlib.contextmanager
    def connection(self, ray: ModuleType) -> Iterator[None]:
        """A connection to the cluster; one that the program has already made is used and kept."""
        if ray.is_initialized():
            yield
            return
        logging.getLogger("ray").setLevel(logging.ERROR)
        silence_news(ray)
        try:
            self._connect(ray)
        except Exception as error:  # Ray raises errors of many kinds here
            where = "null" if self.address is None else self.address
            reason = first_line(error)
            if "AuthenticationError" in str(error.__cause__):
                reason = "it wants its token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            raise ConfigError(
                f"launcher.address={where}: no connection to Ray ({reason})"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _connect(self, ray: ModuleType) -> None:
        quiet = {"log_to_driver": False, "configure_logging": False}
        if self.address is not None:
            check_reachable(self.address)
            ray.init(address=self.address, **quiet)
            return
        ray.init(
            address="local",  # null would take any cluster that it finds
            num_cpus=self.local_cpus or available_cores(),
            object_store_memory=LOCAL_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )

    def _resources(self, ray: ModuleType, config: Config) -> tuple[float, float]:
        """CPUs and GPUs of a run; raises ConfigError where no node has as many."""
        cpus, gpus = self.cpus_per_run, self.gpus_per_run
        if cpus is None:
            cpus = config.runtime.threads
        if gpus is None:
            wanted = config.runtime.device in ("auto", "cuda")
            gpus = 1 if wanted and ray.cluster_resources().get("GPU") else 0
        if not count_slots(ray, cpus, gpus):
            raise ConfigError(
                f"launcher=ray: no node of the cluster has {cpus:g} CPUs and {gpus:g} GPUs for a "
                "run; change launcher.cpus_per_run or launcher.gpus_per_run"
            )
        return cpus, gpus

    def receive(self, ray: ModuleType, job: Any, claimed: Claimed) -> Outcome:
        """The outcome of a task that has ended; stores its files and releases its lock."""
        from normlab.runs.recorder import record_failure

        config, lock = claimed
        identity, folder, lost = run_id(config), run_folder(config), ""
        try:
            outcome: Outcome
            outcome, files = ray.get(job)
            if lock.lost:
                reason = f"{folder}: another process took this run over, or deleted it"
                return Outcome(identity, "failed", reason)
            _store(folder, files)
            return outcome
        except ray.exceptions.TaskCancelledError:
            return Outcome(identity, "interrupted", "stopped before its start")
        except ray.exceptions.RayTaskError as error:  # before OSError, which it also is at times
            return Outcome(identity, "failed", error_line(error.cause))
        except ray.exceptions.RayError as error:
            crashed = isinstance(error, ray.exceptions.WorkerCrashedError)
            lost = (
                f"its worker or node was lost, after launcher.max_retries={self.max_retries} more "
                f"tries ({type(error).__name__}){', out of memory perhaps' * crashed}"
            )
            return Outcome(identity, "failed", lost)
        except RecordError as error:
            return Outcome(identity, "failed", str(error))
        finally:
            _give_up(claimed)
            if lost:
                record_failure(config, lost, 0.0)

    def _cancel(self, ray: ModuleType, running: Mapping[Any, Claimed]) -> None:
        """Cancel the tasks and store what those at work have measured."""
        for job in running:
            ray.cancel(job)
        ended: list[Any] = []
        try:
            if running:
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=STOP_SECONDS)
        finally:
            for job, claimed in running.items():
                if job in ended:
                    self.receive(ray, job, claimed)
                else:
                    _give_up(claimed)


def silence_news(ray: ModuleType) -> None:
    """Keep Ray from printing news of lost nodes and retries, which log_to_driver leaves.

    By a private switch; without it they are printed between the lines of the sweep.
    """
    ray._private.worker._worker_logs_enabled = False


def check_reachable(address: str) -> None:
    """Raise OSError where nothing listens at an address, ValueError where it is none.

    Ray itself would try for minutes and then end the whole process.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    elif address != "auto":
        raise ValueError("write host:port, or auto")


def count_slots(ray: ModuleType, cpus: float, gpus: float) -> int:
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


def claim(config: Config, *, force: bool) -> Claimed | Outcome:
    """The lock of a run's folder, or the run's outcome where it is finished, busy or impossible."""
    identity, folder = run_id(config), run_folder(config)
    try:
        lock = hold(config)
    except BusyError as error:
        return Outcome(identity, "busy", str(error))
    except RecordError as error:
        return Outcome(identity, "failed", str(error))
    again = force or lacks_kept(config)
    if not again and (recorded := recorded_outcome(config, FINAL)):
        lock.release()
        return recorded
    if force:
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return Claimed(config, lock)


def _give_up(claimed: Claimed) -> None:
    """Release a run's lock; the folder of a run that never began goes, too."""
    claimed.lock.release()
    with contextlib.suppress(OSError):  # it holds files
        run_folder(claimed.config).rmdir()


def _store(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a run's files, and last the summary that makes it whole; a finished run that is there
    stays until then."""
    if not files:
        return
    place = working_folder(folder, force=True)
    if place != folder:
        make_replacement(folder)
    for name in (SUMMARY_FILE, CHECKPOINT_FILE, WEIGHTS_FILE, STATE_FILE):
        (place / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == SUMMARY_FILE):
        write_whole(place / name, functools.partial(Path.write_bytes, data=files[name]))
    settle(folder)
