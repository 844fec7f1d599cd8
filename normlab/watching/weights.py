"""Which weights of a network are watched, and the layer that each belongs to."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from normlab.errors import ConfigError
from normlab.text import did_you_mean, some_of
from normlab.watching.blocks import places_of

# Of weight normalization: lengths, whose directions are the parameter beside.
_LENGTHS = ("weight_g", "original0")
_PARAMETRIZED = ".parametrizations."


@dataclass(frozen=True, eq=False)
class WatchedWeight:
    """A weight W of two or more dimensions, and the layer whose linear output z it makes."""

    name: str  # its module's path, such as `h.7.attn.c_proj`
    kind: str  # conv | linear | embedding | attention | recurrent | weight
    parameter: nn.Parameter
    # Whose output is z; None where no module's is: of attention's projections of its inputs, of
    # recurrent weights, of a position's embedding.
    module: nn.Module | None
    block: int | None  # the number of the block that it is in, None outside of all blocks
    role: str  # what it is within its block, such as `attn.c_proj`


def bare(model: nn.Module) -> nn.Module:
    """The network itself, out of what `torch.compile` and data parallelism wrap around it.

    Hooks that are added to a compiled module never fire.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if parallel:
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def watched_weights(model: nn.Module, select: str | Sequence[str] | None) -> list[WatchedWeight]:
    """The trainable weights of two or more dimensions, in the order in which they are defined.

    A weight that several modules share counts once, under its first name. `select` keeps those
    whose name fits one of some patterns, as `blocks.*` does. Raises ConfigError where none is left.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model={type(model).__name__}: no network; give a torch.nn.Module")
    _refuse_flat_and_lazy(model)
    found = list(_weights(model))
    if not found:
        frozen = any(p.ndim > 1 for p in model.parameters())
        raise ConfigError(
            f"model={type(model).__name__}: none of its parameters is a weight of two or more "
            f"dimensions{' that is trained; all have requires_grad=False' if frozen else ''}"
        )
    chosen = _selected(found, select)
    meta = [name for name, _, parameter, _ in chosen if parameter.is_meta]
    if meta:
        raise ConfigError(f"model={type(model).__name__}: {meta[0]} is on the meta device, empty")
    blocks = places_of(model, [name for name, *_ in chosen])
    return [
        WatchedWeight(name, kind, parameter, module, *place)
        for (name, kind, parameter, module), place in zip(chosen, blocks, strict=True)
    ]


def _refuse_flat_and_lazy(model: nn.Module) -> None:
    # By its name: its module needs what not every build of PyTorch has.
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise ConfigError(
            "model: FullyShardedDataParallel holds many weights in one flat parameter; use "
            "fully_shard"
        )
    for name, parameter in model.named_parameters():
        if type(parameter).__name__ == "UninitializedParameter":
            raise ConfigError(
                f"model: {name} has no size yet, as it is lazy; run one batch through it first"
            )


def _weights(model: nn.Module) -> Iterator[tuple[str, str, nn.Parameter, nn.Module | None]]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        if _PARAMETRIZED in f".{path}.":
            continue
        own = [
            (name, parameter)
            for name, parameter in _own_parameters(module)
            if parameter.requires_grad
            and parameter.is_floating_point()
            and _is_weight(name, parameter)
        ]
        lone = len(own) == 1 and not any(map(_has_weights, _parts(module)))
        for name, parameter in own:
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            parent = model.get_submodule(path.rpartition(".")[0])
            kind, layer = _layer(module, parent, lone=lone)
            yield path if lone and path else f"{path}.{name}".strip("."), kind, parameter, layer


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The modules that have a weight of two or more dimensions, trained or not, and run as one."""
    attention = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    within = {child for module in attention for child in module.children()}
    return [
        module
        for path, module in model.named_modules()
        if _PARAMETRIZED not in f".{path}."
        and module not in within
        and any(_is_weight(name, parameter) for name, parameter in _own_parameters(module))
        and (module in attention or not any(map(_has_weights, _parts(module))))
    ]


def norms_of(model: nn.Module) -> list[nn.Module]:
    """The modules that have a γ, by their classes' names: LayerNorm, LlamaRMSNorm, DynamicTanh."""
    kinds = ("norm", "dynamictanh", "dyt")
    return [
        module
        for module in model.modules()
        if any(kind in type(module).__name__.lower() for kind in kinds)
        and "weight" in dict(module.named_parameters(recurse=False))
    ]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The modules within one, without what makes its weights."""
    return (child for name, child in module.named_children() if name != "parametrizations")


def _own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A module's own parameters by name, parametrized ones by the name of what they make."""
    for name, parameter in module.named_parameters(recurse=False):
        if name.rpartition(".")[2] not in _LENGTHS:
            yield name, parameter
    parametrizations = getattr(module, "parametrizations", None)
    if isinstance(parametrizations, nn.ModuleDict):
        for name, made in parametrizations.items():
            originals = dict(made.named_parameters(recurse=False))
            chosen = originals.get("original1", originals.get("original"))
            if chosen is not None:
                yield name, chosen


def _is_weight(name: str, parameter: nn.Parameter) -> bool:
    """Whether it has two dimensions that count; a token or a scale of shape [1, 1, n] has one."""
    if parameter.ndim < 2:
        return False
    return "weight" in name or sum(size > 1 for size in parameter.shape) > 1


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


_KINDS: tuple[tuple[str, Any], ...] = (
    ("conv", _ConvNd),
    ("linear", nn.Linear),
    ("embedding", (nn.Embedding, nn.EmbeddingBag)),
    ("attention", nn.MultiheadAttention),
    ("recurrent", (nn.RNNBase, nn.RNNCellBase)),
)


def _layer(module: nn.Module, parent: nn.Module, *, lone: bool) -> tuple[str, nn.Module | None]:
    """What kind of layer a module's weight makes, and the module whose output is z."""
    if isinstance(parent, nn.MultiheadAttention):  # which calls its output layer's function alone
        return "linear", parent
    kind = next((kind for kind, types in _KINDS if isinstance(module, types)), "weight")
    if type(module).__name__ == "Conv1D" and kind == "weight":  # a linear layer of transformers
        kind = "linear"
    return kind, module if lone and kind not in ("attention", "recurrent") else None


def _selected(
    found: list[tuple[str, str, nn.Parameter, nn.Module | None]],
    select: str | Sequence[str] | None,
) -> list[tuple[str, str, nn.Parameter, nn.Module | None]]:
    if select is None:
        return found
    patterns = [select] if isinstance(select, str) else list(select)
    names = [name for name, *_ in found]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(
                f"select={pattern}: no weight has such a name; there are {some_of(names, 4)}"
                f"{did_you_mean(pattern, names)}"
            )
    return [each for each in found if any(fnmatch.fnmatchcase(each[0], p) for p in patterns)]
