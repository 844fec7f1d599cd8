"""Runs in worker processes on this machine, which stay alive and import PyTorch once."""

import concurrent.futures
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from normlab.config import Config, LocalLauncher, run_id
from normlab.errors import RunError
from normlab.runs.execution import holding_signals, outcome_of, record_failure
from normlab.runs.outcomes import Outcome
from normlab.runs.records import run_folder
from normlab.runs.summary import read_summary
from normlab.vocabulary import FINAL

STOP_SECONDS = 15.0


def launch(
    configs: Sequence[Config], launcher: LocalLauncher, *, force: bool
) -> Generator[Outcome, None, None]:
    """Execute runs, each in one of the workers, and yield their outcomes as they finish.

    A run whose worker dies, or that takes longer than `timeout_seconds`, costs no other run. On
    GPUs every worker keeps to one device, `runs_per_device` of them to each.
    """
    places = devices(configs[0], launcher)
    waiting = list(reversed(configs))
    with tempfile.TemporaryDirectory(prefix="normlab-") as folder:
        stop = Path(folder) / "stop"
        pool = ProcessPool(
            max_workers=min(len(places), len(configs)),
            context=multiprocessing.get_context("spawn"),
            initializer=_heed_signals,
        )
        running: dict[concurrent.futures.Future[Outcome], tuple[Config, str]] = {}
        try:
            while waiting or running:
                while waiting and places:
                    config, place = waiting.pop(), places.pop()
                    try:
                        job = pool.schedule(
                            _work,
                            args=[config, place, str(stop), os.getpid(), force],
                            timeout=launcher.timeout_seconds,
                        )
                    except RuntimeError as error:
                        raise RunError(
                            "the sweep's workers died as they started, out of memory perhaps; "
                            "the same command goes on from here"
                        ) from error
                    running[job] = config, place
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for ended in done:
                    config, place = running.pop(ended)
                    places.append(place)
                    yield _outcome(ended, config, launcher, force=force)
        except BaseException:  # Ctrl-C, or the sweep no longer listens
            stop.touch()
            concurrent.futures.wait(running, timeout=STOP_SECONDS)
            raise
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def devices(config: Config, launcher: LocalLauncher) -> list[str]:
    """The device of every worker: those of the machine in turn, or a core each.

    Named devices are repeated `runs_per_device` times; CPU workers are as many as cores.
    """
    import torch

    asked = config.runtime.device
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked in ("auto", "cuda") and gpus:
        places = [f"cuda:{i}" for _ in range(launcher.runs_per_device) for i in range(gpus)]
    elif asked == "auto" or asked == "cpu":
        places = [asked] * max(1, (os.cpu_count() or 1) // config.runtime.threads)
    else:
        places = [asked] * launcher.runs_per_device
    if launcher.workers is not None:
        places = [places[i % len(places)] for i in range(launcher.workers)]
    return places


def _heed_signals() -> None:
    # Ctrl-C and the terminal's end reach every process of it; the parent alone decides what they
    # mean. A worker's own end is its own: Pebble's handler would hide its cause.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _work(config: Config, device: str, stop: str, parent: int, force: bool) -> Outcome:
    """A worker's part: one run on its device, until the stop file is there or the parent gone."""
    runtime = config.runtime.model_copy(update={"device": device})
    placed = config.model_copy(update={"runtime": runtime})

    # SIGTERM, as a cluster sends it to every process, comes before a checkpoint and ends this one.
    with holding_signals() as polite_end:

        def stopped() -> bool:
            return polite_end() or os.getppid() != parent or Path(stop).exists()

        return outcome_of(placed, force=force, stop=stopped)


def _outcome(
    job: "concurrent.futures.Future[Outcome]",
    config: Config,
    launcher: LocalLauncher,
    *,
    force: bool,
) -> Outcome:
    identity, seconds = run_id(config), 0.0
    ended = () if force else FINAL  # with `force` a result may be the one before
    try:
        return job.result()
    except TimeoutError:
        reason = f"took longer than launcher.timeout_seconds={launcher.timeout_seconds:g}"
        seconds = launcher.timeout_seconds or 0.0
        if told := _own_words(config, ended):  # in its last moment
            return told
    except BrokenProcessPool:  # its worker died as it started
        return Outcome(identity, "interrupted", "it was not begun")
    except ProcessExpired as error:
        code = error.exitcode
        died = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        if died == "SIGTERM":
            told = _own_words(config, (*ended, "interrupted", "failed"))
            reason = "its worker was asked to end (SIGTERM) before its first step"
            return told or Outcome(identity, "interrupted", reason)
        reason = f"its worker process died ({died}), out of memory perhaps"
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    record_failure(config, reason, seconds)
    return Outcome(identity, "failed", reason, seconds=seconds)


def _own_words(config: Config, statuses: Sequence[str]) -> Outcome | None:
    """What a run's summary says, where its status is one of these."""
    summary = read_summary(run_folder(config))
    if summary is None or summary.status not in statuses:
        return None
    return Outcome.from_summary(summary)
