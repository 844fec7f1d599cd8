"""A watched training of one step, and whether its rows are the reference's."""

from typing import Any

import numpy as np
import pandas
import torch
from torch import nn

from normlab.watching import Watch
from tests.watching.oracle import ASKED, SNAPSHOT, Case, expected, output_of, widened

RATE = 0.1


def of_first_step(case: Case, *, double: bool) -> pandas.DataFrame:
    """Rows of step 0 by name: the training's batch is the probe batch, its optimizer SGD."""
    model, probe = case.build(), case.probe()
    if double:
        model, probe = model.double(), widened(probe)
    x, y, loss_fn = probe
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    with Watch(model, probe=probe, measure=ASKED) as watch:
        torch.manual_seed(0)
        loss_fn(output_of(model, x), y).backward()
        optimizer.step()
    rows = watch.frame()
    assert rows["step"].max() == 1
    return rows[rows["step"] == 0].set_index("name")


def gradients(case: Case) -> dict[str, float]:
    """‖∂L/∂W‖ of every parameter by its name, in float64."""
    model: nn.Module = (case.plain or case.build)().double()
    x, y, loss_fn = widened(case.probe())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss_fn(output_of(model, x), y).backward()
    return {
        name: parameter.grad.pow(2).sum().sqrt().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def agrees(case: Case, *, double: bool, rel: float) -> None:
    """Assert that a first step's rows are those of the definitions."""
    rows = of_first_step(case, double=double)
    reference = expected(case)
    for name, values in reference.items():
        for key in (*SNAPSHOT, *ASKED):
            _close(rows.loc[name, key], values[key], f"{case.name}: {key} of {name}", rel)
    weights = dict(case.build().named_parameters())
    for name, value in gradients(case).items():
        for row in {name, name.removesuffix(".weight")} & set(rows.index):
            _close(rows.loc[row, "grad_norm"], value, f"{case.name}: grad_norm of {row}", rel)
            if double:  # in float32 a small step is a rough one
                ratio = RATE * value / weights[name].detach().double().norm().item()
                _close(rows.loc[row, "update_ratio"], ratio, f"{case.name}: update of {row}", rel)


def _close(found: Any, wanted: float, what: str, rel: float) -> None:
    # Means near 0 are as exact as the numbers they are the mean of.
    assert np.isclose(found, wanted, rtol=rel, atol=rel / 10, equal_nan=True), (
        f"{what}: {found} is not {wanted}"
    )


class Used:
    """The norms of the gradients that an optimizer has used, by how far its weights went.

    Of SGD without momentum, whose step is its rate times the gradient; no hook is asked.
    """

    def __init__(self, model: nn.Module, rate: float = RATE):
        self._parameters = dict(model.named_parameters())
        self._rate = rate
        self._last = self._now()
        self.steps: list[dict[str, float]] = []

    def stepped(self) -> None:
        """Note a step that was just taken."""
        now = self._now()
        moves = {name: (now[name] - self._last[name]).norm().item() for name in now}
        self.steps.append({name: move / self._rate for name, move in moves.items()})
        self._last = now

    def _now(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().double().clone() for name, p in self._parameters.items()}


def grad_norms(watch: Watch) -> dict[int, dict[str, float]]:
    """grad_norm by step and name, of the rows that have one."""
    rows = watch.frame().dropna(subset="grad_norm")
    assert not rows.duplicated(["step", "name"]).any()
    return {
        int(step): dict(zip(group["name"], group["grad_norm"], strict=True))
        for step, group in rows.groupby("step")
    }


def equal_used(watch: Watch, used: Used, rel: float = 1e-9) -> None:
    """Assert that a watch has a row of each step and weight, with the norm that was used."""
    found = grad_norms(watch)
    assert list(found) == list(range(len(used.steps)))
    for step, norms in enumerate(used.steps):
        for weight in watch.weights:
            name = next(n for n in norms if n in (weight.name, f"{weight.name}.weight"))
            _close(found[step][weight.name], norms[name], f"step {step}: {weight.name}", rel)
    assert watch.step == len(used.steps)
