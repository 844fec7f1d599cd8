"""What a training yields as it goes."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Started:
    """The network and the data stand; training begins."""

    device: str
    parameters: int
    layers: int
    classes: int
    steps: int
    steps_per_epoch: int
    resumed: int = 0  # the step that it goes on from


@dataclass(frozen=True)
class Progress:
    """A sign of life between measurements, about every `PROGRESS_SECONDS`."""

    step: int
    batch_loss: float


@dataclass(frozen=True)
class Evaluation:
    """A row of metrics.parquet, whose columns are these fields."""

    step: int
    epoch: float
    train_loss: float
    train_acc: float
    test_loss: float
    test_acc: float
    batch_loss: float  # of the last training step that was read; NaN before
    lr: float  # of the step that comes next, or came last
    seconds: float  # since training began
    # What clipping left of the gradient whose loss `batch_loss` is, min(1, clip_norm/‖g‖); NaN
    # without clipping.
    clip_factor: float = math.nan
    # Of the probe batch, at evaluations with a snapshot; NaN at others. In train mode BatchNorm
    # normalizes by the batch, in eval mode by its running statistics.
    probe_loss_train_mode: float = math.nan
    probe_loss_eval_mode: float = math.nan

    def as_row(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class LayerName:
    """Which layer a row of layers.parquet is about."""

    layer: int  # from 1 at the input
    name: str
    kind: str  # conv | linear
    block: int | None = None  # the block of an encoder that it is in, from 1; None outside of them
    role: str = ""  # its role there, such as query


@dataclass(frozen=True)
class Measurement:
    """What was measured of every layer at one step."""

    step: int
    layers: Sequence[LayerName]
    probes: Mapping[str, Sequence[float]]  # by name, a value for each layer

    def rows(self) -> list[dict[str, Any]]:
        """The rows of layers.parquet, one a layer; where blocks are, with these and roles."""
        has_roles = any(layer.role for layer in self.layers)
        return [
            {
                "step": self.step,
                "layer": layer.layer,
                "name": layer.name,
                "kind": layer.kind,
                **({"block": layer.block, "role": layer.role} if has_roles else {}),
                **{probe: values[position] for probe, values in self.probes.items()},
            }
            for position, layer in enumerate(self.layers)
        ]


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on from here: tensors and numbers, to be kept at once.

    The batches, the augmentation and the learning rate are functions of seed and step, so that
    nothing random is in it.
    """

    state: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The last event, of a status in the vocabulary and the step at which it came to it.

    `finished`; `diverged` at the step of a loss or gradient that is not finite; `stopped` where
    training.stop_metric came to its value; `timeout` at training.max_seconds.
    """

    status: str
    step: int
    model: "nn.Module"
    state: Mapping[str, Any] | None = None  # of a finished one: as of a checkpoint at its last step


Event = Started | Progress | Evaluation | Measurement | Checkpoint | Ended
METRIC_COLUMNS = tuple(field.name for field in dataclasses.fields(Evaluation))
# Files of every version have these; the others came later.
OLDEST_METRIC_COLUMNS = METRIC_COLUMNS[: METRIC_COLUMNS.index("seconds") + 1]
LAYER_COLUMNS = ("step", "layer", "name", "kind")
PLACE_COLUMNS = ("block", "role")  # behind those, where layers are in blocks
