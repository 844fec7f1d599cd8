"""The figures that causes are decided by, from tables whose answer is known by hand."""

import math

import numpy as np
import pytest
from pandas import DataFrame

from normlab.measurement.figures import TrainingEnd, figures_of
from normlab.measurement.states import NOTHING_MEASURED
from tests.measurement.failing import composed, state

EMPTY = DataFrame({"step": [], "layer": []})


def metrics(*losses: float, **columns: list[float]) -> DataFrame:
    """An evaluation every four steps."""
    table = DataFrame({"step": [4 * i for i in range(len(losses))], "train_loss": losses})
    return table.assign(train_acc=0.55, test_acc=0.1, **columns)


def layers(step: int, **probes: list[float]) -> DataFrame:
    count = len(next(iter(probes.values())))
    return DataFrame({"step": step, "layer": range(1, count + 1), **probes})


def found(table: DataFrame, of_layers: DataFrame = EMPTY, *overrides: str, classes: int = 10):
    config = composed("model=mlp", "model.depth=3", "model.width=16", "norm=none", *overrides)
    ending = TrainingEnd("finished", 16, classes, 4, 10_000)
    ends = (state(step=0), state(step=16))
    return figures_of(config, table, of_layers, ending, ends)


def test_skills_and_the_loss_of_chance() -> None:
    figures = found(metrics(2.0))
    assert figures.train_skill == pytest.approx(0.5)
    assert figures.test_skill == pytest.approx(0.0)
    assert figures.chance_loss == pytest.approx(math.log(10))
    # A logistic loss for each of four classes, each taken for true with probability ¼.
    quarter = -math.log(0.25) - 3 * math.log(0.75)
    assert found(metrics(2.0), EMPTY, "training.loss=sigmoid", classes=4).chance_loss == (
        pytest.approx(quarter)
    )


def test_the_share_of_noisy_labels_of_which_there_are_enough() -> None:
    # 4 steps of 128 samples: 10 labels are a share of 0.0195.
    assert found(metrics(2.0), EMPTY, "data.label_noise=0.0196").label_noise == 0.0196
    assert found(metrics(2.0), EMPTY, "data.label_noise=0.0195").label_noise == 0


def test_losses_of_the_probe_batch_at_the_first_and_the_last_snapshot() -> None:
    table = metrics(2.0, 1.0, 0.5, probe_loss_train_mode=[2.5, math.nan, 0.25])
    table["probe_loss_eval_mode"] = [9.0, math.nan, 7.0]
    figures = found(table)
    assert (figures.loss_init, figures.loss_end, figures.loss_end_eval_mode) == (2.5, 0.25, 7.0)
    # Losses of another step are none of the end's.
    assert found(table.iloc[:2]).loss_end is None
    older = found(metrics(2.0, 1.0))
    assert (older.loss_init, older.loss_end, older.clip_factor) == (None, None, None)


def test_the_loss_lost_in_the_last_quarter() -> None:
    assert found(metrics(9.0, 8.0, 7.0, 4.0, 3.0)).falling == pytest.approx(1 - 3 / 4)
    # The last evaluation of the first three quarters of 8 steps is that of step 4.
    assert found(metrics(9.0, 8.0, 2.0)).falling == pytest.approx(1 - 2 / 8)
    assert found(metrics(9.0, 2.0)).falling is None  # of 4 steps, that of step 0 is no late one
    assert found(metrics(9.0)).falling is None
    assert math.isnan(found(metrics(9.0, 8.0, math.nan)).falling or 0.0)


def test_the_path_is_the_sum_of_relative_steps_of_the_layer_that_moves_most() -> None:
    """‖ΔW‖/‖W‖ = a/(s + 1) at step s, of which every step but some was measured."""
    rng = np.random.default_rng(0)
    measured = sorted({0, 1, 2, *rng.choice(16, 9, replace=False).tolist(), 15})
    table = EMPTY
    for step in measured:
        ratios = [0.01 / (step + 1), 0.04 / (step + 1), 0.02]
        table = (
            layers(step, update_ratio=ratios)
            if table.empty
            else (
                DataFrame(
                    np.vstack([table, layers(step, update_ratio=ratios)]), columns=table.columns
                )
            )
        )
    figures = found(metrics(2.0), table)
    # The third layer's 16 steps of 0.02 are more than the second's 0.04·(1 + ½ + … + 1/16) = 0.135.
    assert figures.path == pytest.approx(0.32)
    second = table[table["layer"] < 3]
    exact = 0.04 * sum(1 / (step + 1) for step in range(16))
    assert found(metrics(2.0), second).path == pytest.approx(exact, rel=0.2)
    assert found(metrics(2.0)).update is None


def test_weights_and_dead_units_at_both_ends() -> None:
    probes = {"weight_norm": [4.0, 2.0, 1.0], "dead_fraction": [0.25, 0.75, math.nan]}
    later = {"weight_norm": [2.0, 2.0, 3.0], "dead_fraction": [1.0, 1.0, math.nan]}
    table = DataFrame(
        np.vstack([layers(0, **probes), layers(16, **later)]),
        columns=["step", "layer", "weight_norm", "dead_fraction"],
    )
    figures = found(metrics(2.0), table)
    assert figures.gain_init == pytest.approx(4 / math.sqrt(16))
    assert figures.weight_kept == pytest.approx(1.0)  # the median of ½, 1 and 3
    # Over √16 where a weight began smaller: the median of ½, ½ and ¾.
    assert figures.weight_growth == pytest.approx(0.5)
    assert (figures.dead_init, figures.dead_end) == (0.5, 1.0)


def test_clipping_is_told_by_its_median() -> None:
    table = metrics(2.0, 1.0, 0.5, 0.4, clip_factor=[math.nan, 0.1, 0.3, 1.0])
    assert found(table).clip_factor == pytest.approx(0.3)


def test_nothing_measured() -> None:
    config = composed("model=mlp", "norm=none")
    ending = TrainingEnd("finished", 16, 10, 4, 10_000)
    nothing = (NOTHING_MEASURED, NOTHING_MEASURED)
    figures = figures_of(config, DataFrame(), EMPTY, ending, nothing)
    assert math.isnan(figures.train_skill)
    names = ("loss_init", "gain_init", "weight_growth", "update", "dead_end", "clip_factor", "path")
    assert [getattr(figures, name) for name in names] == [None] * len(names)
