"""Where the runs of a sweep are made: on this machine, by Ray, or in the jobs of a Slurm cluster.

Each launcher is a part of the config, so that its module is imported whenever a config is read:
PyTorch, multiprocessing, Ray and submitit are imported within functions only.
"""

from collections.abc import Generator, Sequence

from normlab.config import Config
from normlab.errors import ConfigError
from normlab.runs.outcomes import Outcome


def launch(configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
    """Make runs with the launcher that their configs name, all the same one.

    Closing the generator stops the runs that are going on: they keep what was measured and are
    marked interrupted.
    """
    return configs[0].launcher.launch(configs, force=force)


def cluster_device(config: Config, gpus: float, option: str) -> str:
    """The device of a run to which a cluster gives so many GPUs, set by `option`.

    Raises ConfigError where the config names a device that the cluster does not give.
    """
    asked = config.runtime.device
    if asked.startswith("cuda:"):
        raise ConfigError(
            f"runtime.device={asked}: launcher={config.launcher.name} chooses the GPU; "
            "use runtime.device=cuda"
        )
    if asked == "cuda" and not gpus:
        raise ConfigError(f"runtime.device=cuda: needs a GPU; add {option}=1")
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    return asked


def with_device(config: Config, device: str) -> Config:
    """A config whose run executes on a device."""
    runtime = config.runtime.model_copy(update={"device": device})
    return config.model_copy(update={"runtime": runtime})


def available_cores() -> int:
    """The CPU cores that this process may use: by its affinity, and by its container's quota."""
    import joblib

    return int(joblib.cpu_count())
