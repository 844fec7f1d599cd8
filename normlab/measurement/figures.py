"""The figures of one training by which the cause of its failure is decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from normlab.config import Config
from normlab.measurement.states import State

if TYPE_CHECKING:
    from pandas import DataFrame

# A network of this skill or more is said to train.
TRAINED_SKILL = 0.9
# Of sound networks train skill is 0.02 to 0.05 above test skill, on digits with few or no noisy
# labels; noise that is learned by heart makes as much of a gap as its share at most.
CLEAR_GAP = 0.05
# Fewer labels that were drawn anew cannot be told from mistakes that are there by chance.
LEAST_LABELS = 10

# None where it was not measured; NaN where it was, and is not finite or has no value.
Figure = float | None


def skill(accuracy: float, chance: float) -> float:
    """The share of the way from chance to perfect accuracy."""
    return (accuracy - chance) / (1 - chance)


@dataclass(frozen=True)
class TrainingEnd:
    """How a training came to its end."""

    status: str  # a name in vocabulary.STATUSES
    step: int
    classes: int
    steps_per_epoch: int
    parameters: int


@dataclass(frozen=True)
class Figures:
    """What was measured of one training, and what its settings alone decide.

    Skill is the share of the way from chance to perfect accuracy. Loss is that of the probe batch.
    """

    config: Config
    ending: TrainingEnd
    train_skill: float
    test_skill: float
    chance_loss: float  # of a network that gives every class the same probability
    init: State
    end: State
    loss_init: Figure  # in train mode
    loss_end: Figure  # in train mode
    loss_end_eval_mode: Figure
    falling: Figure  # share of the train loss lost in the last quarter of the steps
    gain_init: Figure  # the largest layer's ‖W‖/√width, about its gain
    weight_kept: Figure  # median over layers of ‖W‖ at the end over ‖W‖ at init
    weight_growth: Figure  # the same over ‖W‖ at init or √width, about a gain of 1, if that is more
    update: Figure  # mean over steps of ‖ΔW‖/‖W‖, of the layer where it is largest
    dead_init: Figure  # mean share of dead units over hidden layers
    dead_end: Figure
    clip_factor: Figure  # median of what clipping left of the gradient

    @property
    def path(self) -> Figure:
        """How far the weights of the layer that moved most came, step by step, in units of their
        own size: the sum of ‖ΔW‖/‖W‖ over all steps."""
        return None if self.update is None else self.update * self.ending.step

    @property
    def normalized_values(self) -> float:
        """How many values a norm over the batch has for each of its means, at least; infinite
        without such a norm. Padding counts only where the norm sees it."""
        config = self.config
        if not (config.norm.over_batch and config.model.uses_norm):
            return math.inf
        maps: list[tuple[int, int]] = []
        if config.data.image_shape:
            _, height, width = config.data.image_shape
            rows = height if config.norm.sees_padding else config.data.least_rows(height)
            maps = config.model.feature_maps(rows, width)
        return config.training.batch_size * min((h * w for h, w in maps), default=1)

    @property
    def schedule_factor(self) -> float:
        """The schedule's mean factor of the learning rate over all steps."""
        return float(np.mean(self._schedule()))

    @property
    def schedule_peak(self) -> float:
        """The schedule's largest factor of the learning rate."""
        return max(self._schedule())

    def _schedule(self) -> list[float]:
        steps = self.ending.step
        chosen = range(0, steps, max(1, steps // 1000))
        return [self.config.schedule.factor(step, steps) for step in chosen] or [1.0]

    @property
    def samples(self) -> int:
        """How many training samples an epoch has, those of whole batches."""
        return self.ending.steps_per_epoch * self.config.training.batch_size

    @property
    def label_noise(self) -> float:
        """The share of training samples whose label was drawn anew, all classes alike; 0 where
        those are less than `LEAST_LABELS`."""
        share: float = getattr(self.config.data, "label_noise", 0.0)
        return share if share * self.samples >= LEAST_LABELS else 0.0

    @property
    def rule_skill(self) -> float:
        """The train skill of a network that gets every true label right, and no other: 1 − p of
        labels of which a share of p was drawn anew."""
        return 1 - self.label_noise

    @property
    def narrowest(self) -> int:
        """The units of the last hidden layer, of a CNN after pooling: what the output sees."""
        return self.config.model.channels[-1]

    @property
    def bits(self) -> float:
        """What a label says, log₂ K."""
        return math.log2(self.ending.classes)

    @property
    def layers_without_skips(self) -> int:
        """How many hidden layers the gradient passes one after the other without a way around."""
        return 1 if self.config.model.residual else self.config.model.hidden_layers

    @property
    def normalizes(self) -> bool:
        """Whether anything in the network normalizes activations."""
        return self.config.norm.normalizes and self.config.model.uses_norm


def figures_of(
    config: Config,
    metrics: "DataFrame",
    layers: "DataFrame",
    ending: TrainingEnd,
    states: tuple[State, State],
) -> Figures:
    """The figures of a training by its tables and its states at init and at the end."""
    last = metrics.iloc[-1].to_dict() if len(metrics) else {}
    chance = 1 / ending.classes
    train_skill, test_skill = (
        skill(float(last.get(accuracy, math.nan)), chance) for accuracy in ("train_acc", "test_acc")
    )
    init, end = states
    snapshots = (init.step, end.step)
    weights = [values_at(layers, "weight_norm", step) for step in snapshots]
    dead = [values_at(layers, "dead_fraction", step) for step in snapshots]
    losses = _column(metrics, "probe_loss_train_mode")
    return Figures(
        config=config,
        ending=ending,
        train_skill=train_skill,
        test_skill=test_skill,
        chance_loss=_chance_loss(config.training.loss, ending.classes),
        init=init,
        end=end,
        loss_init=losses[0] if losses else None,
        loss_end=_at_end(metrics, "probe_loss_train_mode"),
        loss_end_eval_mode=_at_end(metrics, "probe_loss_eval_mode"),
        falling=_falling(metrics),
        gain_init=_largest_gain(config, weights[0]),
        weight_kept=growth(weights, 0.0),
        weight_growth=growth(weights, math.sqrt(config.model.width)),
        update=mean_update(layers, ending.step),
        dead_init=_mean(dead[0]),
        dead_end=_mean(dead[1]),
        clip_factor=_median(_column(metrics, "clip_factor")),
    )


def _column(metrics: "DataFrame", name: str) -> list[float]:
    """The values of a column where it was measured; none of tables that lack it."""
    return [] if name not in metrics else metrics[name].dropna().astype(float).tolist()


def _at_end(metrics: "DataFrame", name: str) -> Figure:
    """A column's value at the last evaluation, where it was measured then."""
    values = _column(metrics.tail(1), name)
    return values[0] if values else None


def values_at(layers: "DataFrame", probe: str, step: int) -> NDArray[np.float64] | None:
    """A probe's values of every layer at one step, from the input; None where none was measured."""
    if probe not in layers or not len(layers):
        return None
    rows = layers[layers["step"] == step].sort_values("layer")
    values = rows[probe].to_numpy(dtype=np.float64)
    return None if np.isnan(values).all() else values


def _chance_loss(loss: str, classes: int) -> float:
    """−ln(1/K) of softmax; of a sigmoid for each class −ln(1/K) − (K−1)·ln(1−1/K)."""
    chance = 1 / classes
    others = (classes - 1) * math.log1p(-chance) if loss == "sigmoid" else 0.0
    return -math.log(chance) - others


def _falling(metrics: "DataFrame") -> Figure:
    """1 − L(T)/L(¾T) of the train loss, L(¾T) that of the last evaluation in three quarters; None
    where there is none in the third of them."""
    if "train_loss" not in metrics or len(metrics) < 2:
        return None
    steps, losses = metrics["step"].to_numpy(), metrics["train_loss"].to_numpy(dtype=float)
    before = losses[(steps <= 0.75 * steps[-1]) & (steps >= 0.5 * steps[-1])]
    if not len(before):
        return None
    return float(1 - losses[-1] / before[-1]) if before[-1] > 0 else math.nan


def _largest_gain(config: Config, weights: NDArray[np.float64] | None) -> Figure:
    if weights is None:
        return None
    return float(weights.max()) / math.sqrt(config.model.width)


def growth(weights: "Sequence[NDArray[np.float64] | None]", least: float) -> Figure:
    """Median of ‖W‖ at the end over that at init, or over `least` where that is more."""
    before, after = weights
    if before is None or after is None:
        return None
    from_what = np.maximum(before, least)
    grown = after[from_what > 0] / from_what[from_what > 0]
    return float(np.median(grown)) if len(grown) else math.nan


def mean_update(layers: "DataFrame", steps: int) -> Figure:
    """Mean over steps of ‖ΔW‖/‖W‖, of the layer where it is largest; None where not measured.

    By trapezoids between measured steps; the last one stands for all behind it. A layer that begins
    as 0 is left out where others do not: at first it moves infinitely far, and then by about 1/t of
    itself in step t, whatever the rate.
    """
    if "update_ratio" not in layers:
        return None
    measured = layers.dropna(subset=["update_ratio"])
    if measured.empty:
        return None
    table = measured.pivot(index="step", columns="layer", values="update_ratio")
    places = np.array([*table.index.tolist(), steps])
    if places[-1] == places[0]:
        return math.nan
    drawn = np.isfinite(table.iloc[0].to_numpy())
    if drawn.any():
        table = table.loc[:, drawn]
    values = np.vstack([table.to_numpy(), table.to_numpy()[-1:]])
    between = (values[1:] + values[:-1]) / 2 * np.diff(places)[:, None]
    return float(between.sum(axis=0).max() / (places[-1] - places[0]))


def _mean(values: NDArray[np.float64] | None) -> Figure:
    return None if values is None else float(np.nanmean(values))


def _median(values: Sequence[float]) -> Figure:
    return float(np.median(values)) if values else None
