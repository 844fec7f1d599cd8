"""What a sweep shows, in two sentences: where gradients failed, and where depth alone did harm."""

import itertools
from collections.abc import Sequence

from pandas import DataFrame

from normlab.analysis.degradation import depth_sentence
from normlab.analysis.nets import Net, Seen, nets_of
from normlab.text import some_of


def findings(frame: DataFrame) -> list[str]:
    """Two sentences: where gradients vanished or exploded, and where depth degraded train error
    though they did neither, with the causes of all that was worse for another reason.

    Empty where there is no result; without the second where depth alone sets no net apart from one
    that trains, and none is worse.
    """
    nets = nets_of(frame)
    return [*filter(None, (_on_gradients(nets), depth_sentence(nets)))] if nets else []


def _on_gradients(nets: list[Net]) -> str:
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
    apart = _on_divergence(nets)
    if not any(net.init.diagnosis or net.end.diagnosis for net in nets):
        return f"No gradient was measured.{apart}"
    if not clauses:
        return f"No gradient vanished or exploded, at init or at the end.{apart}"
    return f"The gradient (first/last layer) {'; '.join(clauses)}.{apart}"


def _on_divergence(nets: list[Net]) -> str:
    """The sentence on nets that diverged, those of one cause together; empty without any."""
    by_cause: dict[str, list[tuple[Net, None]]] = {}
    for net in nets:
        if net.diagnosis == "diverged":
            by_cause.setdefault(net.cause_in_words, []).append((net, None))
    parts = [f"{_by_variant(found)} ({cause})" for cause, found in by_cause.items()]
    return f" Diverged: {'; '.join(parts)}." if parts else ""


def _by_variant(nets: Sequence[tuple[Net, Seen | None]]) -> str:
    """Variants and depths with their ratios, and how many runs of a net showed it where not all."""
    texts = []
    for name, group in itertools.groupby(nets, key=lambda pair: pair[0].variant):
        pairs = list(group)
        depths = ", ".join(
            f"{net.depth:g}"
            + (f" in {seen.agree} of {net.runs} runs" if seen and seen.agree < net.runs else "")
            for net, seen in pairs
        )
        ratios = ", ".join(_ratio(seen) for _, seen in pairs if seen)
        texts.append(f"{name} at depth {depths}{f' ({ratios})' if ratios else ''}")
    return some_of(texts)


def _ratio(seen: Seen) -> str:
    """A ratio to two digits, `0.05`, `500`, `1e-06`, or why there is none."""
    value = seen.ratio
    if value != value:
        why = {None: "not measured", "vanishing": "δ is 0"}
        return why.get(seen.diagnosis, "δ is not finite")
    if 100 <= value < 9999.5:
        return f"{value:.0f}"
    return f"{value:.2g}" if 0.001 <= value < 100 else f"{value:.0e}" if value else "0"
