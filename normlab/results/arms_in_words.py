"""Each variant of a sweep in one plain sentence: at which depths it trains, and what goes wrong."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame

from normlab.results.nets import Net, Seen, nets_of
from normlab.text import brief, listed, percent
from normlab.vocabulary import DIAGNOSES, FINAL

_SOUND = {"trains": "trains", "healthy": "has a healthy gradient"}


class ArmInWords(NamedTuple):
    """A variant's name and what became of it."""

    name: str
    sentence: str


def arms_in_words(frame: DataFrame) -> list[ArmInWords]:
    """A sentence for each variant with a result, in the order of a comparison's rows.

    Of each depth the most frequent diagnosis counts, of equally frequent ones the worst.
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
    for diagnosis, verb in _SOUND.items():
        sound = [net for net in nets if net.diagnosis == diagnosis]
        if not sound:
            continue
        if not several:
            words.append(verb)
        elif len(sound) == len(nets) > 1:
            words.append(f"{verb} at every depth ({_depths(sound)})")
        else:
            words.append(f"{verb} at depth {_depths(sound)}")
    at_fault = [net for net in nets if net.diagnosis not in _SOUND]
    for diagnosis, found in itertools.groupby(at_fault, key=lambda net: net.diagnosis):
        group = list(found)
        where = f"at {'' if words else 'depth '}{_depths(group)} " if several else ""
        words.append(where + _fault(str(diagnosis), group))
    return f"{'; '.join(words)}."


def _fault(diagnosis: str, nets: Sequence[Net]) -> str:
    """What is wrong with nets of one diagnosis; figures of the gradient are the deepest one's."""
    accuracies = listed([percent(1 - net.error) for net in nets if net.error == net.error])
    ends = f"train accuracy ends at {accuracies}" if accuracies else "nothing was evaluated"
    deepest = nets[-1]
    where = f" at {deepest.depth:g}" if len(nets) > 1 else ""
    match diagnosis:
        case "vanishing":
            return f"the gradient vanishes ({_share(deepest.end)}{where}) and {ends}"
        case "exploding":
            return f"the gradient explodes ({_share(deepest.end)}{where}) and {ends}"
        case "collapsed":
            return f"the layers forget the input, all samples look alike to the last, and {ends}"
        case "diverged":
            return "the training diverges"
    at_init = {"vanishing": "vanishes", "exploding": "explodes"}.get(deepest.init.diagnosis or "")
    before = f" (at init it {at_init}: {_share(deepest.init)}{where})" if at_init else ""
    alive = f", though the gradient is alive at the end{before}"
    return f"it is undertrained: {ends}{alive if deepest.end.diagnosis == 'healthy' else before}"


def _share(seen: Seen) -> str:
    """What the first hidden layer gets of the last one's gradient."""
    if math.isinf(seen.ratio):
        return "the last hidden layer gets none"
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
