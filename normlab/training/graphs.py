"""A training step as an object, which a GPU can replay from a recording of its kernels."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor

from normlab.config import Config
from normlab.errors import ConfigError
from normlab.training.step import Network, Stepped, training_step

# Steps made kernel by kernel before one is recorded: the first gives the optimizer its memory,
# which is another computation, and libraries choose their algorithms in them.
WARM_UP = 3


class Recorder(Protocol):
    """What records a computation on a device and runs it again, on the same memory."""

    def running(self) -> AbstractContextManager[None]:
        """Within, what is computed stands in order with recording and replays."""

    def record(self, compute: Callable[[], Stepped]) -> Stepped:
        """Record a computation without running it; where its results will be."""

    def replay(self) -> None:
        """Run what was recorded."""


class Step:
    """`training_step` on a network, which with a recorder is recorded at its fourth call and
    replayed after, a launch in place of some hundred.

    A replay repeats addresses and numbers, so batch and learning rate are written where it reads
    them, and what it measures is copied before the next. Relative updates are never recorded: a
    step that measures them is made kernel by kernel on the same weights.
    """

    def __init__(self, config: Config, network: Network, recorder: Recorder | None = None):
        self.config, self.network, self.recorder = config, network, recorder
        self.made = 0
        self.batch: tuple[Tensor, Tensor] | None = None  # what the recorded step reads
        if recorder is not None:
            # As a number it would be part of the recording.
            self.rate = torch.zeros((), device=network.parameters[0].device)

    def __call__(self, batch: tuple[Tensor, Tensor], lr: float, *, ratios: bool) -> Stepped:
        """One optimizer step on images and labels."""
        if self.recorder is None:
            return training_step(self.config, self.network, batch, lr, ratios=ratios)
        self.rate.fill_(lr)
        with self.recorder.running():
            if ratios or self.made < WARM_UP:
                self.made += 1
                return training_step(self.config, self.network, batch, self.rate, ratios=ratios)
            return self._replayed(self.recorder, batch)

    def _replayed(self, recorder: Recorder, batch: tuple[Tensor, Tensor]) -> Stepped:
        if self.batch is None:
            self.batch = images, labels = batch[0].clone(), batch[1].clone()
            self.stepped = recorder.record(
                lambda: training_step(
                    self.config, self.network, (images, labels), self.rate, ratios=False
                )
            )
        for place, part in zip(self.batch, batch, strict=True):
            place.copy_(part)
        recorder.replay()
        return self.stepped.copy()


class CudaGraph:
    """A recorder of an NVIDIA GPU: one CUDA graph, on a stream of its own."""

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.graph = torch.cuda.CUDAGraph()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, computations are on the graph's stream, behind what the usual one has got so far
        and before what it gets next.

        What is recorded has to have run there before, the accumulation of gradients as well.
        """
        usual = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(usual)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            usual.wait_stream(self.stream)

    def record(self, compute: Callable[[], Stepped]) -> Stepped:
        """Record a computation without running it; where its results will be."""
        with torch.cuda.graph(self.graph, stream=self.stream):
            return compute()

    def replay(self) -> None:
        """Run what was recorded."""
        self.graph.replay()


def recorder_for(graph: Literal["auto", "on", "off"], device: torch.device) -> Recorder | None:
    """What records training steps, if anything; `auto` is off until measured on a GPU.

    Raises ConfigError where a device has no graphs.
    """
    if graph != "on":
        return None
    if device.type != "cuda":
        raise ConfigError(
            f"runtime.graph=on: needs an NVIDIA GPU, this runs on {device.type}; choices here: "
            "auto, off"
        )
    return CudaGraph(device)
