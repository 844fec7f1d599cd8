"""One part of each kind, as somebody else would write it: a class or function with its facts."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import altair
import torch
from pandas import DataFrame
from rich.console import Group
from rich.text import Text
from torch import nn

from normlab.analysis import series
from normlab.config import (
    ACTIVATIONS,
    DATA_SETS,
    INITIALIZERS,
    LAUNCHERS,
    MODELS,
    NORMS,
    OPTIMIZERS,
    PROBES,
    SCHEDULES,
    Activation,
    Config,
    DataSet,
    ImageTensors,
    Initializer,
    Launcher,
    Model,
    Norm,
    Optimizer,
    Probe,
    Schedule,
)
from normlab.networks import NormActivation
from normlab.show import PICTURES, TABLE_FORMATS, Picture, Screen, Subject, TableFormat


class Centred(Norm):
    """Each feature less its mean over the batch."""

    label = "Centred"
    colour = "#123456"

    def build(self, channels: int, *, spatial: bool) -> nn.Module:  # noqa: ARG002
        class Centre(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x - x.mean(dim=0, keepdim=True)

        return Centre()


class Shallow(Model):
    """One hidden layer, whatever depth says."""

    spatial = False

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> nn.Module:
        inputs = shape[0] * shape[1] * shape[2]
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs, self.width, bias=self.bias),
            NormActivation(config, self.width, spatial=False),
            nn.Linear(self.width, classes),
        )


class Stripes(DataSet):
    """Rows or columns lit."""

    size: int

    def load(self, device: torch.device) -> ImageTensors:
        images = torch.zeros(2 * self.size, 1, self.size, self.size)
        for line in range(self.size):
            images[line, 0, line] = 1
            images[self.size + line, 0, :, line] = 1
        labels = (torch.arange(2 * self.size) >= self.size).long()
        images, labels = images.repeat(4, 1, 1, 1).to(device), labels.repeat(4).to(device)
        return ImageTensors(images, labels, images, labels, 2)


class SignDescent(Optimizer):
    """w ← w − lr·sign(g)."""

    def update(self, group: Any, gradients: list[torch.Tensor], lr: float) -> None:
        for parameter, gradient in zip(group.parameters, gradients, strict=True):
            parameter -= lr * gradient.sign()


class Halving(Schedule):
    """Half as much at every step."""

    def factor(self, step: int, steps: int) -> float:  # noqa: ARG002
        return 0.5**step


class InThisProcess(Launcher):
    """One run after the other."""

    def launch(self, configs: Sequence[Config], *, force: bool) -> Generator[Any, None, None]:
        from normlab.runs import execute_in_worker

        for config in configs:
            yield execute_in_worker(config, force=force, stop=lambda: False)


def largest_activation(seen: Any) -> torch.Tensor:
    """max |a|."""
    return seen.activation.abs().max()


def quarter(
    weight: torch.Tensor, gain: float, _std: float | None, generator: torch.Generator
) -> None:
    """U[−¼, ¼]."""
    weight.uniform_(-gain / 4, gain / 4, generator=generator)


def bar_chart(table: DataFrame, _: Subject) -> Any:
    return altair.Chart(table).mark_bar(color="#654321").encode(x="variant:N", y="value:Q")


def listed_bars(table: DataFrame, _: Subject, screen: Screen) -> Group:
    return Group(Text(f"{len(table)} bars, {screen.width} wide"))


BARS = Picture(
    about="errors as {name}",
    rows=lambda subject: series.finals(subject.runs, "train_error"),
    chart=bar_chart,
    sketch=listed_bars,
)
# One cell a line; it has neither paired differences nor verdicts.
LINES = TableFormat(
    lambda compared: "\n".join(cell.text for line in compared.layout.lines for cell in line.cells)
)

PARTS = (
    (NORMS, "centred", Centred),
    (MODELS, "shallow", Shallow),
    (DATA_SETS, "stripes", Stripes),
    (OPTIMIZERS, "sign", SignDescent),
    (SCHEDULES, "halving", Halving),
    (LAUNCHERS, "here", InThisProcess),
    # What theory would need of these two is not given: it is not known.
    (ACTIVATIONS, "square", Activation(lambda x: x * x)),
    (INITIALIZERS, "quarter", Initializer(quarter, "nobody")),
    (PROBES, "largest", Probe("largest", "largest activation", largest_activation)),
    (PICTURES, "bars", BARS),
    (TABLE_FORMATS, "lines", LINES),
)
CLAIM = """
statement: Centring learns stripes.
experiment: [norm=centred, data=stripes, model=shallow, training.batch_size=8, training.epochs=3,
  optimizer=sign, schedule=halving, "seed=0,1"]
metric: train_acc + 0
gate: [0.0, 1.0]
"""
YAML = {
    "norm/centred.yaml": "name: centred\n",
    "data/stripes.yaml": "name: stripes\nsize: 4\n",
    "model/shallow.yaml": "defaults: [mlp, _self_]\nname: shallow\ndepth: 2\nwidth: 6\n"
    "activation: square\ninit: quarter\n",
    "optimizer/sign.yaml": "name: sign\nlr: 0.01\nweight_decay: 0.0\ndecay: all\n",
    "schedule/halving.yaml": "name: halving\n",
    "launcher/here.yaml": "name: here\n",
}


def write_configs(folder: Path) -> None:
    for name, text in YAML.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
