"""A training in progress: its state, and the actions of which the loop is made."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normlab.config import PROBES, Config
from normlab.measurement import (
    ProbeBatch,
    eval_mode_loss,
    measured_of,
    moves_along_gradient,
    snapshot,
    train_mode_loss,
)
from normlab.training.cadence import plan_cadence
from normlab.training.devices import (
    check_precision,
    gpu_algorithms,
    make_current,
    matrix_products,
    select_device,
)
from normlab.training.evaluation import Scores, evaluate
from normlab.training.events import (
    Checkpoint,
    Ended,
    Evaluation,
    Event,
    LayerName,
    Measurement,
    Progress,
    Started,
)
from normlab.training.graphs import Step, recorder_for
from normlab.training.schedules import learning_rate
from normlab.training.step import Stepped, build_network, checkpoint_state, restore
from normlab.training.streams import batches_from, draw_probe_batch, load_data
from normlab.vocabulary import METRICS

# Training steps between two readings of what they measured: at each one the CPU waits for the GPU.
READ_EVERY = {"cpu": 1, "gpu": 50}

# Samples of a snapshot's part, however small the batches of training are: fewer would be slow.
LEAST_PART = 32

# A probe's values of all layers, by the probe's name, still on the device.
Columns = dict[str, Tensor]


class Unread(NamedTuple):
    """What was measured at a step and is still on the device."""

    step: int
    columns: Columns
    stepped: Stepped | None  # by the training step from there; None behind the last one

    def tensors(self) -> Columns:
        """All of it, by name: the loss as well, and what clipping left of the gradient."""
        found = dict(self.columns)
        if self.stepped is not None:
            found["loss"] = self.stepped.loss
            if self.stepped.clip_factor is not None:
                found["clip_factor"] = self.stepped.clip_factor
        return found


def probe_part(config: Config) -> int | None:
    """How many samples a snapshot looks at together: no more than a training step, where a norm
    leaves samples independent; None, all of them, under a norm over the batch."""
    over_batch = config.norm.over_batch and config.model.uses_norm
    return None if over_batch else max(config.training.batch_size, LEAST_PART)


class Session:
    """A network, its data, and how far its training has come.

    Sets the process's number of threads. Raises ConfigError for a device or batch size that cannot
    be, DataError for damaged data.
    """

    def __init__(
        self,
        config: Config,
        resume: Mapping[str, Any] | None,
        stop: Callable[[], bool],
        progress_seconds: float,
    ):
        device = select_device(config.runtime.device)
        make_current(device)
        check_precision(config.training.precision, device)
        torch.set_num_threads(config.runtime.threads)
        self.config, self.stop, self.progress_seconds = config, stop, progress_seconds
        self.dataset = load_data(config.data, device)
        self.cadence = plan_cadence(config, self.dataset)
        self.network = build_network(config, self.dataset)
        self.probe_batch = draw_probe_batch(config, self.dataset)
        self.probes = [name for name in config.probed if PROBES[name].measure]
        self.layer_names = [
            LayerName(layer.index, layer.name, layer.kind, layer.block, layer.role)
            for layer in self.network.layers
        ]
        self.first_step = restore(self.network, resume) if resume else 0
        self.batches = batches_from(
            config, self.dataset, self.first_step, self.cadence.steps_per_epoch
        )
        self.batch_loss: float = resume["batch_loss"] if resume else math.nan
        self.clip_factor: float = resume["clip_factor"] if resume else math.nan
        self.seconds_before: float = resume["seconds"] if resume else 0.0
        self.step = Step(config, self.network, recorder_for(config.runtime.graph, device))
        self.unread: list[Unread] = []
        self.read_every = READ_EVERY["cpu" if device.type == "cpu" else "gpu"]
        # The training step whose loss or gradient was found not to be finite.
        self.broken_step: int | None = None
        self.start_clock()

    def started(self) -> Started:
        """What will be trained, and how far it has come already."""
        return Started(
            device=str(self.dataset.train_images.device),
            parameters=sum(p.numel() for p in self.network.parameters),
            layers=len(self.network.layers),
            classes=self.dataset.classes,
            steps=self.cadence.steps,
            steps_per_epoch=self.cadence.steps_per_epoch,
            resumed=self.first_step,
        )

    def repeatably(self) -> AbstractContextManager[None]:
        """Within, a GPU gives the same bits every time, where runtime.deterministic asks for it."""
        device = self.dataset.train_images.device
        return gpu_algorithms(device, deterministic=self.config.runtime.deterministic)

    def start_clock(self) -> None:
        """Count the time from now on: what the receiver of `Started` took to prepare is no part."""
        self.began = time.perf_counter()
        self.last: dict[str, float] = {}  # when the loop did what is done at times

    @property
    def seconds(self) -> float:
        """The time of training so far, that before the checkpoint it resumed from included."""
        return self.seconds_before + time.perf_counter() - self.began

    # ------------------------------------------------------------------------ diverging

    def has_diverged(self, step: int) -> bool:
        """Whether a training step before this one left a loss or gradient that is not finite, as
        far as they were read."""
        if self.broken_step is None and step == self.cadence.steps:
            # The last update has no training step after it whose loss would show it.
            last = self.probe_loss(train_mode_loss)
            self.broken_step = None if math.isfinite(last) else step
        return self.broken_step is not None

    def end_diverged(self, step: int) -> Iterator[Evaluation | Ended]:
        """The last events of a training that has diverged: its broken weights' scores, its end.

        There are none where it is stopped meanwhile.
        """
        assert self.broken_step is not None
        evaluation = self.evaluate(step)
        if evaluation is not None:
            yield evaluation
            yield Ended("diverged", self.broken_step, self.network.model)

    # ------------------------------------------------------------------------ measuring

    def evaluate(self, step: int) -> Evaluation | None:
        """Loss and accuracy of the weights after so many steps; None where it is stopped."""
        with self.repeatably():
            scores = evaluate(self.network.model, self.dataset, self.config.training, self.stopping)
        if scores is None:
            return None
        # Wherever there is a snapshot, that of an early end too.
        ends = bool(self.probes) and self.has_come_to_value(step, scores)
        probed = step in self.cadence.snapshots or ends
        return Evaluation(
            step=step,
            epoch=step / self.cadence.steps_per_epoch,
            **scores._asdict(),
            batch_loss=self.batch_loss,
            clip_factor=self.clip_factor,
            probe_loss_train_mode=self.probe_loss(train_mode_loss) if probed else math.nan,
            probe_loss_eval_mode=self.probe_loss(eval_mode_loss) if probed else math.nan,
            lr=self.rate(step),
            seconds=self.seconds,
        )

    def probe_loss(self, measure: Callable[[nn.Module, ProbeBatch], Tensor]) -> float:
        """The loss of the probe batch in train or in eval mode, brought from the device."""
        with matrix_products("fp32"), self.repeatably():
            return measure(self.network.model, self.probe_batch).item()

    def snapshot(self, step: int, *, due: bool = False) -> Columns:
        """What the layers do with the probe batch, if a snapshot is due."""
        if not (due or step in self.cadence.snapshots) or not self.probes:
            return {}
        of_moves = [name for name in self.probes if PROBES[name].of_moves]
        others = [name for name in self.probes if name not in of_moves]
        seen = self.network.model, self.network.layers, self.probe_batch
        part = probe_part(self.config)
        with matrix_products("fp32"), self.repeatably():
            measured = snapshot(*seen, others, part).unbind(dim=1) if others else ()
            columns = dict(zip(others, measured, strict=True))
            if of_moves:
                moves = moves_along_gradient(*seen, self.rate(step), part)
                columns |= measured_of(moves, of_moves)
        return columns

    def rate(self, step: int) -> float:
        """The learning rate of the training step from so many steps on, behind the last one that of
        the last; NaN where there are none."""
        steps = self.cadence.steps
        return learning_rate(self.config, min(step, steps - 1), steps) if steps else math.nan

    # ------------------------------------------------------------------------- training

    def train(self, step: int) -> Stepped:
        """One optimizer step."""
        batch = next(self.batches)
        rate = learning_rate(self.config, step, self.cadence.steps)
        with self.repeatably():
            return self.step(batch, rate, ratios=step in self.cadence.updates)

    def keep(self, step: int, columns: Columns, stepped: Stepped | None) -> None:
        """Keep what was measured at a step, and by the training step from there, to be read."""
        if stepped is not None and step in self.cadence.gradients:
            columns = columns | {"grad_norm": stepped.norms}
        if stepped is not None and stepped.ratios is not None:
            columns = columns | {"update_ratio": stepped.ratios}
        self.unread.append(Unread(step, columns, stepped))

    def must_read(self, step: int) -> bool:
        """Whether what is unread is brought from the device after this step."""
        return (step + 1) % self.read_every == 0 or step + 1 >= self.cadence.steps

    def read(self) -> list[Measurement]:
        """Bring what is unread from the device in one copy, for which the CPU waits.

        What was measured of the layers comes back, up to the first step whose loss or gradient was
        not finite.
        """
        unread, self.unread = self.unread, []
        found = []
        for seen, values in zip(unread, _brought([seen.tensors() for seen in unread]), strict=True):
            (self.batch_loss,) = values.pop("loss", [self.batch_loss])
            (self.clip_factor,) = values.pop("clip_factor", [self.clip_factor])
            if values:
                found.append(Measurement(seen.step, self.layer_names, values))
            if seen.stepped is not None and not math.isfinite(self.batch_loss):
                self.broken_step = seen.step
                break
        return found

    def progress_due(self) -> bool:
        """Whether it is time for a sign of life; if so, it is given."""
        return self._due("progress", self.progress_seconds)

    def progress(self, steps_done: int) -> Progress:
        """A sign of life, with the loss that was read last."""
        return Progress(steps_done, self.batch_loss)

    def checkpoint_due(self) -> bool:
        """Whether the state is to be kept now, by the clock; if so, it is."""
        every = self.config.runtime.checkpoint_seconds
        return every > 0 and self._due("checkpoint", every)

    def state(self, steps_done: int) -> dict[str, Any]:
        """All that training needs to go on from here."""
        return checkpoint_state(
            self.network, steps_done, self.batch_loss, self.clip_factor, self.seconds
        )

    def checkpoint(self, steps_done: int) -> Checkpoint:
        """The state, to be kept at once."""
        return Checkpoint(self.state(steps_done))

    def _due(self, what: str, every_seconds: float) -> bool:
        """Whether this was done so long ago; if so, it is done now."""
        now = time.perf_counter()
        if now - self.last.get(what, self.began) <= every_seconds:
            return False
        self.last[what] = now
        return True

    # --------------------------------------------------------------------- ending early

    def stopping(self) -> bool:
        """Whether training is to stop, which is asked now and then."""
        return self._due("question", self.progress_seconds) and self.stop()

    def ending(self, steps_done: int) -> Callable[[int], Iterator[Event]] | None:
        """How training that is stopped or out of time ends; None where it goes on."""
        if self.stopping():
            return self.end_stopped
        return self.end_late if self.is_late(steps_done) else None

    def is_late(self, steps_done: int) -> bool:
        """Whether training.max_seconds are over and there are steps left."""
        limit = self.config.training.max_seconds
        return limit is not None and steps_done < self.cadence.steps and self.seconds >= limit

    def has_come_to_value(self, step: int, scores: Scores | Evaluation) -> bool:
        """Whether training.stop_metric is at training.stop_value or better, with steps left."""
        training = self.config.training
        if training.stop_metric is None or step == self.cadence.steps:
            return False
        assert training.stop_value is not None  # Config refuses it
        found: float = getattr(scores, training.stop_metric)
        lower = METRICS[training.stop_metric].better == "lower"
        return found <= training.stop_value if lower else found >= training.stop_value

    def end_early(self, step: int) -> Iterator[Measurement | Ended]:
        """The last events of a training that has come to its value: the layers' state, its end."""
        if columns := self.snapshot(step, due=True):
            self.keep(step, columns, None)
            yield from self.read()
        yield Ended("stopped", step, self.network.model)

    def end_late(self, steps_done: int) -> Iterator[Progress | Checkpoint | Ended]:
        """The last events of a training that is out of time: its state, from which it goes on."""
        yield from self.end_stopped(steps_done)
        yield Ended("timeout", steps_done, self.network.model)

    def end_stopped(self, steps_done: int) -> Iterator[Progress | Checkpoint]:
        """The last events of a training that is stopped: how far it has come, and its state."""
        yield self.progress(steps_done)
        if self.config.runtime.checkpoint_seconds:
            yield self.checkpoint(steps_done)


def _brought(parts: Sequence[Columns]) -> list[dict[str, list[float]]]:
    """Tensors on one device as lists of their numbers."""
    tensors = [tensor.flatten() for part in parts for tensor in part.values()]
    numbers = iter(torch.cat(tensors).tolist() if tensors else ())
    return [
        {name: list(itertools.islice(numbers, tensor.numel())) for name, tensor in part.items()}
        for part in parts
    ]
