"""Runs in worker processes on this machine, which stay alive and import PyTorch once."""

import os
import signal
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.config import LAUNCHERS, Config, Count, Launcher, Positive, run_id
from normlab.errors import RunError
from normlab.runs.launchers import with_device
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.vocabulary import FINAL

if TYPE_CHECKING:
    from pebble import ProcessPool

STOP_SECONDS = 15.0


@LAUNCHERS.register("local")
class LocalLauncher(Launcher):
    """Worker processes on this machine."""

    workers: Count | None
    runs_per_device: Count
    timeout_seconds: Positive | None

    def launch(self, configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
        """Make runs, each in one of the workers, and yield their outcomes as they end.

        A run whose worker dies, or that takes longer than `timeout_seconds`, costs no other run.
        On GPUs every worker keeps to one device, `runs_per_device` of them to each.
        """
        devices = self.worker_devices(configs[0])
        pool = _start_workers(min(len(devices), len(configs)))
        waiting = list(reversed(configs))
        running: dict[Future[Outcome], tuple[Config, str]] = {}
        with tempfile.TemporaryDirectory(prefix="normlab-") as folder:
            stop = Path(folder) / "stop"
            try:
                while waiting or running:
                    while waiting and devices:
                        config, device = waiting.pop(), devices.pop()
                        job = self._schedule(pool, with_device(config, device), stop, force=force)
                        running[job] = config, device
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for ended in done:
                        config, device = running.pop(ended)
                        devices.append(device)
                        yield self._outcome(ended, config, force=force)
            except BaseException:  # Ctrl-C, or the sweep no longer listens
                stop.touch()
                wait(running, timeout=STOP_SECONDS)
                raise
            finally:
                pool.stop()  # type: ignore[no-untyped-call]
                pool.join()

    def worker_devices(self, config: Config) -> list[str]:
        """The device of every worker: those of the machine in turn, or a core each.

        Named devices are repeated `runs_per_device` times; CPU workers are as many as cores.
        """
        import torch

        asked = config.runtime.device
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if asked in ("auto", "cuda") and gpus:
            devices = [f"cuda:{i}" for _ in range(self.runs_per_device) for i in range(gpus)]
        elif asked == "auto" or asked == "cpu":
            devices = [asked] * max(1, (os.cpu_count() or 1) // config.runtime.threads)
        else:
            devices = [asked] * self.runs_per_device
        if self.workers is not None:
            devices = [devices[i % len(devices)] for i in range(self.workers)]
        return devices

    def _schedule(
        self, pool: "ProcessPool", config: Config, stop: Path, *, force: bool
    ) -> "Future[Outcome]":
        try:
            job: Future[Outcome] = pool.schedule(
                _make_run,
                args=[config, stop, os.getpid(), force],
                timeout=self.timeout_seconds,
            )
        except RuntimeError as error:
            raise RunError(
                "the sweep's workers died as they started, out of memory perhaps; "
                "the same command goes on from here"
            ) from error
        return job

    def _outcome(self, job: "Future[Outcome]", config: Config, *, force: bool) -> Outcome:
        """A job's outcome; where its worker died, what the run's summary says or the cause."""
        from concurrent.futures.process import BrokenProcessPool

        from pebble import ProcessExpired

        from normlab.runs.recorder import record_failure

        identity, seconds = run_id(config), 0.0
        ended = () if force else FINAL  # with `force` a result may be the one of before
        try:
            return job.result()
        except TimeoutError:
            reason = f"took longer than launcher.timeout_seconds={self.timeout_seconds:g}"
            seconds = self.timeout_seconds or 0.0
            if recorded := recorded_outcome(config, ended):  # it ended at the last moment
                return recorded
        except BrokenProcessPool:  # its worker died as it started
            return Outcome(identity, "interrupted", "it was not begun")
        except ProcessExpired as error:
            cause = _cause_of_death(error.exitcode)
            if cause == "SIGTERM":
                recorded = recorded_outcome(config, (*ended, "interrupted", "failed"))
                reason = "its worker was asked to end (SIGTERM) before its first step"
                return recorded or Outcome(identity, "interrupted", reason)
            reason = f"its worker process died ({cause}), out of memory perhaps"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        record_failure(config, reason, seconds)
        return Outcome(identity, "failed", reason, seconds=seconds)


def _start_workers(count: int) -> "ProcessPool":
    import multiprocessing

    from pebble import ProcessPool

    return ProcessPool(
        max_workers=count,
        context=multiprocessing.get_context("spawn"),
        initializer=_set_signal_handlers,
    )


def _set_signal_handlers() -> None:
    # Ctrl-C and a closed terminal reach all of its processes; the parent alone decides what they
    # mean. Pebble's own handler of SIGTERM would hide why a worker died.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _make_run(config: Config, stop: Path, parent: int, force: bool) -> Outcome:
    """A worker's part: one run, until the stop file is there or the parent process is gone."""
    from normlab.runs.execution import execute_in_worker
    from normlab.runs.signals import stop_on_signals

    # A cluster sends SIGTERM to every process of a job: the run keeps a checkpoint, then it ends.
    with stop_on_signals() as asked_to_end:

        def stopped() -> bool:
            return asked_to_end() or os.getppid() != parent or stop.exists()

        return execute_in_worker(config, force=force, stop=stopped)


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
