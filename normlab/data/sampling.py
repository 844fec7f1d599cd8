"""Which samples a subset holds; random numbers that stay the same for ever."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_balanced(labels: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """The ascending indices of `size` random samples whose class counts differ by at most one.

    A class with too few samples gives all it has and the others fill up. Of two subsets drawn with
    one seed the smaller lies within the larger.
    """
    order = random_numbers(np.random.SeedSequence(seed)).permutation(len(labels))
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    grouped = shuffled[by_class]
    # A sample's turn: how many of its class come before it. One of each class, then another.
    turn = np.empty(len(labels), np.intp)
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])


def random_numbers(seed: np.random.SeedSequence) -> np.random.RandomState:
    """A generator whose numbers a seed decides."""
    # NumPy keeps RandomState's numbers the same for ever; those of its Generator may change.
    return np.random.RandomState(np.random.MT19937(seed))
