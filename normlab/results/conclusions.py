"""What a sweep shows, in two sentences: where gradients failed, and where depth alone did harm."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame

from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.results.cells import cells_of, distinct_runs, usual_diagnosis
from normlab.results.comparing import summarize
from normlab.results.keys import DEPTH
from normlab.results.variants import Variant, variant_keys, variants_of
from normlab.text import percent
from normlab.vocabulary import FINAL

# Claim C14: so much more train error of the deeper net is degradation. The first figure after a
# short training, where it may be mere slowness; the second after a full schedule.
DEGRADED_SPEED = 0.05
DEGRADED_ASYMPTOTE = 0.015
# A sentence names so many variants.
_MOST_NAMED = 6


def degraded(shallow_error: float, deep_error: float, *, full_schedule: bool = False) -> bool:
    """Whether a deeper net's train error is larger than claim C14 allows: by more than 5 points,
    or 1.5 points after a full schedule."""
    gap = DEGRADED_ASYMPTOTE if full_schedule else DEGRADED_SPEED
    return deep_error - shallow_error > gap


class _Seen(NamedTuple):
    """The gradient of one net at init or at the end."""

    diagnosis: str | None  # the most frequent one of its runs
    agree: int  # runs of that diagnosis
    ratio: float


class _Net(NamedTuple):
    """One variant at one depth, over its seeds."""

    variant: Variant
    depth: float
    diagnosis: str | None  # of the whole training, the most frequent one of its runs
    init: _Seen
    end: _Seen
    error: float
    runs: int


def findings(frame: DataFrame) -> list[str]:
    """Two sentences: where gradients vanished or exploded, and where depth degraded train error
    though they did neither.

    Over seeds, diagnoses are the most frequent ones, ratios geometric and errors arithmetic means.
    Empty where there is no result.
    """
    if frame.empty or not frame["status"].isin(FINAL).any():
        return []
    nets = _nets(frame, variant_keys(frame))
    sentences = [_on_gradients(nets)]
    if len({net.depth for net in nets}) > 1:
        sentences.append(_on_depth(nets))
    return sentences


def _nets(frame: DataFrame, variants: list[str]) -> list[_Net]:
    keys = [*variants, DEPTH]
    frame = distinct_runs(frame[frame["status"].isin(FINAL)], keys)
    ratios = {"init": "gradient_ratio_init", "end": "gradient_ratio_end"}
    summary = summarize(frame, variants, [DEPTH], ["train_acc", *ratios.values()])
    means = {metric: values.to_numpy() for metric, values in summary.groupby("metric")["mean"]}
    cells = cells_of(frame, keys)
    seen = {}
    for when, ratio in ratios.items():
        diagnoses = frame[f"verdict_{when}"]
        usual = usual_diagnosis(diagnoses, cells)
        agree = cells.count(diagnoses.to_numpy(dtype=object) == usual[cells.number])
        seen[when] = [
            _Seen(*values) for values in zip(usual, agree.tolist(), means[ratio], strict=True)
        ]
    first = frame.iloc[cells.first]
    return [
        _Net(*values)
        for values in zip(
            variants_of(first, variants),
            first[DEPTH].tolist(),
            usual_diagnosis(frame["verdict"], cells),
            seen["init"],
            seen["end"],
            1 - means["train_acc"],
            cells.count(slice(None)).tolist(),
            strict=True,
        )
    ]


# ------------------------------------------------------------------------------ gradients


def _on_gradients(nets: list[_Net]) -> str:
    """The sentence on gradients that vanished or exploded."""
    clauses = []
    for fault, verb in (("vanishing", "vanished"), ("exploding", "exploded")):
        lasting = [net for net in nets if fault in (net.end.diagnosis, net.diagnosis)]
        at_init = [net for net in nets if net.init.diagnosis == fault and net not in lasting]
        if lasting:
            seen = _by_variant([(net, net.end) for net in lasting])
            clauses.append(f"{verb} in {seen}")
        if at_init:
            seen = _by_variant([(net, net.init) for net in at_init])
            settled = all(net.end.diagnosis == "healthy" for net in at_init)
            clauses.append(f"{verb} at init in {seen}{' and settled' if settled else ''}")
    diverged = [(net, None) for net in nets if net.diagnosis == "diverged"]
    apart = f" Diverged: {_by_variant(diverged)}." if diverged else ""
    if not any(net.init.diagnosis or net.end.diagnosis for net in nets):
        return f"No gradient was measured.{apart}"
    if not clauses:
        return f"No gradient vanished or exploded, at init or at the end.{apart}"
    return f"The gradient (first/last layer) {'; '.join(clauses)}.{apart}"


def _by_variant(nets: Sequence[tuple[_Net, _Seen | None]]) -> str:
    """Variants and depths with their ratios, and how many runs of a net showed it where not all."""
    texts = []
    for name, group in itertools.groupby(nets, key=lambda pair: pair[0].variant.name):
        pairs = list(group)
        depths = ", ".join(
            f"{net.depth:g}"
            + (f" in {seen.agree} of {net.runs} runs" if seen and seen.agree < net.runs else "")
            for net, seen in pairs
        )
        ratios = ", ".join(_ratio(seen) for _, seen in pairs if seen)
        texts.append(f"{name} at depth {depths}{f' ({ratios})' if ratios else ''}")
    return _some_named(texts)


def _some_named(texts: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return f"{', '.join(texts[:_MOST_NAMED])}{more}"


def _ratio(seen: _Seen) -> str:
    """A ratio to two digits, `0.05`, `500`, `1e-06`, or why there is none."""
    value = seen.ratio
    if value != value:
        why = {None: "not measured", "vanishing": "δ is 0"}
        return why.get(seen.diagnosis, "δ is not finite")
    if 100 <= value < 9999.5:
        return f"{value:.0f}"
    return f"{value:.2g}" if 0.001 <= value < 100 else f"{value:.0e}" if value else "0"


# ---------------------------------------------------------------------------------- depth


class _Ladder(NamedTuple):
    """A variant from its shallowest to its deepest net, and where it is worse than before."""

    variant: str
    degraded: list[str]  # with a healthy gradient: from which error to which
    confounded: dict[str, list[str]]  # a diagnosis that may be the cause, and the depths with it
    kept: bool  # its deepest net is about as good as its best


def _on_depth(nets: list[_Net]) -> str:
    """The sentence on train errors that grew with depth."""
    ladders = [
        _ladder(name, list(group))
        for name, group in itertools.groupby(nets, key=lambda net: net.variant.name)
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
    aside = f" Worse with depth, but confounded: {_some_named(confounded)}." if confounded else ""
    if not worse:
        return (
            "Depth degraded no train error by more than 5 points "
            f"where the gradient was healthy.{aside}"
        )
    but = f"; not in {_some_named(kept)}" if kept else ""
    return (
        f"Depth degraded the train error with a healthy gradient (speed evidence, no full "
        f"schedule): {_some_named(worse)}{but}.{aside}"
    )


def _ladder(variant: str, nets: list[_Net]) -> _Ladder:
    nets = sorted((net for net in nets if net.error == net.error), key=lambda net: net.depth)
    fallen: list[str] = []
    confounded: dict[str, list[str]] = {}
    for i, deep in enumerate(nets[1:], start=1):
        best = min(nets[:i], key=lambda net: net.error)
        if not degraded(best.error, deep.error):
            continue
        if _gradient_is_no_cause(deep):
            fallen.append(
                f"{percent(best.error)} at depth {best.depth:g} to "
                f"{percent(deep.error)} at {deep.depth:g}"
            )
        else:
            states = deep.end.diagnosis or deep.init.diagnosis or "not measured"
            cause = "diverged" if deep.diagnosis == "diverged" else states
            confounded.setdefault(cause, []).append(f"{deep.depth:g}")
    flat = len(nets) > 1 and not degraded(min(net.error for net in nets), nets[-1].error)
    return _Ladder(variant, fallen, confounded, kept=flat and not fallen)


def _gradient_is_no_cause(net: _Net) -> bool:
    """Whether neither the gradient nor forgotten inputs explain a bad training (claim C15)."""
    return (
        net.end.diagnosis == "healthy"
        and net.diagnosis != "diverged"
        and net.init.diagnosis != "vanishing"
        and VANISHING_RATIO <= net.end.ratio <= EXPLODING_RATIO
    )
