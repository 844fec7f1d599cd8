"""Norms of the gradients that an optimizer used, kept on the device and read now and then."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from normlab.errors import ConfigError
from normlab.measurement import accumulator, fused_norms

# Steps between two readings, at each of which the CPU waits for a GPU.
READ_EVERY = 50


_MISSING = -1.0  # the norm of a gradient that is not there; one that is NaN is another thing


class Read(NamedTuple):
    """Norms of some optimizer steps."""

    steps: list[int]  # numbered without those that were skipped
    norms: list[list[float]]  # [steps][weights]; NaN of a weight that had no gradient
    broken: int | None  # the first of the steps with a gradient that is not finite
    skipped: int  # how many other steps changed nothing


class NormRing:
    """‖∂L/∂W‖ (Frobenius) of some weights at every step, one fused computation a step and device.

    A row of a GPU's ring is copied to the CPU when `read` is called, not before. Weights that
    `fully_shard` has divided are summed over their parts then, by all processes together. Raises
    ConfigError for a division over more than one dimension.
    """

    def __init__(self, weights: Sequence[Tensor]):
        self.weights = weights
        self._mesh = _mesh_of(weights)
        self._groups: dict[torch.device, list[int]] = {}
        for place, weight in enumerate(weights):
            self._groups.setdefault(weight.device, []).append(place)
        self._rings = {
            device: torch.full(
                (READ_EVERY, len(places) + 1),
                torch.nan,
                dtype=accumulator(weights[places[0]]),
                device=device,
            )
            for device, places in self._groups.items()
        }
        self._steps: list[int] = []
        self.uncertain = False  # whether a step since it was read last may have been skipped

    @property
    def full(self) -> bool:
        """Whether it has to be read before another step."""
        return len(self._steps) == READ_EVERY

    def record(self, step: int, skipped: Tensor | None = None) -> None:
        """Keep the norms of the gradients as they are now; where `skipped` is not 0 the step, as a
        fused optimizer's under a gradient scaler, changes nothing and makes no row."""
        row = len(self._steps)
        self._steps.append(step)
        self.uncertain |= skipped is not None
        for device, places in self._groups.items():
            ring = self._rings[device]
            gradients = [self.weights[place].grad for place in places]
            present = [gradient for gradient in gradients if gradient is not None]
            if not present:
                ring[row].fill_(_MISSING)
            elif len(present) == len(gradients) and not self._special(present):
                torch.stack(fused_norms(present), out=ring[row, :-1])
            else:
                for column, gradient in enumerate(gradients):
                    ring[row, column] = (
                        _MISSING if gradient is None else self._norm(gradient, ring.dtype)
                    )
            ring[row, -1] = 0.0 if skipped is None else skipped.to(device).sum()

    def _special(self, gradients: Sequence[Tensor]) -> bool:
        return self._mesh is not None or any(g.layout != torch.strided for g in gradients)

    @staticmethod
    def _norm(gradient: Any, dtype: torch.dtype) -> Tensor:
        if hasattr(gradient, "to_local"):
            gradient = gradient.to_local()
        if gradient.layout != torch.strided:
            gradient = gradient.coalesce().values()
        found: Tensor = torch.linalg.vector_norm(gradient, dtype=dtype)
        return found

    def read(self) -> Read:
        """The steps since it was read last, which are then forgotten."""
        steps = self._steps
        self._steps, self.uncertain = [], False
        norms = np.full((len(steps), len(self.weights)), np.nan)
        skipped = np.zeros(len(steps), bool)
        for device, places in self._groups.items():
            rows = self._rings[device][: len(steps)]
            if self._mesh is not None and steps:
                rows = self._summed(rows)
            values = rows.cpu().numpy()
            norms[:, places] = values[:, :-1]
            skipped |= values[:, -1] != 0
        norms, numbers = norms[~skipped], (np.array(steps, int) - skipped.cumsum())[~skipped]
        broken = numbers[~np.isfinite(norms).all(axis=1)].tolist()
        norms[norms == _MISSING] = np.nan
        first = broken[0] if broken else None
        return Read(numbers.tolist(), norms.tolist(), first, int(skipped.sum()))

    def _summed(self, rows: Tensor) -> Tensor:
        """Norms of parts to norms of whole weights."""
        import torch.distributed as processes

        assert self._mesh is not None
        squares = rows**2
        processes.all_reduce(squares, group=self._mesh.get_group())
        return torch.where(rows == _MISSING, _MISSING, squares.sqrt())


def is_divided(weight: Tensor) -> bool:
    """Whether `fully_shard` has divided it among processes."""
    return hasattr(weight, "device_mesh")


def whole(x: Tensor) -> Tensor:
    """The value of a tensor that may be divided among processes; all of them have to ask."""
    full: Tensor = x.full_tensor() if hasattr(x, "full_tensor") else x
    return full


def _mesh_of(weights: Sequence[Any]) -> Any:
    """The processes over which `fully_shard` has divided weights, None where it has not."""
    divided = [weight for weight in weights if is_divided(weight)]
    if not divided:
        return None
    meshes = {id(weight.device_mesh): weight.device_mesh for weight in divided}
    mesh = divided[0].device_mesh
    sharded = all(p.is_shard() for weight in divided for p in weight.placements)
    if len(divided) < len(weights) or len(meshes) > 1 or mesh.ndim != 1 or not sharded:
        raise ConfigError(
            "model: only some of its weights are divided among processes, or along several "
            "dimensions; normlab.watch takes fully_shard over one"
        )
    return mesh
