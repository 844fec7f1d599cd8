"""How long a training is, and at which of its steps what is measured."""

import math
from dataclasses import dataclass

import numpy as np

from normlab.config import Config, ImageTensors, check_batch_size


@dataclass(frozen=True)
class Cadence:
    """The steps of a training: how many, and those at which something is looked at."""

    steps: int
    steps_per_epoch: int
    snapshots: frozenset[int]  # of the layers on the probe batch
    gradients: frozenset[int]  # whose training step's gradient norms are kept
    updates: frozenset[int]  # whose relative update is measured
    evaluation_stride: int

    def evaluates(self, step: int) -> bool:
        """Whether train and test set are evaluated before this step."""
        return step % self.evaluation_stride == 0 or step == self.steps


def plan_cadence(config: Config, dataset: ImageTensors) -> Cadence:
    """The cadence of a config on its data; raises ConfigError for a batch larger than the data."""
    steps_per_epoch = _steps_per_epoch(config, dataset)
    steps = total_steps(config, steps_per_epoch)
    snapshots = snapshot_schedule(config, steps, steps_per_epoch)
    return Cadence(
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        snapshots=snapshots,
        gradients=gradient_schedule(config, steps, snapshots),
        updates=snapshots if "update_ratio" in config.probes.measure else frozenset(),
        evaluation_stride=config.training.evaluate_every_epochs * steps_per_epoch,
    )


def total_steps(config: Config, steps_per_epoch: int) -> int:
    """The length of a training in optimizer steps."""
    if config.training.steps is not None:
        return config.training.steps
    assert config.training.epochs is not None  # Config refuses it
    return config.training.epochs * steps_per_epoch


def snapshot_schedule(config: Config, steps: int, steps_per_epoch: int) -> frozenset[int]:
    """Steps 0 and last, the end of the first epoch, and `probes.snapshots` log-spaced between."""
    if not config.probed:
        return frozenset()
    spaced = np.geomspace(1, max(steps, 1), config.probes.snapshots).round().astype(int).tolist()
    return frozenset({0, steps, *spaced, steps_per_epoch} & set(range(steps + 1)))


def gradient_schedule(config: Config, steps: int, snapshots: frozenset[int]) -> frozenset[int]:
    """The snapshots' steps and at most `probes.grad_norm_steps` evenly spread ones."""
    if "grad_norm" not in config.probes.measure:
        return frozenset()
    at_most = config.probes.grad_norm_steps
    even = range(0, steps, math.ceil(steps / at_most)) if at_most and steps else ()
    return snapshots.union(even)


def _steps_per_epoch(config: Config, dataset: ImageTensors) -> int:
    samples, batch = len(dataset.train_labels), config.training.batch_size
    check_batch_size(batch, samples)
    return samples // batch
