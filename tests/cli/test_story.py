"""The README's four runs, the two deep ones with fewer epochs: what the project exists to show."""

from pathlib import Path

import pytest

from normlab.config import compose
from normlab.runs import Finished, Summary, execute

SIGMOID = ("model=mlp", "model.depth=20", "model.activation=sigmoid")
DEEP = ("model.depth=56", "norm=bn", "training.epochs=6")


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Summary]:
    runs = {
        "sigmoid": [*SIGMOID, "norm=none"],
        "sigmoid bn": [*SIGMOID, "norm=bn"],
        "plain": ["model=cnn", *DEEP],
        "residual": ["model=resnet", *DEEP],
    }
    root: Path = tmp_path_factory.mktemp("results")
    found = {}
    for name, overrides in runs.items():
        *_, last = execute(compose([*overrides, f"output.root='{root}'", "runtime.device=cpu"]))
        assert isinstance(last, Finished)
        found[name] = last.summary
    return found


def test_a_deep_sigmoid_net_has_a_vanishing_gradient(summaries: dict[str, Summary]) -> None:
    found = summaries["sigmoid"]
    assert found.verdict == found.verdict_init == "vanishing"
    assert found.gradient_ratio_init < 1e-8
    assert 0.2 < found.gradient_factor_init < 0.4
    assert found.train_acc < 0.2


def test_batch_norm_cures_it(summaries: dict[str, Summary]) -> None:
    found = summaries["sigmoid bn"]
    assert found.verdict == "trains"
    assert 0.05 < found.gradient_ratio_init < 20


def test_a_deep_plain_net_trains_badly_though_its_gradient_lives(
    summaries: dict[str, Summary],
) -> None:
    found = summaries["plain"]
    assert found.verdict == "undertrained"
    assert found.verdict_init == "exploding"  # BatchNorm without skips, Yang et al. 2019
    assert 1e-2 < found.gradient_ratio_end < 1e2
    assert found.train_acc < 0.5


def test_its_residual_twin_trains(summaries: dict[str, Summary]) -> None:
    assert summaries["residual"].verdict == "trains"
    assert summaries["residual"].parameters == summaries["plain"].parameters
