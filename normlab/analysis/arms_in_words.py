"""Each variant of a sweep in one plain sentence: at which depths it trains, and what goes wrong."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame

from normlab.analysis.nets import Net, Seen, nets_of
from normlab.text import brief, listed, percent
from normlab.vocabulary import CAUSES, DIAGNOSES, FINAL

_SOUND = {"trains": "trains", "healthy": "has a healthy gradient"}
_VERBS = {"vanishing": "vanishes", "exploding": "explodes"}


class ArmInWords(NamedTuple):
    """A variant's name and what became of it."""

    name: str
    sentence: str


def arms_in_words(frame: DataFrame) -> list[ArmInWords]:
    """A sentence for each variant with a result, in the order of a comparison's rows.

    Of each depth the most frequent diagnosis counts, of equally frequent ones the worst, with its
    most frequent cause.
    """
    frame = frame[frame["status"].isin(FINAL)]
    nets = [net for net in nets_of(frame) if net.diagnosis in DIAGNOSES]
    several = len({net.depth for net in nets}) > 1
    return [
        ArmInWords(name, _sentence(sorted(group, key=lambda net: net.depth), several=several))
        for name, group in itertools.groupby(nets, key=lambda net: net.variant)
    ]


def _sentence(nets: Sequence[Net], *, several: bool) -> str:
    """What a variant's nets came to; their depths are named where the sweep has `several`."""
    words = []
    sound = [net for net in nets if net.diagnosis in _SOUND and net.cause != "memorizes"]
    for diagnosis, verb in _SOUND.items():
        found = [net for net in sound if net.diagnosis == diagnosis]
        if not found:
            continue
        if not several:
            words.append(verb)
        elif len(found) == len(nets) > 1:
            words.append(f"{verb} at every depth ({_depths(found)})")
        else:
            words.append(f"{verb} at depth {_depths(found)}")
    at_fault = [net for net in nets if net not in sound]
    for _, group in itertools.groupby(at_fault, key=lambda net: (net.diagnosis, net.cause)):
        found = list(group)
        where = f"at {'' if words else 'depth '}{_depths(found)} " if several else ""
        words.append(where + _fault(found))
    return f"{'; '.join(words)}."


def _fault(nets: Sequence[Net]) -> str:
    """Why nets of one diagnosis and cause fail; figures of the gradient are the deepest one's."""
    deepest = nets[-1]
    if deepest.cause == "memorizes":
        return f"it trains, but {deepest.cause_in_words}"
    accuracies = listed([percent(1 - net.error) for net in nets if net.error == net.error])
    outcome = f"train accuracy ends at {accuracies}" if accuracies else "nothing was evaluated"
    if deepest.diagnosis == "diverged":
        outcome = "the training diverges"
    said = listed([*_reasons(deepest, f" at {deepest.depth:g}" if len(nets) > 1 else ""), outcome])
    return said if deepest.cause not in (None, "unknown") else f"{said} ({deepest.cause_in_words})"


def _reasons(net: Net, where: str) -> list[str]:
    """What made a net fail, before how it ended: its cause, and its gradient where that is ill."""
    init, end = net.init.diagnosis, net.diagnosis
    at_init = _state(init, net.init, where, " at init") if init != end else []
    by_the_end = _state(end, net.end, where, " in training" if init == "healthy" else "")
    if net.cause in (None, "none", "unknown"):
        return [*at_init, *by_the_end]
    if CAUSES[net.cause].state_at_init in (init, end):
        return [*at_init, *by_the_end]
    if net.cause != "depth":
        return [net.cause_in_words, *by_the_end]
    # It says that the gradient is alive.
    if by_the_end:
        return [*at_init, *by_the_end]
    verb = _VERBS.get(init or "")
    before = f" (at init it {verb}: {_share(net.init)}{where})" if verb else ""
    return [f"{net.cause_in_words}{before}"]


def _state(diagnosis: str | None, seen: Seen, where: str, when: str) -> list[str]:
    """A clause on a gradient or signal that is ill, with its figures; none where it is sound."""
    if diagnosis == "collapsed":
        return [f"the layers forget the input{when} (all samples look alike to the last)"]
    verb = _VERBS.get(diagnosis or "")
    return [f"the gradient {verb}{when} ({_share(seen)}{where})"] if verb else []


def _share(seen: Seen) -> str:
    """What the first hidden layer gets of the last one's gradient."""
    if seen.ratio != seen.ratio:
        return "it is 0" if seen.diagnosis == "vanishing" else "it is not finite"
    if seen.ratio >= 1:
        return f"layer 1 gets {brief(seen.ratio)} times the last hidden layer's"
    return f"layer 1 gets {brief(seen.ratio)} of the last hidden layer's"


def _depths(nets: Sequence[Net]) -> str:
    """Depths in words, and how many runs showed the gradient's fault where not all did."""
    texts = []
    for net in nets:
        part = net.end.diagnosis == net.diagnosis and net.end.agree < net.runs
        texts.append(
            f"{net.depth:g}" + (f" (in {net.end.agree} of {net.runs} runs)" if part else "")
        )
    return listed(texts)
