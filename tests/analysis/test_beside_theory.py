"""What was measured at initialization beside theory, against figures by hand."""

from pathlib import Path

import pytest

from normlab.analysis import beside_theory, series
from normlab.analysis.frames import to_frame
from normlab.config import from_plain
from normlab.errors import ConfigError
from normlab.measurement import predict
from normlab.runs import Summary
from tests.analysis import sample


def test_measured_factors_stand_beside_those_of_theory(tmp_path: Path) -> None:
    later = [5.0, 4.0, 3.0, 2.0, 1.0]
    runs: list[tuple[str, Summary]] = [
        sample.measured(
            tmp_path, {0: [1.0, 1.0, 1.0, 1.0, 1.0]}, "norm=ln"
        ),  # theory knows nothing
        sample.measured(tmp_path, {0: [0.0, 1.0, 1.0, 1.0, 1.0]}, "norm=wn"),  # no factor of 0
        sample.measured(tmp_path, {0: [0.1, 0.2, 0.8, 0.4, 9.0], 7: later}, "norm=wn", seed=1),
        sample.measured(tmp_path, {0: [0.4, 0.2, 0.2, 0.4, 9.0], 7: later}, "norm=wn", seed=2),
    ]
    table = beside_theory.predicted(series.with_variants(to_frame(runs)))
    assert table["variant"].tolist() == ["wn plain"] * 3
    assert table["layer"].tolist() == [1, 2, 3]
    assert table["n"].tolist() == [2, 2, 2]
    assert table["value"].tolist() == pytest.approx([1.0, 0.5, 1.0])
    assert table["low"].tolist() == pytest.approx([0.5, 0.25, 0.5])
    theory = predict(from_plain(runs[2][1].config))
    assert theory is not None
    assert len(set(theory.factors)) == 3
    assert table["predicted"].tolist() == pytest.approx(list(theory.factors))


def test_runs_that_theory_does_not_cover_are_no_prediction(tmp_path: Path) -> None:
    runs = [sample.measured(tmp_path, {0: [1.0, 1.0, 1.0, 1.0, 1.0]}, "norm=ln")]
    with pytest.raises(ConfigError, match="theory covers none of these runs"):
        beside_theory.predicted(series.with_variants(to_frame(runs)))


def test_a_net_that_theory_covers_has_its_profile_and_what_it_follows_from(tmp_path: Path) -> None:
    init = ("norm=none", "model.init=lecun_normal", "model.init_gain=2", "model.bias_std=0.5")
    skips = ("model.residual=true", "model.activation=tanh")
    runs: list[tuple[str, Summary]] = [
        sample.measured(tmp_path, {0: [0.1, 0.2, 0.8, 0.4, 9.0]}, *init, seed=1),
        sample.measured(tmp_path, {0: [0.4, 0.2, 0.2, 0.4, 9.0]}, *init, seed=2),
        # Of which a theorem says the factor, not σ_w² and σ_b².
        sample.measured(tmp_path, {0: [1.0] * 5}, "norm=bn", "model.activation=relu"),
        # Of which the page's own script knows nothing.
        sample.measured(tmp_path, {0: [1.0] * 5}, *init, *skips, "model.block=pre"),
        sample.measured(tmp_path, {0: [1.0] * 5}, *init, *skips, "model.branch_scale=depth"),
    ]
    assert beside_theory.predicted(series.with_variants(to_frame(runs)))["variant"].nunique() == 4
    (net,) = beside_theory.mean_field_nets(series.with_variants(to_frame(runs)))
    assert (net.depth, net.activation, net.residual) == (5, "tanh", False)
    assert (net.weight_variance, net.bias_variance) == (4.0, 0.25)
    assert net.input_variance == pytest.approx(1.0)
    assert net.profile["layer"].tolist() == [1, 2, 3, 4]
    assert net.profile["value"].tolist() == pytest.approx([0.5, 0.5, 1.0, 1.0])
    assert net.profile["low"].tolist() == pytest.approx([0.25, 0.5, 0.5, 1.0])
    assert net.profile["high"].tolist() == pytest.approx([1.0, 0.5, 2.0, 1.0])
    assert net.profile["n"].tolist() == [2, 2, 2, 2]


def test_the_first_layer_sees_the_data_and_not_a_hidden_layer(tmp_path: Path) -> None:
    """64 pixels into 16 units: Xavier's variance is 2·64/80, between hidden layers 1."""
    words = ("norm=none", "model.init=xavier_uniform", "model.width=16")
    runs = [sample.measured(tmp_path, {0: [1.0] * 5}, *words)]
    (net,) = beside_theory.mean_field_nets(series.with_variants(to_frame(runs)))
    assert net.weight_variance == pytest.approx(1.0)
    assert net.input_variance == pytest.approx(1.6)


def test_the_first_layers_biases_are_its_own(tmp_path: Path) -> None:
    """PyTorch draws biases by fan-in: of 64 pixels a quarter of the variance of 16 units."""
    words = ("norm=none", "model.init=pytorch", "model.width=16")
    runs = [sample.measured(tmp_path, {0: [1.0] * 5}, *words)]
    (net,) = beside_theory.mean_field_nets(series.with_variants(to_frame(runs)))
    assert net.bias_variance == pytest.approx(1 / 48)
    assert net.input_bias == pytest.approx(0.25)
