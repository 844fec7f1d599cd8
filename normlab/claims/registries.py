"""Measures and demonstrations by name, as a claim's YAML has them."""

from collections.abc import Callable, Mapping
from typing import Any

from normlab.registry import Registry

# What is measured of one claim: a figure for every seed.
BySeed = Mapping[int, float]
# What a demonstration shows with one seed: figures by name.
Figures = dict[str, float]

# Functions of the evidence, and of the arguments that the YAML gives.
MEASURES: Registry[Callable[..., BySeed]] = Registry("measure", "normlab.claims.measures")
# Functions of a seed; they need PyTorch, so that only judging asks for them.
DEMONSTRATIONS: Registry[Callable[[int], Figures]] = Registry(
    "demonstration", "normlab.claims.demonstrations"
)


def measure(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a measure under its function's name."""
    MEASURES.add(function.__name__, function)
    return function
