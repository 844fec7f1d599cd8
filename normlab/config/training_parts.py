"""What a data set, an optimizer, a schedule and a launcher are, and their registries."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from normlab.config.numbers import NonNegative
from normlab.config.parts import Choices, Part
from normlab.errors import ConfigError
from normlab.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from normlab.config.schema import Config


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """Training and test images, float32 [N, C, H, W], with labels, int64 [N], on one device."""

    train_images: "Tensor"
    train_labels: "Tensor"
    test_images: "Tensor"
    test_labels: "Tensor"
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, that of a mask too, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


def check_batch_size(batch_size: int, samples: int) -> None:
    """Raise ConfigError for a batch that is larger than the training set."""
    if batch_size > samples:
        raise ConfigError(
            f"training.batch_size={batch_size}: there {'is' if samples == 1 else 'are'} "
            f"{plural(samples, 'training sample')}; use at most training.batch_size={samples}"
        )


class DataSet(Part):
    """Training and test images with labels."""

    # Settings that say where its files lie, which cannot change what a run comes to.
    outside_identity: ClassVar[frozenset[str]] = frozenset({"root"})
    # The setting that says where a person's own files lie.
    place_key: ClassVar[str | None] = None
    # Settings that are null in configs/, and in a config what the files hold.
    told_by_files: ClassVar[tuple[str, ...]] = ()

    def pinned(self) -> Self:
        """The same with what its files tell written into its settings, as a composed config has it;
        raises DataError where they are not to be had, ConfigError where they do not fit."""
        return self

    def without_told(self, changed: set[str]) -> Self:
        """The same as before its files were looked at, where one of some settings that are to be
        changed says what is read of them."""
        return self

    @property
    def source_key(self) -> tuple[Any, ...]:
        """The same for data sets of the same files."""
        return (self.name, *(getattr(self, key, None) for key in sorted(self.outside_identity)))

    @property
    def title(self) -> str:
        """What it is called in words."""
        return self.name

    @property
    def augmentation(self) -> tuple[int, bool]:
        """Zeros that a random crop pads with on each side, and whether images are mirrored."""
        return 0, False

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of an image; None where its settings do not tell."""
        return None

    @property
    def pixels(self) -> int | None:
        """The values of an image, C·H·W, for theory; None where its settings do not tell."""
        return self.image_shape and math.prod(self.image_shape)

    @property
    def kept_share(self) -> float:
        """The mean share of an image that a random crop leaves, 1 without.

        Of height and width s each, padded by p on each side: (s − p(p+1)/(2p+1))/s.
        """
        padding = self.augmentation[0]
        if self.image_shape is None or not padding:
            return 1.0
        cut = padding * (padding + 1) / (2 * padding + 1)
        return math.prod(1 - cut / size for size in self.image_shape[1:])

    @property
    def second_moment(self) -> float | None:
        """The mean of a value's square in training, for theory; None where it is not known."""
        return None

    @property
    def is_padded(self) -> bool:
        """Whether images have one more channel than `image_shape` says, the last: 1 at real
        pixels, 0 in padding."""
        return False

    def least_rows(self, height: int) -> int:
        """How many rows of an image of so many are real, at least."""
        return height

    @property
    def samples(self) -> int | None:
        """A bound on the number of training samples; None where settings set none."""
        return None

    def training_samples(self) -> int | None:
        """A bound on the number of training samples by settings and the files of one's own; None
        where there is none without a download. Raises DataError for files that cannot be read."""
        return self.samples

    def load(self, device: "torch.device") -> ImageTensors:
        """The data set found, downloaded or drawn, cut to size, standardized, on the device."""
        raise NotImplementedError

    def fetch(self) -> None:
        """Have its files on this machine, downloaded if need be; raises DataError."""

    def content(self) -> str | None:
        """A hash of what its files hold, None where it is drawn; raises DataError.

        Settings do not say it, so that it is kept beside what a run was made with.
        """
        return None

    @classmethod
    def locate(cls, root: str | None = None) -> "Path | None":
        """The folder or file that holds it, or None where it is not on this machine."""
        return None

    @classmethod
    def has_files(cls) -> bool:
        """Whether it lies in files; else it is drawn anew."""
        return False


@dataclass
class ParameterGroup:
    """Parameters with one weight decay and rate, and what the optimizer remembers of each."""

    parameters: "list[nn.Parameter]"
    weight_decay: float
    momenta: "list[Tensor | None]"  # SGD's velocity, Adam's mean of gradients; None before a step
    squares: "list[Tensor]" = field(default_factory=list)  # Adam's mean of squared gradients
    steps: "list[Tensor]" = field(default_factory=list)  # Adam's count, for its bias correction
    rate_share: float = 1.0  # its learning rate over that of the others

    @property
    def fused(self) -> bool:
        """Whether PyTorch has fused kernels for the parameters' device."""
        return self.parameters[0].device.type in ("cpu", "cuda")


class Optimizer(Part):
    """An update of the weights along their gradients."""

    lr: NonNegative
    weight_decay: NonNegative
    decay: Literal["all", "weights"]

    def remember(self, group: ParameterGroup) -> None:
        """Give a group of parameters what the optimizer remembers before its first step."""

    def update(
        self, group: ParameterGroup, gradients: "list[Tensor]", lr: "float | Tensor"
    ) -> None:
        """One step of a group's parameters, in place.

        With `runtime.graph=on` the learning rate is a scalar on the GPU, which changes in place.
        """
        raise NotImplementedError


class Schedule(Part):
    """The learning rate as a pure function of the step."""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at training step `step` (from 0) of `steps`."""
        raise NotImplementedError


class Launcher(Part):
    """Where the runs of a sweep are made."""

    starting: ClassVar[str] = "starting"  # what it does before the first run begins
    on_this_machine: ClassVar[bool] = False  # whether its runs find the data that this process does

    def launch(self, configs: "Sequence[Config]", *, force: bool) -> Generator[Any, None, None]:
        """Make runs and yield their outcomes as they end."""
        raise NotImplementedError


DATA_SETS: Choices[DataSet] = Choices(
    "data",
    DataSet,
    *("normlab.data.digits", "normlab.data.idx", "normlab.data.cifar", "normlab.data.gaussian"),
    *("normlab.data.npz", "normlab.data.folder", "normlab.data.parquet"),
)
OPTIMIZERS: Choices[Optimizer] = Choices("optimizer", Optimizer, "normlab.training.optimizers")
SCHEDULES: Choices[Schedule] = Choices("schedule", Schedule, "normlab.training.schedules")
LAUNCHERS: Choices[Launcher] = Choices(
    "launcher",
    Launcher,
    *("normlab.runs.launchers.local", "normlab.runs.launchers.ray"),
    "normlab.runs.launchers.slurm",
)
