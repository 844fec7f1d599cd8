"""Which block of a network a layer is in, and what it is there, by the names of its modules."""

import re
from collections.abc import Sequence

from torch import nn

# What holds modules and does nothing itself, such as a stage of a ResNet.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def places_of(model: nn.Module, names: Sequence[str]) -> list[tuple[int | None, str]]:
    """The block's number and the role of every layer, by its path.

    A layer's block is the innermost module around it whose name ends in a number and that is no
    mere container: of `h.7.attn.c_proj` it is 7 and the role `attn.c_proj`, of `layer2.0.conv1` it
    is counted through the stages. A network without blocks has one a layer, all of one role.
    """
    found = [_block(model, name) for name in names]
    paths = list(dict.fromkeys(path for path in found if path is not None))
    if len(paths) < 2:
        return [(number, "") for number in range(len(names))]
    numbers = _numbers(paths)
    return [
        (None, name) if path is None else (numbers[path], name[len(path) + 1 :])
        for path, name in zip(found, names, strict=True)
    ]


def _block(model: nn.Module, name: str) -> str | None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:length])
        if parts[length - 1][-1:].isdigit() and not isinstance(_at(model, path), _CONTAINERS):
            return path
    return None


def _at(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:  # the name of a parameter
        return None


def _numbers(paths: Sequence[str]) -> dict[str, int]:
    """The numbers in blocks' names where those alone tell them apart; else they are counted."""
    stems = {re.sub(r"\d+$", "", path) for path in paths}
    if len(stems) == 1:
        return {path: int(path[len(next(iter(stems))) :]) for path in paths}
    return {path: number for number, path in enumerate(paths)}
