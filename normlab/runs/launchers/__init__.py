"""Where runs execute: `launch` takes configs and yields their outcomes as they finish."""

from collections.abc import Generator, Sequence

from normlab.config import Config, LocalLauncher, RayLauncher, SlurmLauncher
from normlab.errors import ConfigError
from normlab.runs.outcomes import Outcome


def launch(configs: Sequence[Config], *, force: bool) -> Generator[Outcome, None, None]:
    """Execute runs under the launcher that their configs name, all the same one.

    Closing the generator stops the runs that are going on: they keep what was measured and are
    marked interrupted.
    """
    match configs[0].launcher:
        case LocalLauncher() as launcher:
            from normlab.runs.launchers import local

            return local.launch(configs, launcher, force=force)
        case RayLauncher() as launcher:
            from normlab.runs.launchers import ray

            return ray.launch(configs, launcher, force=force)
        case SlurmLauncher() as launcher:
            from normlab.runs.launchers import slurm

            return slurm.launch(configs, launcher, force=force)


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
