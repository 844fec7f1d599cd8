"""Why a training failed, by rules: each a cause, and the facts by which it shows itself.

The rules are asked in order, and the first decides all of whose facts hold in one of its ways.
Those before it are excluded by figures of their own: where such a figure was not measured, the
cause is unknown. Thresholds are round numbers between what failing and what sound trainings
showed; each says where those were.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from normlab.config import ACTIVATIONS
from normlab.measurement.figures import CLEAR_GAP, TRAINED_SKILL, Figure, Figures
from normlab.measurement.states import (
    COLLAPSED_CENTRED_COSINE,
    COLLAPSED_COSINE,
    COLLAPSED_DISTANCE,
    EXPLODING_RATIO,
    VANISHING_RATIO,
    State,
)

# Of what it learned of the training set, a network that memorizes brings less to the test set.
MEMORIZED_SHARE = 0.5
# ‖W‖/√width is about the gain of a layer: 1.4 of He's scheme, 1 of others.
TINY_GAIN = 0.01
# A padding of 7 leaves 28 % of an 8×8 digit, and nothing is learned; He et al.'s leaves 87 %.
CROPPED_SHARE = 0.5
# Loss in eval over train mode: 3.4 to 10⁶ where statistics were stale, at most 1.5 elsewhere.
STALE_RATIO = 2.0
# The same where running statistics are still mostly what they began as.
LAGGING_RATIO = 1.3
MOSTLY_START = 0.5
# Share of chance's loss below which something was learned.
LEARNED_LOSS = 0.8
# Next to signals of a variance of 1 or 2; theory takes 0.2 (Schoenholz et al. 2017).
LARGE_BIAS = 0.5
# Less than this of what samples differ in is left: of a plain MLP-35, which no rate trains. An
# MLP-20, of .987, trains at a fitting one.
FORGOTTEN_COSINE = 0.994
# Loss at init over chance's: 0.9 to 4 of sound networks, 50 to 10⁹ of exploding ones.
EXPLODED_LOSS = 20.0
# Median ‖W‖ at the end over init: at most 0.31 where decay was too strong, at least 0.95 of others
# that fail; of networks that train with decay 0.46 and more.
DECAYED = 0.7
# 3 to 10⁵ where the rate was too large, 2.9 of one that trains. Weights before a norm grow by
# themselves, as steps are at right angles to them: to 4.3 in 30 epochs of a plain BN-CNN-56.
GROWN = 3.0
GROWN_BEFORE_NORM = 4.5
# Sum of ‖ΔW‖/‖W‖ over all steps, of the layer where it is largest: 0.18 to 9 of networks that
# train, 0.12 at most where training was cut short or the rate was too small from the start.
SHORT_PATH = 0.2
LEARNING_PATH = 1.0
# Mean ‖ΔW‖/‖W‖ of a step: 1e-6 to 9e-4 where the rate was too small; 3e-3 and more where training
# was cut short.
SMALL_STEP = 1e-3
GOOD_STEP = 5e-3
# 0.085 at most of networks that train or are merely deep. Before a norm the first steps of a plain
# BN-CNN-56 are larger, and only make its weights grow.
LARGE_STEP = 0.15
# What clipping leaves of a gradient; Adam divides it out, so that the path decides as well.
CLIPPED = 0.1
LOST_IN_EPS = 10.0
# One mean of fewer values is mostly noise: its relative error is 1/√values.
FEW_VALUES = 5
# Share of units dead at the end, over all hidden layers: 0.62 to 1 where steps killed them, 0.5 of
# a plain LN-CNN-56 of which a third is dead at init.
DEAD = 0.6
LARGEST_FLOAT = 3.4e38
PROBE_LOSS = "the probe batch's loss"
# A loss that falls by this share in the last quarter of the steps has not come to its end.
STILL_FALLING = 0.05
# A first layer with less than this of the last one's gradient learns late.
FAINT_RATIO = 0.1
# He et al. (2015) see plain networks degrade between 20 and 56 layers, after a full schedule.
DEEP = 16
# Fewer layers have to be trained to the end before depth is blamed.
VERY_DEEP = 25
# Half of what a training set has is learned, and nothing of the test set.
HALF_SKILL = 0.5
GUESSING_SKILL = 0.1
# Of an MLP-4 on digits that knows a share of p by heart, the gap is 0.6·p to 0.7·p.
NOISY_GAP = 0.25
# A share of noisy labels that leaves next to no rule to learn.
MOSTLY_NOISE = 0.9


@dataclass(frozen=True)
class Fact:
    """A figure, and the threshold above or below which it has to be."""

    figure: str  # in words
    value: Figure
    above: bool
    threshold: float
    probe: str = ""  # what measures it; empty where settings and metrics tell

    @property
    def holds(self) -> bool:
        """Whether it is on that side. NaN is on neither, nor is what was not measured."""
        if self.value is None:
            return False
        return self.value > self.threshold if self.above else self.value < self.threshold

    def to_plain(self) -> dict[str, Any]:
        """As summary.json has it; null for a value that is not finite."""
        return {
            "figure": self.figure,
            "value": self.value if math.isfinite(self.value or 0) else None,
            "side": "above" if self.above else "below",
            "threshold": self.threshold,
        }


Way = tuple[Fact, ...]


class Rule(NamedTuple):
    """A cause, and the ways in which it shows itself: all facts of one have to hold."""

    cause: str  # a name in vocabulary.CAUSES
    ways: Callable[[Figures], Iterable[Way]]


class Found(NamedTuple):
    """The cause that was found, what showed it, and what was not measured that could exclude it."""

    cause: str
    evidence: Way
    missing: tuple[str, ...]  # names of probes, and `PROBE_LOSS`


def find_cause(figures: Figures) -> Found:
    """The cause of the first rule whose facts hold; `unknown` where none does, or one that comes
    before it asks for what was not measured."""
    rules = [rule for rule in RULES if figures.ending.step or rule.cause in AT_INIT]
    found = decide((rule.cause, rule.ways(figures)) for rule in rules)
    if not figures.ending.step and found == Found("unknown", (), ()):
        return Found("none", (), ())
    return found


def decide(causes: Iterable[tuple[str, Iterable[Way]]]) -> Found:
    """The first cause that shows itself in one of its ways, as `find_cause` says."""
    missing: dict[str, None] = {}
    for cause, ways in causes:
        for way in ways:
            if all(fact.holds for fact in way):
                if missing:
                    return Found("unknown", (), tuple(missing))
                return Found(cause, way, ())
            # A fact that does not hold excludes a way whatever the others are.
            if all(fact.holds or fact.value is None for fact in way):
                lacking = (fact.probe for fact in way if fact.value is None and fact.probe)
                missing |= dict.fromkeys(lacking)
    return Found("unknown", (), tuple(missing))


def above(figure: str, value: Figure, threshold: float, probe: str = "") -> Fact:
    """That a figure is above a threshold."""
    return Fact(figure, value, True, threshold, probe)


def below(figure: str, value: Figure, threshold: float, probe: str = "") -> Fact:
    """That a figure is below a threshold."""
    return Fact(figure, value, False, threshold, probe)


def _over(one: Figure, other: Figure) -> Figure:
    """One figure over another; NaN over 0."""
    if one is None or other is None:
        return None
    return one / other if other else math.nan


# --------------------------------------------------------------------------- it trains


def _train_skill(f: Figures) -> tuple[str, Figure]:
    return "share of the way from chance to full train accuracy", f.train_skill


def _trains(f: Figures) -> Fact:
    return above(*_train_skill(f), TRAINED_SKILL)


def _memorizes(f: Figures) -> Iterable[Way]:
    share = _over(f.test_skill, f.train_skill)
    yield _trains(f), below("share of it on the test set", share, MEMORIZED_SHARE)
    yield (
        above(*_train_skill(f), HALF_SKILL),
        below("the same of test accuracy", f.test_skill, GUESSING_SKILL),
    )
    if f.label_noise:  # more than half of the noise is learned, of which no rule tells
        gap = max(CLEAR_GAP, NOISY_GAP * f.label_noise)
        yield (
            _label_noise(f, CLEAR_GAP),
            above(*_train_skill(f), 1 - f.label_noise / 2),
            above("the same less that of test accuracy", f.train_skill - f.test_skill, gap),
        )


def _none(f: Figures) -> Iterable[Way]:
    yield (_trains(f),)


def _label_noise(f: Figures, share: float = 0) -> Fact:
    return above("data.label_noise", f.label_noise, share)


def _learned_but_noise(f: Figures) -> Iterable[Way]:
    if f.label_noise:
        most = max(TRAINED_SKILL * f.rule_skill, GUESSING_SKILL)
        yield _label_noise(f), above(*_train_skill(f), most)


def _slowed_by_noise(f: Figures) -> Iterable[Way]:
    if f.label_noise:
        yield _label_noise(f), above(*_train_skill(f), HALF_SKILL * f.rule_skill)
        yield (_label_noise(f, MOSTLY_NOISE),)


# ------------------------------------------------------------------ before the first step


def _zero_init(f: Figures) -> Iterable[Way]:
    yield (below("‖W‖/√width at init", f.gain_init, TINY_GAIN, "weight_norm"),)


def _cropped(f: Figures) -> Iterable[Way]:
    kept = f.config.data.kept_share
    yield (below("share of an image that a random crop leaves", kept, CROPPED_SHARE),)


def _ratio(f: Figures, state: State) -> Figure:
    if state.diagnosis is None:  # without a hidden layer there is nothing to measure
        silent = state is f.init and f.config.model.is_silent_at_start
        return None if f.config.model.hidden_layers and not silent else math.nan
    if math.isnan(state.ratio):  # δ itself is not finite, or 0 in every layer
        return {"exploding": math.inf, "vanishing": 0.0}.get(state.diagnosis, math.nan)
    return state.ratio


def _init_above(f: Figures, ratio: float) -> Fact:
    return above("first/last gradient at init", _ratio(f, f.init), ratio, "delta_rms")


def _init_below(f: Figures, ratio: float) -> Fact:
    return below("first/last gradient at init", _ratio(f, f.init), ratio, "delta_rms")


def _end_above(f: Figures, ratio: float) -> Fact:
    return above("first/last gradient at the end", _ratio(f, f.end), ratio, "delta_rms")


def _exploding_at_init(f: Figures) -> Iterable[Way]:
    if not f.normalizes:
        yield (_init_above(f, EXPLODING_RATIO),)


def _exploding_forward(f: Figures) -> Iterable[Way]:
    if f.normalizes:
        return
    loss = _over(f.loss_init, f.chance_loss)
    yield (above("loss at init over that of chance", loss, EXPLODED_LOSS, PROBE_LOSS),)


def _vanishing_at_init(f: Figures) -> Iterable[Way]:
    yield (_init_below(f, VANISHING_RATIO),)


def _alike(f: Figures) -> Fact:
    cosine = f.init.cosine
    measured = cosine if not math.isnan(cosine) or not f.config.model.hidden_layers else None
    return above("samples' mean cosine at init", measured, COLLAPSED_COSINE, "sample_cosine")


def _alike_less(f: Figures, threshold: float) -> Fact:
    centred = None if math.isnan(f.init.centred_cosine) else f.init.centred_cosine
    less = "the same less what units have in common"
    return above(less, centred, threshold, "act_std")


def _distance(f: Figures, when: str) -> tuple[str, Figure]:
    distance = (f.init if when == "init" else f.end).distance
    at = "at init" if when == "init" else "at the end"
    return f"tokens' distance from rank 1 {at}", None if math.isnan(distance) else distance


def _one_token(f: Figures, when: str) -> Fact:
    return below(*_distance(f, when), COLLAPSED_DISTANCE, "rank_one_distance")


def _deep(f: Figures, layers: int = DEEP) -> Fact:
    return above("hidden layers without skips", f.layers_without_skips, layers - 1)


def _collapsed_by_biases(f: Figures) -> Iterable[Way]:
    phi = ACTIVATIONS[f.config.model.activation].phi
    # Of a nonlinearity that is not 0 at 0 all samples look alike without any bias.
    if phi is None or not np.any(phi(np.zeros(1))):
        yield _alike(f), above("model.bias_std", f.config.model.bias_std, LARGE_BIAS)


def _collapsed(f: Figures) -> Iterable[Way]:
    if f.config.norm.erases_channel_means:
        yield (below("what norm and pooling leave of a channel's mean", 0.0, 1.0),)
    if f.config.model.of_tokens:
        yield (_one_token(f, "init"),)
    yield _alike(f), _alike_less(f, FORGOTTEN_COSINE)
    yield _alike(f), _alike_less(f, COLLAPSED_CENTRED_COSINE), _deep(f, VERY_DEEP)


def _nearly_collapsed(f: Figures) -> Iterable[Way]:
    yield _alike(f), _alike_less(f, COLLAPSED_CENTRED_COSINE)


# ------------------------------------------------------------------------- in training


def _stale_statistics(f: Figures) -> Iterable[Way]:
    if not f.config.norm.over_batch:
        return
    learned = _over(f.loss_end, f.chance_loss)
    learning = below("train-mode loss over that of chance", learned, LEARNED_LOSS, PROBE_LOSS)
    apart = "eval-mode loss over train-mode loss", _over(f.loss_end_eval_mode, f.loss_end)
    yield learning, above(*apart, STALE_RATIO, PROBE_LOSS)
    left = f.config.norm.share_of_start(f.ending.step)
    yield (
        learning,
        above(*apart, LAGGING_RATIO, PROBE_LOSS),
        above("share that running statistics keep of their start", left, MOSTLY_START),
    )


def _weight_decay(f: Figures) -> Iterable[Way]:
    decay = f.config.optimizer.weight_decay
    kept = "median ‖W‖ at the end over that at init", f.weight_kept
    yield below(*kept, DECAYED, "weight_norm"), above("optimizer.weight_decay", decay, 0)


def _short_path(f: Figures, path: float = SHORT_PATH) -> Fact:
    return below("sum of ‖ΔW‖/‖W‖ over all steps", f.path, path, "update_ratio")


def _step(f: Figures) -> tuple[str, Figure]:
    return "mean ‖ΔW‖/‖W‖ of a step", f.update


def _clipping(f: Figures) -> Iterable[Way]:
    clip, eps = f.config.training.clip_norm, getattr(f.config.optimizer, "eps", math.inf)
    # Adam divides a gradient by its own size, until that is lost in ε.
    if clip is not None and clip / math.sqrt(f.ending.parameters) < LOST_IN_EPS * eps:
        left = below("share of the gradient that clipping leaves", f.clip_factor, CLIPPED)
        yield left, _short_path(f)


def _rate_too_small(f: Figures) -> Iterable[Way]:
    yield below(*_step(f), SMALL_STEP, "update_ratio"), _short_path(f)


def _too_few_steps(f: Figures) -> Iterable[Way]:
    yield (_short_path(f),)


def _batch_too_small(f: Figures) -> Iterable[Way]:
    values = f.normalized_values
    yield (below("values that a batch has for a mean", values, FEW_VALUES),)


def _bottleneck(f: Figures) -> Iterable[Way]:
    yield (below("units over bits of the label", f.narrowest / f.bits, 1.0),)


def _diverged(f: Figures) -> Iterable[Way]:
    if f.ending.status == "diverged":
        yield (above("loss or gradient", math.inf, LARGEST_FLOAT),)


def _diverged_at_init(f: Figures) -> Iterable[Way]:
    if f.ending.step == 0:
        yield from _diverged(f)


def _loss_to_start(f: Figures) -> Figure:
    """The probe batch's loss at the end over that at init, or over chance's where that is more."""
    if f.loss_init is None or f.loss_end is None:
        return None
    return f.loss_end / max(f.loss_init, f.chance_loss)


def _rate_too_large(f: Figures) -> Iterable[Way]:
    most = GROWN_BEFORE_NORM if f.normalizes else GROWN
    grown = "median ‖W‖ at the end over that at init or √width", f.weight_growth
    yield (above(*grown, most, "weight_norm"),)
    if not f.normalizes:
        yield (above(*_step(f), LARGE_STEP, "update_ratio"),)
        # Where it was not measured, no other cause is held back for it.
        blown = "loss at the end over that at init or of chance", _loss_to_start(f)
        yield (above(*blown, EXPLODED_LOSS),)
        shallow = below("hidden layers without skips", f.layers_without_skips, DEEP)
        yield _init_below(f, EXPLODING_RATIO), _end_above(f, EXPLODING_RATIO), shallow
    yield (
        above("dead units at the end", f.dead_end, DEAD, "dead_fraction"),
        below("dead units at init", f.dead_init, DEAD, "dead_fraction"),
    )
    yield (
        _init_above(f, FAINT_RATIO),
        below("first/last gradient at the end", _ratio(f, f.end), VANISHING_RATIO, "delta_rms"),
    )
    if f.config.model.of_tokens:
        apart = above(*_distance(f, "init"), COLLAPSED_DISTANCE, "rank_one_distance")
        yield apart, _one_token(f, "end")


def _fall(f: Figures) -> tuple[str, Figure]:
    return "fall of the train loss in the last quarter", f.falling


def _capacity(f: Figures) -> Iterable[Way]:
    if f.config.model.activation == "identity":
        yield below("layers with a nonlinearity", 0, 1), below(*_fall(f), STILL_FALLING)
    units = f.narrowest / f.ending.classes
    yield (below("units of the last hidden layer over classes", units, 1),)


def _few_values(f: Figures) -> Iterable[Way]:
    pixels = f.config.data.pixels or math.inf
    yield (below("values of an image over bits of the label", pixels / f.bits, 1),)


def _faint_at_init(f: Figures) -> Iterable[Way]:
    yield (_init_below(f, FAINT_RATIO),)


def _stopped(f: Figures) -> Iterable[Way]:
    if f.ending.status == "stopped":
        skill, value = _train_skill(f)
        yield (below(f"{skill}, at training.stop_value", value, TRAINED_SKILL),)


def _noisy(f: Figures) -> Iterable[Way]:
    yield (above("norm.noise", getattr(f.config.norm, "noise", 0), 0),)


def _still_falling(f: Figures) -> Iterable[Way]:
    if (_loss_to_start(f) or 0) > 1:  # it comes down from where the steps have put it
        return
    yield (
        above(*_fall(f), STILL_FALLING),
        below("hidden layers without skips", f.layers_without_skips, VERY_DEEP),
    )


def _exploding_behind_norm(f: Figures) -> Iterable[Way]:
    if f.normalizes:
        yield _deep(f), _init_above(f, EXPLODING_RATIO)


def _exploding_behind_norm_to_the_end(f: Figures) -> Iterable[Way]:
    for way in _exploding_behind_norm(f):
        yield (*way, _end_above(f, EXPLODING_RATIO))


def _moved_little_a_step(f: Figures) -> Iterable[Way]:
    yield _short_path(f, LEARNING_PATH), below(*_step(f), GOOD_STEP, "update_ratio")


def _moved_little_in_all(f: Figures) -> Iterable[Way]:
    yield (_short_path(f, LEARNING_PATH),)


def _depth(f: Figures) -> Iterable[Way]:
    yield _deep(f), _end_above(f, VANISHING_RATIO)


# The causes that are there before the first step; a run of none is judged by them alone.
AT_INIT = ("zero_init", "exploding_at_init", "vanishing_at_init", "collapsed")
# In the order in which they exclude each other; `normlab explain diagnosis` has each in words.
RULES: tuple[Rule, ...] = (
    Rule("memorizes", _memorizes),
    Rule("none", _none),
    Rule("label_noise", _learned_but_noise),
    Rule("too_short", _stopped),
    Rule("exploding_at_init", _diverged_at_init),
    Rule("zero_init", _zero_init),
    Rule("data_settings", _cropped),
    Rule("stale_statistics", _stale_statistics),
    Rule("exploding_at_init", _exploding_at_init),
    Rule("collapsed", _collapsed_by_biases),
    Rule("vanishing_at_init", _vanishing_at_init),
    Rule("collapsed", _collapsed),
    Rule("exploding_at_init", _exploding_forward),
    Rule("rate_too_large", _diverged),
    Rule("depth", _exploding_behind_norm_to_the_end),
    Rule("weight_decay", _weight_decay),
    Rule("clipping", _clipping),
    Rule("rate_too_small", _rate_too_small),
    Rule("too_short", _too_few_steps),
    Rule("batch_too_small", _batch_too_small),
    Rule("capacity", _bottleneck),
    Rule("depth", _exploding_behind_norm),
    Rule("rate_too_large", _rate_too_large),
    Rule("capacity", _capacity),
    Rule("data_settings", _few_values),
    Rule("collapsed", _nearly_collapsed),
    Rule("vanishing_at_init", _faint_at_init),
    Rule("unknown", _noisy),
    Rule("label_noise", _slowed_by_noise),
    Rule("too_short", _still_falling),
    Rule("depth", _depth),
    Rule("rate_too_small", _moved_little_a_step),
    Rule("too_short", _moved_little_in_all),
)
