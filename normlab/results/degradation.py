"""Train errors that grew with depth: where depth did it, and what else may have.

Depth is blamed for nothing that another setting, a bad gradient or a short training explains.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from normlab.errors import RecordError
from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.results.nets import Net
from normlab.runs import read_table
from normlab.text import percent, some_of

# Claim C14: so much more train error of the deeper net is degradation, after a short training where
# it may be mere slowness. After a full schedule the claim asks for less, 0.015.
DEGRADED_SPEED = 0.05
# A first layer with less than this of the last one's gradient at init learns late.
LOW_INIT_RATIO = 0.1
# A train loss that falls by this share in the last quarter of the steps has not come to its end;
# of degraded nets it was 0.004 at most, of nets stopped after 2 of 15 epochs 0.09 and more.
STILL_FALLING = 0.05
# The tables of so many runs of a net are looked at.
_MOST_READ = 10


def degraded(shallow_error: float, deep_error: float) -> bool:
    """Whether a deeper net's train error is larger by more than claim C14 allows, 5 points."""
    return deep_error - shallow_error > DEGRADED_SPEED


class _Ladder(NamedTuple):
    """A variant from its shallowest to its deepest net, and where it is worse than before."""

    variant: str
    degraded: list[str]  # with a healthy gradient: from which error to which
    confounded: dict[str, list[str]]  # what may be the cause instead, and the depths with it
    kept: bool  # its deepest net is about as good as its best
    compared: bool  # two of its nets differ in depth alone


def depth_sentence(nets: Sequence[Net]) -> str:
    """Where depth degraded the train error; empty where no two nets differ in depth alone."""
    ladders = [
        _ladder(name, list(group))
        for name, group in itertools.groupby(nets, key=lambda net: net.variant)
    ]
    confounded = [
        f"{ladder.variant} at {', '.join(depths)} ({cause})"
        for ladder in ladders
        for cause, depths in ladder.confounded.items()
    ]
    worse = [
        f"{ladder.variant} from {ladder.degraded[-1]}" for ladder in ladders if ladder.degraded
    ]
    kept = [ladder.variant for ladder in ladders if ladder.kept]
    aside = f"Worse with depth, but confounded: {some_of(confounded)}." if confounded else ""
    said = ""
    if worse:
        but = f"; not in {some_of(kept)}" if kept else ""
        said = (
            "Depth itself made the train error worse, with a healthy gradient: "
            f"{some_of(worse)}{but}. (Evidence of speed, not of a full schedule.)"
        )
    elif any(ladder.compared for ladder in ladders):
        said = "Depth degraded no train error by more than 5 points where the gradient was healthy."
    return " ".join(filter(None, (said, aside)))


def _ladder(variant: str, nets: list[Net]) -> _Ladder:
    nets = sorted((net for net in nets if net.error == net.error), key=lambda net: net.depth)
    fallen: list[str] = []
    confounded: dict[str, list[str]] = {}
    compared = kept = False
    for i, deep in enumerate(nets[1:], start=1):
        alike = [net for net in nets[:i] if net.beside == deep.beside]
        compared |= bool(alike)
        best = min(alike or nets[:i], key=lambda net: net.error)
        kept = bool(alike) and not degraded(best.error, deep.error)
        if not alike or kept:
            best = min(nets[:i], key=lambda net: net.error)
        if not degraded(best.error, deep.error):
            continue
        cause = _goes_along(best, deep) or _other_cause(deep)
        if cause:
            confounded.setdefault(cause, []).append(f"{deep.depth:g}")
            continue
        fallen.append(
            f"{percent(best.error)} at depth {best.depth:g} to "
            f"{percent(deep.error)} at {deep.depth:g}"
        )
    return _Ladder(variant, fallen, confounded, kept and not fallen, compared)


def _goes_along(shallow: Net, deep: Net) -> str:
    """The keys, with their values, in which two nets differ beside their depth."""
    values = [
        f"{key} {value}, {deep.beside[key]}"
        for key, value in shallow.beside.items()
        if value != deep.beside[key]
    ]
    if not values:
        return ""
    return f"{' and '.join(values)} {'goes' if len(values) == 1 else 'go'} along with depth"


def _other_cause(net: Net) -> str:
    """What explains a bad training but depth itself: the gradient, forgotten inputs (claim C15), or
    that the training was too short; empty where nothing does."""
    if net.diagnosis == "diverged":
        return "diverged"
    if net.end.diagnosis != "healthy":
        return net.end.diagnosis or net.init.diagnosis or "not measured"
    if net.init.diagnosis == "vanishing":
        return "vanishing at init"
    if not VANISHING_RATIO <= net.end.ratio <= EXPLODING_RATIO:  # NaN neither
        return f"first/last gradient {net.end.ratio:.2g} in the mean"
    if net.init.ratio < LOW_INIT_RATIO:
        return f"first/last gradient {net.init.ratio:.2g} at init already"
    return "train loss still falling" if _is_falling(net) else ""


def _is_falling(net: Net) -> bool:
    """Whether the train loss of most of a net's runs is far from its end.

    It falls by `STILL_FALLING` or more from the last evaluation of the first three quarters of the
    steps to the end; one epoch or less is far from any end. Runs without tables tell nothing.
    """
    falls = []
    for folder in net.folders[:_MOST_READ]:
        try:
            table = read_table(Path(folder), "metrics")
            steps, losses, epoch = table["step"], table["train_loss"], table["epoch"].iloc[-1]
            before = losses[steps <= 0.75 * steps.iloc[-1]].iloc[-1]
            falls.append(1.0 if epoch <= 1 else 1 - float(losses.iloc[-1] / before))
        except (RecordError, KeyError, IndexError, TypeError, ZeroDivisionError):
            continue
    return bool(falls) and median(falls) >= STILL_FALLING
