"""Figures from runs: statistics with their spread, against scipy; tables that are read once."""

import contextlib
import math

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats

from normlab.claims import MEASURES, Evidence, Measure
from normlab.claims.claim import Measured
from normlab.claims.evidence import measured, statistic_and_spread
from normlab.claims.expressions import evaluate_expression
from normlab.errors import ConfigError, RecordError
from tests.claims.doctored import evidence


def test_a_seed_that_lacks_a_part_is_nan_not_left_out():
    found = evaluate_expression('train_acc("norm=bn") - train_acc("norm=ln")', evidence())
    assert math.isnan(found[2])
    gap = Measure(name="gap", value='train_acc("norm=bn") - train_acc("norm=ln")', gate=(0, 1))
    part = measured(gap, evidence())
    assert (part.n, part.missing, part.holds) == (3, 1, False)


def test_a_metric_is_of_one_run_a_seed():
    runs = evidence(seed=[2, 0, 1, 0, 1], train_acc=[3, 1, 2, 5, 6])
    found = runs.metric_by_seed("train_acc", "norm=bn")
    assert list(found.items()) == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert found.dtype == float
    for filters, says in (
        (("norm=bn", "status=failed"), "train_acc('norm=bn', 'status=failed'): no run is so"),
        (
            ("seed<2", "norm=bn,ln"),
            "train_acc('seed<2', 'norm=bn,ln'): 4 runs of 2 seeds; add filters until one run a "
            "seed is left",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            runs.metric_by_seed("train_acc", *filters)
        assert str(error.value) == says
    with pytest.raises(ConfigError) as error:
        runs.metric_by_seed("speed")
    assert str(error.value) == "speed: no such metric; choices: train_acc, gradient_ratio_init"


def test_what_is_demonstrated_has_its_own_seeds():
    measure = Measure(name="sum", measure="demonstrated", arguments={"figure": "sum"})
    shown = {seed: {"sum": float(seed)} for seed in (1, 2, 6)}
    found = measured(measure, Evidence(DataFrame({"seed": []}), shown))
    assert (found.value, found.n, found.missing) == (3, 3, 0)
    assert found.low < 3 < found.high
    with pytest.raises(RecordError, match=r"^sum: no seed has what it is made of$"):
        measured(measure, Evidence(DataFrame()))


def test_a_run_s_tables_are_its_own(monkeypatch):
    """Each of two runs has two."""
    monkeypatch.setattr(
        "normlab.claims.evidence.read_table",
        lambda folder, name: DataFrame({"of": [f"{name} of {folder.name}"]}),
    )
    runs = Evidence(DataFrame())
    for folder in ("a", "b"):
        assert runs.metrics(folder)["of"].item() == f"metrics of {folder}"
        assert runs.layers(folder)["of"].item() == f"layers of {folder}"


@pytest.mark.parametrize(
    ("gate", "value", "within"),
    [
        ((0, 0), 0.0, True),
        ((0, 0), -1e-9, False),
        ((1, 2), 1.0, True),
        ((1, 2), 2.0, True),
        ((1, 2), 2.1, False),
        ((1, 2), math.nan, False),
        (None, math.nan, True),
    ],
)
def test_both_ends_of_a_gate_lie_within_it(gate, value, within):
    measure = Measure(name="x", value="train_acc", gate=gate)
    assert Measured(measure, value, value, value, n=1).holds is within


@contextlib.contextmanager
def registered(function):
    MEASURES.add("of_a_test", function)
    try:
        yield
    finally:
        MEASURES.remove("of_a_test")


def test_a_function_that_forgets_a_seed_does_not_drop_it():
    def two_of_three(_evidence, figure: float):
        return {0: figure, 1: figure}

    with registered(two_of_three):
        measure = Measure(
            name="accuracy", measure="of_a_test", arguments={"figure": 0.5}, gate=(0, 1)
        )
        part = measured(measure, evidence())
    assert (part.n, part.missing, part.holds) == (3, 1, False)


def test_a_run_s_tables_are_read_once(monkeypatch):
    """Five measures of three runs' layers, and three reads."""
    reads = []

    def read(folder, name):
        reads.append((folder.name, name))
        return DataFrame(
            {"step": [0, 1] * 3, "layer": [1, 1, 2, 2, 3, 3], "mean_delta": [1.0, 2.0] * 3}
            | {"act_mean": [0.0, 1.0] * 3, "act_std": [2.0] * 6}
        )

    monkeypatch.setattr("normlab.claims.evidence.read_table", read)
    seeds = {"seed": [0, 1, 2], "model.depth": [3] * 3, "folder": ["a", "b", "c"]}
    runs = Evidence(DataFrame({**seeds, "status": ["finished"] * 3}))
    for name, arguments in (
        ("nielsen_ratio", {"hidden": 2}),
        ("nielsen_extreme", {"hidden": 2, "extreme": "min"}),
        ("nielsen_extreme", {"hidden": 2, "extreme": "max"}),
        ("drift", {}),
        ("drift", {"runs": ["model.depth=3"]}),
    ):
        assert measured(Measure(name=name, measure=name, arguments=arguments), runs).n == 3
    assert sorted(reads) == [("a", "layers"), ("b", "layers"), ("c", "layers")]


@pytest.mark.parametrize("statistic", ["mean", "geomean", "median", "min", "max"])
def test_no_statistic_hides_a_missing_seed(statistic):
    assert math.isnan(statistic_and_spread(np.array([1.0, math.nan, 2.0]), statistic)[0])


VALUES = np.array([1.0, 2.0, 4.0, 9.0])


def test_means_have_their_confidence_interval():
    half = stats.t.ppf(0.975, 3) * VALUES.std(ddof=1) / 2
    assert statistic_and_spread(VALUES, "mean") == pytest.approx((4, 4 - half, 4 + half), rel=1e-6)
    logs = np.log(VALUES)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    expected = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    assert statistic_and_spread(VALUES, "geomean") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("statistic", ["mean", "geomean"])
def test_equal_figures_are_their_own_spread(statistic):
    assert statistic_and_spread(np.array([0.3] * 2), statistic) == (0.3, 0.3, 0.3)
    value, *spread = statistic_and_spread(np.array([math.inf] * 2), statistic)
    assert value == math.inf
    assert np.isnan(spread).all()


def test_a_median_beside_an_infinite_figure_has_no_spread():
    value, *spread = statistic_and_spread(np.array([1.0, math.inf, 2.0]), "median")
    assert value == 2
    assert np.isnan(spread).all()


def test_other_statistics_show_where_the_seeds_lie():
    assert statistic_and_spread(VALUES, "median") == (3.0, *np.percentile(VALUES, [10, 90]))
    assert statistic_and_spread(VALUES, "min") == (1, 1, 9)
    assert statistic_and_spread(VALUES, "max") == (9, 1, 9)
    assert statistic_and_spread(np.array([0.5]), "mean")[0] == 0.5
    assert math.isnan(statistic_and_spread(np.array([0.5]), "mean")[1])


@pytest.mark.parametrize("statistic", ["mean", "geomean", "median", "min", "max"])
def test_an_infinite_seed_is_not_lost(statistic):
    value, _, _ = statistic_and_spread(np.array([1.0, 2.0, math.inf]), statistic)
    assert math.isinf(value) == (statistic in ("mean", "geomean", "max"))


def test_a_figure_outside_its_gate_does_not_hold():
    for gate, holds in (
        ((0.7, 0.9), True),
        ((0.81, 0.9), False),
        ((0.0, 0.79), False),
        (None, True),
    ):
        measure = Measure(name="accuracy", value='train_acc("norm=bn")', gate=gate)
        found = measured(measure, evidence())
        assert found.holds == holds
        assert (found.value, found.n) == (pytest.approx(0.8), 3)
    with registered(lambda _: {0: math.nan}):
        nan = Measure(name="accuracy", measure="of_a_test", gate=(0, 1))
        assert not measured(nan, evidence()).holds


def test_a_figure_that_was_not_demonstrated_is_named():
    measure = Measure(name="sum", measure="demonstrated", arguments={"figure": "nowhere"})
    with pytest.raises(RecordError, match="sum: the runs or figures have no 'nowhere'"):
        measured(measure, Evidence(DataFrame({"seed": []}), {0: {"sum": 1.0}}))
