"""Which block of a network a layer is in, and what it is there, by the names of its modules."""

import re
from collections import Counter
from collections.abc import Sequence

from torch import nn

# What holds modules and does nothing itself, such as a stage of a ResNet.
_CONTAINERS = (nn.Sequential, nn.ModuleList)


def places_of(model: nn.Module, names: Sequence[str]) -> list[tuple[int | None, str]]:
    """The block's number and the role of every layer, by its path.

    A layer's block is the innermost module around it whose name ends in a number, that is no mere
    container and has siblings of its kind: of `h.7.attn.c_proj` it is 7 and the role
    `attn.c_proj`; of `layer2.0.conv1` it is counted through the stages. A network without blocks
    has one a layer, all of one role.
    """
    around = [_numbered(model, name) for name in names]
    repeated = _repeated(model)
    found = [
        next((path for path in paths if type(model.get_submodule(path)) in repeated), None)
        for paths in around
    ]
    if not any(found):  # each stage has a single one
        found = [paths[0] if paths else None for paths in around]
    paths = list(dict.fromkeys(path for path in found if path is not None))
    # A stage that holds blocks is none.
    paths = [path for path in paths if not any(p.startswith(f"{path}.") for p in paths)]
    if len(paths) < 2:
        return [(number, "") for number in range(len(names))]
    numbers = _numbers(paths)
    return [
        (numbers[path], name[len(path) + 1 :]) if path in numbers else (None, name)
        for path, name in zip(found, names, strict=True)
    ]


def _numbered(model: nn.Module, name: str) -> list[str]:
    """The paths of modules around a layer that may be its block, from within."""
    parts = name.split(".")
    paths = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
    return [path for path in paths if _may_be_block(path, model.get_submodule(path))]


def _may_be_block(name: str, module: nn.Module) -> bool:
    return name[-1:].isdigit() and not isinstance(module, _CONTAINERS)


def _repeated(model: nn.Module) -> set[type]:
    """The kinds of modules of which one parent has several that are numbered."""
    found: set[type] = set()
    for parent in model.modules():
        kinds = Counter(type(m) for name, m in parent.named_children() if _may_be_block(name, m))
        found.update(kind for kind, count in kinds.items() if count > 1)
    return found


def _numbers(paths: Sequence[str]) -> dict[str, int]:
    """The numbers in blocks' names where those alone tell them apart; else they are counted."""
    stems = {re.sub(r"\d+$", "", path) for path in paths}
    if len(stems) == 1:
        return {path: int(path[len(next(iter(stems))) :]) for path in paths}
    return {path: number for number, path in enumerate(paths)}
