"""Runs in worker processes on this machine, which stay alive and import PyTorch once."""

import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.config import LAUNCHERS, Config, Count, Launcher, Positive, run_id
from normlab.runs.launchers import available_cores
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.vocabulary import FINAL

if TYPE_CHECKING:
    from normlab.runs.launchers.workers import Result

STOP_SECONDS = 15.0


@LAUNCHERS.register("local")
class LocalLauncher(Launcher):
    """Worker processes on this machine."""

    starting = "starting worker processes, which load PyTorch"
    on_this_machine = True

    workers: Count | None
    runs_per_device: Count
    timeout_seconds: Positive | None

    def launch(self, configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
        """Make runs, each in one of the workers, and yield their outcomes as they end.

        A run whose worker dies, or that takes longer than `timeout_seconds`, costs no other run.
        On GPUs every worker keeps to one device, `runs_per_device` of them to each. Raises RunError
        where no worker can start.
        """
        from normlab.runs.launchers.workers import Workers

        waiting = deque(configs)
        with tempfile.TemporaryDirectory(prefix="normlab-") as folder:
            stop = Path(folder) / "stop"
            devices = self.worker_devices(configs[0])
            with Workers(devices, stop, force, self.timeout_seconds) as workers:
                try:
                    while waiting or workers.busy:
                        workers.hand_out(waiting)
                        made = workers.wait()
                        waiting.extendleft(config for config, result in made if result is None)
                        workers.hand_out(waiting)  # none is idle while the sweep shows what came
                        for config, result in made:
                            if result is not None:
                                yield self.outcome(config, result, force=force)
                except BaseException:  # Ctrl-C, or the sweep no longer listens
                    stop.touch()
                    workers.wait_for_end(STOP_SECONDS)
                    raise

    def worker_devices(self, config: Config) -> list[str]:
        """The device of every worker: those of the machine in turn, or a core each.

        Named devices are repeated `runs_per_device` times; CPU workers are as many as cores.
        """
        from normlab.runs.launchers.gpus import gpu_count

        asked = config.runtime.device
        gpus = gpu_count() if asked in ("auto", "cuda") else 0
        if gpus:
            devices = [f"cuda:{i}" for _ in range(self.runs_per_device) for i in range(gpus)]
        elif asked == "auto" or asked == "cpu":
            devices = [asked] * max(1, available_cores() // config.runtime.threads)
        else:
            devices = [asked] * self.runs_per_device
        if self.workers is not None:
            devices = [devices[i % len(devices)] for i in range(self.workers)]
        return devices

    def outcome(self, config: Config, result: "Result", *, force: bool) -> Outcome:
        """The outcome of a run; where it brought none, what its summary says, or the cause."""
        from normlab.runs.launchers.workers import Lost, OverTime, guess
        from normlab.runs.recorder import record_failure

        identity, seconds = run_id(config), 0.0
        ended = () if force else FINAL  # with `force` a result may be the one of before
        match result:
            case Outcome():
                return result
            case OverTime(seconds):
                reason = f"took longer than launcher.timeout_seconds={seconds:g}"
                if recorded := recorded_outcome(config, ended):  # it ended at the last moment
                    return recorded
            case Lost("SIGTERM"):
                recorded = recorded_outcome(config, (*ended, "interrupted", "failed"))
                reason = "its worker was asked to end (SIGTERM) before its first step"
                return recorded or Outcome(identity, "interrupted", reason)
            case Lost(cause):
                reason = f"its worker process died ({cause}){guess(cause)}"
            case _:
                reason = result.reason
        record_failure(config, reason, seconds)
        return Outcome(identity, "failed", reason, seconds=seconds)
