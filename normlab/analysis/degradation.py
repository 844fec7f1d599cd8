"""Train errors that grew with depth: where depth did it, and what else has.

Depth is blamed for nothing that another setting, a bad gradient or another cause explains.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from normlab.analysis.nets import Net
from normlab.text import percent, some_of
from normlab.vocabulary import CAUSES

# Claim C14: so much more train error of the deeper net is degradation, after a short training where
# it may be mere slowness. After a full schedule the claim asks for less, 0.015.
DEGRADED_SPEED = 0.05
# Nothing else made a net of these worse than one that trains: it trains too, or no rule found more.
_DEPTH_ALONE = ("none", "memorizes", "depth")
_ILL = {
    "vanishing": "the gradient vanishes",
    "exploding": "the gradient explodes",
    "collapsed": "the layers forget the input",
}


def degraded(shallow_error: float, deep_error: float) -> bool:
    """Whether a deeper net's train error is larger by more than claim C14 allows, 5 points."""
    return deep_error - shallow_error > DEGRADED_SPEED


class _Ladder(NamedTuple):
    """A variant from its shallowest to its deepest net, and where it is worse than before."""

    variant: str
    degraded: list[str]  # by depth: from which error to which
    otherwise: list[tuple[str, str]]  # the depth of a worse net, and what made it worse
    kept: bool  # its deepest net is about as good as its best
    compared: bool  # depth alone sets two of its nets apart, of which one trains


def depth_sentence(nets: Sequence[Net]) -> str:
    """Where depth degraded the train error, and what did elsewhere; empty where neither is seen."""
    ladders = [
        _ladder(name, list(group))
        for name, group in itertools.groupby(nets, key=lambda net: net.variant)
    ]
    worse = [
        f"{ladder.variant} from {ladder.degraded[-1]}" for ladder in ladders if ladder.degraded
    ]
    kept = [ladder.variant for ladder in ladders if ladder.kept]
    said = ""
    if worse:
        but = f"; not in {some_of(kept)}" if kept else ""
        said = (
            "Depth itself made the train error worse, with a healthy gradient: "
            f"{some_of(worse)}{but}. (Evidence of speed, not of a full schedule.)"
        )
    elif any(ladder.compared for ladder in ladders):
        said = "Depth itself made no train error worse by more than 5 points."
    return " ".join(filter(None, (said, _aside(ladders))))


def _aside(ladders: Sequence[_Ladder]) -> str:
    """The sentence on nets that are worse for another reason, those of one reason together."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for ladder in ladders:
        for depth, reason in ladder.otherwise:
            reasons.setdefault(reason, {}).setdefault(ladder.variant, []).append(depth)
    parts = []
    for reason, found in reasons.items():
        nets = [f"{variant} at {', '.join(depths)}" for variant, depths in found.items()]
        parts.append(f"{some_of(nets)} ({reason})")
    return f"Worse with depth, but depth is not blamed: {'; '.join(parts)}." if parts else ""


def _ladder(variant: str, nets: list[Net]) -> _Ladder:
    nets = sorted((net for net in nets if net.error == net.error), key=lambda net: net.depth)
    fallen: list[str] = []
    otherwise: list[tuple[str, str]] = []
    compared = kept = False
    for i, deep in enumerate(nets[1:], start=1):
        alike = [net for net in nets[:i] if net.beside == deep.beside and net.diagnosis == "trains"]
        best = min(alike or nets[:i], key=lambda net: net.error)
        kept = bool(alike) and not degraded(best.error, deep.error)
        compared |= kept
        if kept:
            best = min(nets[:i], key=lambda net: net.error)
        if not degraded(best.error, deep.error):
            continue
        reason = _other_reason(best, deep)
        if reason:
            otherwise.append((f"{deep.depth:g}", reason))
            continue
        compared = True
        fallen.append(
            f"{percent(best.error)} at depth {best.depth:g} to "
            f"{percent(deep.error)} at {deep.depth:g}"
        )
    return _Ladder(variant, fallen, otherwise, kept and not fallen, compared)


def _other_reason(shallow: Net, deep: Net) -> str:
    """Why a deeper net is worse than a shallower one, if not for depth itself, else empty.

    Its cause comes first, then what differs beside depth.
    """
    if deep.cause not in (*_DEPTH_ALONE, "unknown", None):
        return deep.cause_in_words
    along = _goes_along(shallow, deep)
    if along:
        return along
    if deep.cause not in _DEPTH_ALONE:
        return deep.cause_in_words
    ill = _ill_gradient(deep)
    if ill:
        return ill
    return "" if shallow.diagnosis == "trains" else f"depth {shallow.depth:g} does not train either"


def _ill_gradient(net: Net) -> str:
    """By which of claim C15's gates a net's error is not degradation; empty for none."""
    if net.init.diagnosis == "vanishing":
        return CAUSES["vanishing_at_init"].meaning
    if net.end.diagnosis is None:
        return "the gradient was not measured"
    since = " in training" if net.init.diagnosis == "healthy" else ""
    ill = _ILL.get(net.end.diagnosis)
    return f"{ill}{since}" if ill else ""


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
