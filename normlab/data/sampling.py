"""Which samples a subset holds; random numbers that stay the same for ever."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_balanced(labels: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """The ascending indices of `size` random samples whose class counts differ by at most one.

    A class with too few samples gives all it has and the others fill up. Of two subsets drawn with
    one seed the smaller lies within the larger.
    """
    order, turn = _turns(labels, seed)
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])


def held_out(labels: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which samples are the share of every class that is set aside: of n samples round(share·n)
    random ones, and never all.

    Of two shares drawn with one seed the smaller lies within the larger.
    """
    order, turn = _turns(labels, seed)
    _, classes, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    wanted = np.minimum(np.rint(share * counts), counts - 1)
    found = np.zeros(len(labels), dtype=bool)
    found[order[turn < wanted[classes]]] = True
    return found


def noisy_labels(labels: NDArray[Any], share: float, classes: int, seed: int) -> NDArray[Any]:
    """Labels of which round(share·N) random ones are drawn anew, each of all K classes alike (Zhang
    et al. 2017): share·(K−1)/K of all come to be wrong.

    Of two shares drawn with one seed the larger changes what the smaller does, and alike.
    """
    # A stream of its own, beside those of subsets and of drawn images.
    numbers = random_numbers(np.random.SeedSequence(seed, spawn_key=(4,)))
    chosen = numbers.permutation(len(labels))[: round(share * len(labels))]
    found = labels.copy()
    found[chosen] = numbers.randint(classes, size=len(labels))[: len(chosen)]
    return found


def _turns(labels: NDArray[Any], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A random order of samples, and the turn of each: how many of its class come before it."""
    order = random_numbers(np.random.SeedSequence(seed)).permutation(len(labels))
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    grouped = shuffled[by_class]
    turn = np.empty(len(labels), np.intp)
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    return order, turn


def random_numbers(seed: np.random.SeedSequence) -> np.random.RandomState:
    """A generator whose numbers a seed decides."""
    # NumPy keeps RandomState's numbers the same for ever; those of its Generator may change.
    return np.random.RandomState(np.random.MT19937(seed))
