"""A run's measurements to a verdict in plain words.

The gradient is judged by R = δ_first / δ_last, the ratio of `delta_rms` of the first and the last
hidden layer, and by the factor per layer towards the input, exp(−slope of log δ over the interior
layers). The output layer is left out of both.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.config import Config

if TYPE_CHECKING:
    from pandas import DataFrame

# The first hidden layer gets less than a hundredth, or more than a hundred times, of what the last
# gets: outside of the range in which He et al.'s networks count as healthy (claim C15).
VANISHING_RATIO = 1e-2
EXPLODING_RATIO = 1e2
# Mean cosine between samples in the last hidden layer. A pilot on digits (default training, one
# seed), cosine at init -> train accuracy: plain LN-CNN-20 .973 -> .97, plain CNN-20 .974 -> .53,
# plain MLP-20 .991 -> .23, plain LN-CNN-56 .992 -> .10, plain MLP-56 .9994 -> .10.
COLLAPSED_COSINE = 0.99
# Share of the way from chance to perfect train accuracy.
TRAINED_SKILL = 0.9


@dataclass(frozen=True)
class State:
    """The gradient and the activations of a network at one step."""

    step: int
    verdict: str | None  # vanishing | exploding | collapsed | healthy; None: not measured
    factor: float  # of delta_rms per layer towards the input
    ratio: float  # first to last hidden layer
    cosine: float  # between samples in the last hidden layer
    hidden: int  # number of hidden layers
    worst: int  # layers 1 to worst lie beyond the threshold


def state_at(layers: "DataFrame", step: int) -> State:
    """Judge the snapshot of one step."""
    rows = layers[layers["step"] == step].sort_values("layer")
    hidden = rows[:-1]
    deltas = _column(hidden, "delta_rms")
    cosines = _column(hidden, "sample_cosine")
    cosine = float(cosines[-1]) if len(cosines) else math.nan
    ratio = gradient_ratio(deltas)
    factor = gradient_factor(deltas)
    count = len(hidden)
    if len(deltas) and not np.isfinite(deltas).all():
        broken = int(np.flatnonzero(~np.isfinite(deltas))[-1]) + 1
        return State(step, "exploding", factor, math.nan, cosine, count, broken)
    if len(deltas) and deltas[-1] == 0:
        zeros = count if not deltas.any() else 0
        return State(step, "vanishing", factor, ratio, cosine, count, zeros)
    if ratio < VANISHING_RATIO:
        worst = _leading(deltas < VANISHING_RATIO * deltas[-1])
        return State(step, "vanishing", factor, ratio, cosine, count, worst)
    if ratio > EXPLODING_RATIO:
        worst = _leading(deltas > EXPLODING_RATIO * deltas[-1])
        return State(step, "exploding", factor, ratio, cosine, count, worst)
    if cosine > COLLAPSED_COSINE:
        first = count - _leading(cosines[::-1] > COLLAPSED_COSINE) + 1
        return State(step, "collapsed", factor, ratio, cosine, count, first)
    verdict = "healthy" if len(deltas) else None
    return State(step, verdict, factor, ratio, cosine, count, 0)


def gradient_ratio(deltas: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    """R = δ_first / δ_last over hidden layers; NaN without any, infinite where δ_last is 0."""
    if not len(deltas):
        return math.nan
    first, last = float(deltas[0]), float(deltas[-1])
    if last == 0:
        return math.inf if first else math.nan
    return first / last


def gradient_factor(deltas: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    """exp(−slope) of log δ over the interior layers, by least squares.

    Layers whose δ is 0 or not finite are left out. NaN where fewer than two are left.
    """
    index = interior(len(deltas))
    index = index[np.isfinite(deltas[index]) & (deltas[index] > 0)]
    if len(index) < 2:
        return math.nan
    slope = np.polyfit(index, np.log(deltas[index]), deg=1)[0]
    return float(np.exp(-slope))


def interior(hidden: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The positions, from 0, of the hidden layers over which a slope is taken.

    All but the first and the last, where the input and the output layer set the size, as long as
    two remain.
    """
    index = np.arange(hidden)
    return index[1:-1] if hidden >= 4 else index


def diagnose(
    config: Config,
    metrics: "DataFrame",
    layers: "DataFrame",
    *,
    status: str,
    step: int,
    classes: int,
    steps_per_epoch: int,
) -> dict[str, Any]:
    """The verdict of a run with its figures, as summary.json holds them.

    `verdict` is one of trains, vanishing, exploding, collapsed, undertrained and diverged; of a run
    of no steps it is that of the initial state, healthy among them; it is None for a run that did
    not come to its end. `verdict_init`, `verdict_first_epoch` and `verdict_end` judge one state.
    """
    snapshots = _snapshot_steps(layers)
    states = {s: state_at(layers, s) for s in snapshots}
    nothing = State(step, None, math.nan, math.nan, math.nan, 0, 0)
    init = states.get(0, nothing)
    epoch = states.get(steps_per_epoch, nothing)
    end = states[snapshots[-1]] if snapshots else nothing
    last = metrics.iloc[-1].to_dict() if len(metrics) else {}
    accuracy = last.get("train_acc", math.nan)
    skill = (accuracy - 1 / classes) / (1 - 1 / classes)
    if status == "diverged":
        verdict, reason = "diverged", _diverged(step, init, end)
    elif status != "finished":
        verdict, reason = None, f"So far {_of(end)}." if end.verdict else ""
    elif step == 0:
        verdict, reason = init.verdict, f"At init {_of(init)}." if init.verdict else ""
    elif skill >= TRAINED_SKILL:
        verdict, reason = "trains", _trains(accuracy, step, init, end)
    else:
        faulty = end.verdict not in (None, "healthy")
        verdict = end.verdict if faulty else "undertrained"
        residual = config.model.residual
        reason = _fails(accuracy, classes, step, init, end, residual=residual)
    return {
        "verdict": verdict,
        "reason": reason,
        # Units that died in training died of too large steps, not of the net's depth.
        "try": advice(config, "diverged" if _died(init, end) else verdict),
        **{key: last.get(key, math.nan) for key in _SCORES},
        **{
            f"{name}_{when}": value
            for when, state in (("init", init), ("first_epoch", epoch), ("end", end))
            for name, value in (
                ("verdict", state.verdict),
                ("gradient_factor", state.factor),
                ("gradient_ratio", state.ratio),
                ("sample_cosine", state.cosine),
            )
        },
    }


_SCORES = ("train_acc", "train_loss", "test_acc", "test_loss")


def _died(init: State, end: State) -> bool:
    return init.verdict == "healthy" and end.verdict == "vanishing" and end.worst == end.hidden


def advice(config: Config, verdict: str | None) -> list[str]:
    """Overrides worth trying against a verdict, most promising first."""
    model, training = config.model, config.training
    skips = [] if model.residual else ["model.residual=true"]
    lone = model.name == "mlp" and training.batch_size == 1  # BatchNorm would have no variance
    bn = [] if config.norm.name == "bn" or lone else ["norm=bn"]
    saturating = model.activation in ("sigmoid", "tanh")
    relu = ["model.activation=relu"] if saturating else []
    match verdict:
        case "vanishing":
            return [*bn, *skips, *relu]
        case "exploding":
            norm = bn if config.norm.name == "none" else []
            gain = [] if norm or skips else ["model.init_gain=0.5"]
            return [*norm, *skips, *gain]
        case "collapsed":
            # Pooling takes each channel's mean, which instance norm has just made β.
            last = getattr(config.norm, "position", None) == "after" and config.norm.name == "in"
            return ["norm.position=before"] if last else [*skips, *bn]
        case "diverged":
            clip = [] if training.clip_norm else ["training.clip_norm=1"]
            return [f"optimizer.lr={config.optimizer.lr / 10:g}", *clip]
        case "undertrained":
            longer = (
                f"training.steps={2 * training.steps}"
                if training.steps is not None
                else f"training.epochs={2 * (training.epochs or 1)}"
            )
            return [*skips, longer]
    return []


# --------------------------------------------------------------------------- sentences


def _trains(accuracy: float, step: int, init: State, end: State) -> str:
    sentence = f"Train accuracy {_percent(accuracy)} after {step} steps"
    if init.verdict not in (None, "healthy"):
        return f"{sentence}, although at init {_of(init)}."
    return f"{sentence}; at the end {_of(end)}." if end.verdict == "healthy" else f"{sentence}."


def _fails(
    accuracy: float, classes: int, step: int, init: State, end: State, *, residual: bool
) -> str:
    outcome = (
        f"Train accuracy is {_percent(accuracy)} after {step} steps "
        f"(chance is {_percent(1 / classes)})"
    )
    if end.verdict is None:
        return f"{outcome}; the gradient was not measured."
    at_init = f"At init {_of(init)}" if init.verdict not in (None, "healthy", end.verdict) else ""
    if end.verdict != "healthy":
        before = f"{at_init}. " if at_init else ""
        return f"{before}{_capital(f'at the end {_of(end)}' if before else _of(end))}. {outcome}."
    before = f"{at_init}; by the end it settled. " if at_init else ""
    twin = "a shallower twin" if residual else "a shallower or a residual twin"
    return f"{before}{outcome} though {_of(end)}: slow or degraded, which {twin} would tell."


def _diverged(step: int, init: State, end: State) -> str:
    sentence = f"The loss or a gradient was not finite at step {step}"
    if init.verdict == "exploding":
        return f"{sentence}; already at init {_of(init)}."
    return f"{sentence}; at step {end.step} {_of(end)}." if end.verdict else f"{sentence}."


def _of(state: State) -> str:
    """A state as half a sentence with its figures."""
    factor = f"×{state.factor:.3g} per layer towards the input"
    of_last = f"layer 1 gets {_times(state.ratio)} layer {state.hidden}'s"
    match state.verdict:
        case "vanishing" if state.worst == state.hidden:
            return f"no gradient is left: it is 0 in all {state.hidden} hidden layers"
        case "vanishing" if math.isinf(state.ratio):
            return (
                f"the last hidden layer, {state.hidden}, is dead: no gradient reaches it, "
                "though some reaches layer 1"
            )
        case "vanishing":
            return (
                f"the gradient vanishes, {factor}: {of_last}, "
                f"and {_layers(state.worst)} less than 1%"
            )
        case "exploding" if math.isnan(state.ratio):
            return f"the gradient explodes: it is not finite up to layer {state.worst}"
        case "exploding":
            return (
                f"the gradient explodes, {factor}: {of_last}, "
                f"and {_layers(state.worst)} more than 100 times"
            )
        case "collapsed":
            return (
                f"the layers forget the input: from layer {state.worst} on, different samples' "
                f"activations are nearly parallel (mean cosine {state.cosine:.4f})"
            )
        case "healthy" if state.hidden == 1:
            return "the gradient reaches the one hidden layer"
    return f"the gradient neither vanishes nor explodes ({of_last})"


def _times(ratio: float) -> str:
    return f"{ratio:.2g} of" if ratio < 10 else f"{ratio:.3g} times"


def _layers(worst: int) -> str:
    return "layer 1" if worst == 1 else f"layers 1–{worst}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _leading(beyond: "np.ndarray[Any, np.dtype[np.bool_]]") -> int:
    """The number of layers from the first on that lie beyond a threshold without a gap."""
    return len(beyond) if beyond.all() else int(np.argmin(beyond))


def _column(rows: "DataFrame", name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    if name not in rows or rows[name].isna().all():
        return np.array([])
    return rows[name].to_numpy(dtype=np.float64)


def _snapshot_steps(layers: "DataFrame") -> list[int]:
    judged = [name for name in ("delta_rms", "sample_cosine") if name in layers]
    if not judged:
        return []
    measured = layers[judged].notna().any(axis=1)
    return sorted(int(step) for step in layers.loc[measured, "step"].unique())
