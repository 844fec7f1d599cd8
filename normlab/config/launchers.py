"""The settings of the launchers."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from normlab.config.parts import Count, Launcher, NonNegative, Positive, Whole


class LocalLauncher(Launcher):
    """Worker processes on this machine."""

    name: Literal["local"]
    workers: Count | None
    runs_per_device: Count
    timeout_seconds: Positive | None


class RayLauncher(Launcher):
    """Tasks of a Ray cluster."""

    name: Literal["ray"]
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


class SlurmLauncher(Launcher):
    """Jobs of a Slurm cluster, each of which works through many runs."""

    name: Literal["slurm"]
    cluster: Literal["slurm", "local", "debug"]
    partition: str | None
    minutes: Count
    cpus_per_job: Count
    gpus_per_job: Whole
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
