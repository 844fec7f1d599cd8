"""What is worth trying against a cause: overrides to append to a command, most promising first.

The setting that is to blame is put back to its default in configs/; where it has no better default
it is scaled by what was measured. None repeats what is set.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from normlab.config import ACTIVATIONS, Config, flatten, group_choices, leaves
from normlab.measurement.causes import STILL_FALLING
from normlab.measurement.figures import CLEAR_GAP, Figures
from normlab.networks import gain_of

# In plain networks so deep BatchNorm's own explosion (Yang et al. 2019) asks for skips as well.
DEEP_FOR_BATCH_NORM = 25
# The schedule is to blame where it leaves less than this of the learning rate, or raises it so.
SCHEDULE_LEAVES = 0.1
SCHEDULE_RAISES = 2.0
# Of the sum of ‖ΔW‖/‖W‖ over all steps, which networks that train come to.
ENOUGH_PATH = 2.0
# Of the start of running statistics so much may be left at the end of a training.
STATISTICS_LEFT = 0.01
STABLE_MOMENTUM = 0.95
USUAL_EPS = 1e-3
# ‖W‖/√width at init of He's scheme is 1.4; 2.8 in a CNN, whose last stage is four times as wide.
LARGE_GAIN = 6.0
ENOUGH_FOR_A_MEAN = 16
# Placements of an encoder's norms that want warm-up (Xiong et al. 2020), or have none.
BEHIND_SKIPS = ("post", "none")
# Times the default rate up to which norms before the branches do. Pilot on digits, Adam, 200 steps,
# pre-LN: an encoder-12 came to a train accuracy of .95 at 10 times, an encoder-6 to .52 at 100.
RATE_OF_PRE_LN = 10.0


def remedies(cause: str, figures: Figures) -> list[str]:
    """Overrides worth trying against a cause, most promising first; none that is set already.

    One is a word, or several between spaces where neither would do alone.
    """
    given = _REMEDIES.get(cause)
    advice = dict.fromkeys(given(figures)) if given else ()
    return [words for words in advice if not _is_set(figures.config, words)]


def _is_set(config: Config, words: str) -> bool:
    """Whether a config has the values of all of these overrides."""
    values = dict(flatten(config.model_dump(mode="json")))
    for word in words.split():
        key, _, text = word.partition("=")
        held = values.get(key, values.get(f"{key}.name"))
        if held != yaml.safe_load(text):
            return False
    return True


def to_measure(config: Config) -> str:
    """The override with which a run's cause can be told."""
    if not config.probes.measure:
        return "probes=verdict"
    verdict, probes = _leaves(("probes=verdict",)), config.probes
    layers = dict.fromkeys([*probes.measure, *verdict["probes.measure"]])
    tokens = dict.fromkeys([*probes.tokens, *verdict["probes.tokens"]])
    words = [f"probes.measure=[{','.join(layers)}]"]
    if config.model.of_tokens and len(tokens) > len(probes.tokens):
        words.append(f"probes.tokens=[{','.join(tokens)}]")
    return " ".join(words)


def _default(figures: Figures, key: str) -> Any:
    """The value that configs/ has for a key under the parts that a config chose."""
    config = figures.config
    parts = ("data", "model", "norm", "optimizer", "schedule")
    names = {group: getattr(config, group).name for group in parts}
    known = group_choices()
    unknown = [group for group, name in names.items() if name not in known[group]]
    if key.partition(".")[0] in unknown:  # a part from outside
        return None
    return _leaves(tuple(f"{g}={n}" for g, n in names.items() if g not in unknown)).get(key)


@functools.cache
def _leaves(choices: tuple[str, ...]) -> Mapping[str, Any]:
    return leaves(groups=choices)


def _back(figures: Figures, key: str) -> list[str]:
    """The override that puts a key back to its default; none where it has none."""
    value = _default(figures, key)
    if value is None:
        return []
    return [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"]


def _rounded(value: float) -> str:
    """To one significant digit."""
    return f"{float(f'{value:.0e}'):g}"


# --------------------------------------------------------------------------- the steps


def _faster(f: Figures) -> list[str]:
    rate, default = f.config.optimizer.lr, _default(f, "optimizer.lr") or 0.0
    first = default if default > 3 * rate else 10 * rate or 0.1
    rates = [f"optimizer.lr={_rounded(lr)}" for lr in (first, first / 3)]
    schedule = f.config.schedule
    if f.schedule_factor < SCHEDULE_LEAVES:
        if getattr(schedule, "warmup_steps", 0):
            return ["schedule.warmup_steps=0", *rates]
        return ["schedule.gamma=1" if hasattr(schedule, "gamma") else "schedule=constant", *rates]
    eps = getattr(f.config.optimizer, "eps", 0) > USUAL_EPS
    return [*_scaled_back(f), *(_back(f, "optimizer.eps") if eps else []), *rates]


def _slower(f: Figures) -> list[str]:
    rate, default = f.config.optimizer.lr, _default(f, "optimizer.lr") or math.inf
    far = default < rate / 3
    first = default if far else rate / 10
    rates = [f"optimizer.lr={_rounded(lr)}" for lr in (first, first / 3)]
    if f.schedule_peak > SCHEDULE_RAISES:
        raising = ("warmup_factor", "gamma", "final_factor")
        raised = [name for name in raising if getattr(f.config.schedule, name, 0) > 1]
        return [*(back for name in raised for back in _back(f, f"schedule.{name}")), *rates]
    momentum = getattr(f.config.optimizer, "momentum", 0) > STABLE_MOMENTUM
    calmer = _back(f, "optimizer.momentum") if momentum else []
    slower = [*rates, *calmer] if far else [*calmer, *rates]
    before = _norms_before(f)
    if default < rate / RATE_OF_PRE_LN:
        return [*_scaled_back(f), *slower, *before, *_warmed_up(f)]
    return [*before, *_scaled_back(f), *slower, *_warmed_up(f)]


def _warmed_up(f: Figures) -> list[str]:
    """A rate that begins small, where an encoder's norms stand behind its skips: Xiong et al.
    (2020) trace it to the last layers' gradients at init."""
    long = f.ending.step // 2
    warmup = getattr(f.config.schedule, "warmup_steps", long)
    if not (f.config.model.of_tokens and _norms_before(f)) or warmup >= long:
        return []
    return [f"schedule.warmup_steps={long}"]


def _scaled_back(f: Figures) -> list[str]:
    """Weights of a usual size where they began far larger: before a norm lr/‖W‖² counts."""
    return _weights_back(f) if (f.gain_init or 0) > LARGE_GAIN else []


def _longer(f: Figures) -> list[str]:
    if f.ending.status == "stopped":
        return ["training.stop_metric=null training.stop_value=null"]
    path = f.path or math.nan
    times = min(20.0, max(4.0, ENOUGH_PATH / path)) if path > 0 else 10.0
    training = f.config.training
    length = "steps" if training.steps is not None else "epochs"
    made = max(1, getattr(training, length) or 0)
    return [*_scaled_back(f), f"training.{length}={_rounded(times * made)}"]


def _unclipped(f: Figures) -> list[str]:  # noqa: ARG001
    return ["training.clip_norm=null", "training.clip_norm=1"]


def _less_decay(f: Figures) -> list[str]:
    default = _default(f, "optimizer.weight_decay")
    less = default is not None and default < f.config.optimizer.weight_decay / 10
    back = _back(f, "optimizer.weight_decay") if less else []
    return [*back, "optimizer.weight_decay=0"]


# ------------------------------------------------------------------------- batch and data


def _larger_batch(f: Figures) -> list[str]:
    size = min(ENOUGH_FOR_A_MEAN, f.samples)
    return [f"training.batch_size={size}", "norm=ln"]


def _quicker_statistics(f: Figures) -> list[str]:
    if f.normalized_values < ENOUGH_FOR_A_MEAN:
        return _larger_batch(f)
    needed = 1 - STATISTICS_LEFT ** (1 / max(1, f.ending.step))
    given, default = getattr(f.config.norm, "momentum", None), _default(f, "norm.momentum")
    if given is None or default is None:
        return ["norm=ln"]
    momentum = max(default, math.ceil(10 * needed) / 10)
    if given >= momentum:  # the weights move faster than usual, or one batch alone counts
        momentum = min(0.5, 3 * given) if given < 0.5 else default
    return [f"norm.momentum={momentum:.2g}", "norm=ln"]


def _learnable(f: Figures) -> list[str]:
    data, decay = f.config.data, f.config.optimizer.weight_decay
    if f.label_noise > CLEAR_GAP:
        return ["data.label_noise=0"]
    if data.name == "gaussian":  # its labels are drawn
        return ["data=digits"]
    if getattr(data, "train_size", None):
        return ["data.train_size=null"]
    return [f"optimizer.weight_decay={_rounded(10 * decay or 1e-3)}"]


def _true_labels(f: Figures) -> list[str]:
    return ["data.label_noise=0", *_longer(f)]


def _whole_images(f: Figures) -> list[str]:
    if f.config.data.kept_share == 1:
        return _back(f, "data.size")
    default = _default(f, "data.crop_padding") or 0
    return [f"data.crop_padding={default if default < f.config.data.augmentation[0] else 0}"]


# ---------------------------------------------------------------------------- the network


def _weights_back(f: Figures) -> list[str]:
    if f.config.model.init_std is not None:
        return [f"{words} model.init_std=null" for words in _back(f, "model.init")]
    return _back(f, "model.init_gain")


def _more_capacity(f: Figures) -> list[str]:
    if f.config.model.activation == "identity":
        return _back(f, "model.activation")
    return [f"model.width={max(_default(f, 'model.width') or 0, 4 * f.config.model.width)}"]


def _around_layers(f: Figures) -> list[str]:
    model = f.config.model
    shallow = 8 if model.spatial else max(3, model.depth // 4)
    longer = _longer(f) if (f.falling or 0) > STILL_FALLING else []
    less = [f"model.depth={shallow}"] if shallow < model.depth else []
    return [*_skips(f), *longer, *less]


def _skips(f: Figures) -> list[str]:
    # A skip leads around a hidden layer that follows another.
    model = f.config.model
    if model.residual or model.hidden_layers < 2:
        return []
    return [" ".join(["model.residual=true", *_norms_before(f)])]


def _norms_before(f: Figures) -> list[str]:
    """Pre-LN, which needs no warm-up, in an encoder whose norms stand behind skips, or nowhere;
    nothing where the norm does not normalize, whatever its place."""
    return _placed_before(f) if f.config.norm.normalizes else []


def _placed_before(f: Figures) -> list[str]:
    model = f.config.model
    return ["model.placement=pre"] if getattr(model, "placement", "pre") in BEHIND_SKIPS else []


def _normalized(f: Figures) -> list[str]:
    """BatchNorm, with skips where it alone would not do; LayerNorm where batches are too small."""
    config = f.config
    if config.model.of_tokens:  # LayerNorm over a token is what encoders are made with
        lacking = [] if config.norm.normalizes else ["norm=ln"]
        return [] if f.normalizes else [" ".join([*lacking, *_placed_before(f)])]
    if config.norm.over_batch:
        return []
    if config.model.excludes_norms:
        return ["norm=bn model.branch_scale=one"]
    if not config.model.spatial and config.training.batch_size < ENOUGH_FOR_A_MEAN:
        return [] if config.norm.name == "ln" else ["norm=ln"]
    both = f.layers_without_skips >= DEEP_FOR_BATCH_NORM
    return ["norm=bn model.residual=true"] if both else ["norm=bn"]


def _without_biases(f: Figures) -> list[str]:
    return ["model.bias_std=0"] if f.config.model.bias_std > 0 else []


def _against_vanishing(f: Figures) -> list[str]:
    saturates = ACTIVATIONS[f.config.model.activation].saturates
    relu = ["model.activation=relu"] if saturates else []
    eps = _back(f, "norm.eps") if getattr(f.config.norm, "eps", 0) > USUAL_EPS else []
    return [*eps, *_normalized(f), *_skips(f), *relu]


def _against_exploding(f: Figures) -> list[str]:
    model, norm = f.config.model, _normalized(f)
    if model.init_std is not None:
        return [*_weights_back(f), *norm]
    gain, drawn = _default(f, "model.init_gain") or 1.0, model.weights_are_drawn
    if model.residual:  # De & Smith 2020: branches scaled by 1/√L keep the stream's size
        gain = min(gain, math.ceil(10 / math.sqrt(model.depth)) / 10)
    gains = [f"model.init_gain={gain:g}"] if drawn and gain < gain_of(model) else []
    if model.of_tokens:
        return [*norm, *gains, *_skips(f)]
    scale = _smaller_branches(f)
    # A convolutional branch has two layers, whose gains multiply.
    if model.residual and model.spatial:
        return [*norm, *gains, *scale]
    return [*gains, *norm, *scale, *_skips(f)]


def _smaller_branches(f: Figures) -> list[str]:
    """Branches over √L, by which a stream's variance grows by a constant in all (De & Smith 2020),
    where nothing scales them and the weights are as usual."""
    model = f.config.model
    as_usual = _default(f, "model.init_gain") == model.init_gain
    scaled = getattr(model, "branch_scale", None) != "one"
    return [] if scaled or not (model.residual and as_usual) else ["model.branch_scale=sqrt_depth"]


def _against_collapse(f: Figures) -> list[str]:
    # The pooling that follows keeps nothing of a channel but its mean.
    if f.config.norm.erases_channel_means:
        return ["norm=bn", "norm.position=before"]
    if f.config.model.of_tokens:
        return _skips(f) or _norms_before(f) or _normalized(f)
    return [*_without_biases(f), *_normalized(f), *_skips(f)]


def _experiments(f: Figures) -> list[str]:
    """Two that tell what evidence did not: a noise, a rate that is too large, too few steps."""
    if getattr(f.config.norm, "noise", 0):
        return ["norm.noise=0"]
    return [f"optimizer.lr={_rounded(f.config.optimizer.lr / 5)}", *_longer(f)][:2]


_REMEDIES: Mapping[str, Callable[[Figures], list[str]]] = {
    "memorizes": _learnable,
    "label_noise": _true_labels,
    "zero_init": _weights_back,
    "data_settings": _whole_images,
    "stale_statistics": _quicker_statistics,
    "exploding_at_init": _against_exploding,
    "collapsed": _against_collapse,
    "vanishing_at_init": _against_vanishing,
    "weight_decay": _less_decay,
    "clipping": _unclipped,
    "rate_too_small": _faster,
    "too_short": _longer,
    "batch_too_small": _larger_batch,
    "rate_too_large": _slower,
    "capacity": _more_capacity,
    "depth": _around_layers,
    "unknown": _experiments,
}
