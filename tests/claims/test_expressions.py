"""Expressions over runs, and statistics with their spread, against scipy and by hand."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pandas import DataFrame
from scipy import stats

from normlab.claims import Measure
from normlab.claims.evidence import Evidence, measure_seeds, with_spread
from normlab.claims.expressions import check_expression, evaluate
from normlab.claims.registries import MEASURES
from normlab.errors import ConfigError


def evidence(**columns):
    usual = {
        "seed": [0, 1, 2, 0, 1],
        "norm": ["bn", "bn", "bn", "ln", "ln"],
        "status": ["finished"] * 5,
        "train_acc": [0.9, 0.8, 0.7, 0.5, 0.6],
        "gradient_ratio_init": [1.0, 2.0, 4.0, 8.0, 16.0],
    }
    return Evidence(DataFrame(usual | columns))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('train_acc("norm=bn")', {0: 0.9, 1: 0.8, 2: 0.7}),
        ('train_acc("norm=bn", "seed=0,1") - train_acc("norm=ln")', {0: 0.4, 1: 0.2}),
        ('100 * (1 - train_acc("norm=ln"))', {0: 50.0, 1: 40.0}),
        ('-train_acc("norm=ln") ** 2', {0: -0.25, 1: -0.36}),
        ('log(gradient_ratio_init("norm=ln")) / log(2)', {0: 3.0, 1: 4.0}),
        ('max(train_acc("norm=bn", "seed=0,1"), 0.85)', {0: 0.9, 1: 0.85}),
    ],
)
def test_expressions_are_evaluated_for_each_seed(text, expected):
    assert evaluate(text, evidence()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train_acc", "5 runs of 3 seeds; add filters"),
        ('speed("norm=bn")', "speed: no such metric; choices: train_acc"),
        ('train_acc("norm=gn")', "no run has it; norm has bn, ln"),
        ('train_acc("norm=bn"', "not an expression"),
        ("1 + 1", "is a number, whatever the runs are"),
        ("__import__('os').system('true')", "cannot read"),
        ('train_acc("norm=bn").__class__', "cannot read"),
        ("(lambda: 1)()", "cannot read"),
        ("[1][0]", "cannot read"),
        ("True + train_acc", "cannot read 'True'"),
        ("train_acc(norm='bn')", "cannot read"),
        ("2 ** 2 ** 99999 + train_acc('norm=bn')", "metric|Numerical|too large"),
        ("log() + train_acc('norm=bn')", r"log\(\) takes"),
        ("(" * 500 + "1" + ")" * 500, "not an expression"),
    ],
)
def test_other_expressions_are_refused_in_one_line(text, says):
    with pytest.raises(ConfigError, match=says) as error:
        evaluate(text, evidence())
    assert "\n" not in str(error.value)


def test_a_seed_that_lacks_a_part_is_nan_not_left_out():
    found = evaluate('train_acc("norm=bn") - train_acc("norm=ln")', evidence())
    assert math.isnan(found[2])
    gap = 'train_acc("norm=bn") - train_acc("norm=ln")'
    part = measure_seeds(Measure(name="gap", value=gap, gate=(0, 1)), evidence())
    assert (part.n, part.missing, part.holds) == (3, 1, False)


@pytest.fixture
def given():
    """A registered measure whose figures a test sets."""
    figures = {}
    MEASURES.add("given", lambda _: figures)
    yield figures
    MEASURES.remove("given")


def test_a_function_that_forgets_a_seed_does_not_drop_it(given):
    given |= {0: 0.5, 1: 0.5}
    part = measure_seeds(Measure(name="accuracy", measure="given", gate=(0, 1)), evidence())
    assert (part.n, part.missing, part.holds) == (3, 1, False)


@pytest.mark.parametrize("statistic", ["mean", "geomean", "median", "min", "max"])
def test_no_statistic_hides_a_missing_seed(statistic):
    assert math.isnan(with_spread(np.array([1.0, math.nan, 2.0]), statistic)[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trian_acc", "trian_acc: no such metric; some are train_acc"),
        ('train_acc("norm: bn")', "must be KEY=VALUE"),
        ('train_acc("norm=bn"', "not an expression"),
        ("3", "is a number, whatever the runs are"),
    ],
)
def test_expressions_are_checked_before_there_are_runs(text, says):
    check_expression('train_acc("norm=bn") - gradient_factor_theory("norm=ln", "model.depth>8")')
    with pytest.raises(ConfigError, match=says):
        check_expression(text)


@drawn(st.text(max_size=40))
def test_no_text_is_executed_or_breaks(text):
    with contextlib.suppress(ConfigError):
        evaluate(text, evidence())


VALUES = np.array([1.0, 2.0, 4.0, 9.0])


def test_means_have_their_confidence_interval():
    half = stats.t.ppf(0.975, 3) * VALUES.std(ddof=1) / 2
    assert with_spread(VALUES, "mean") == pytest.approx((4, 4 - half, 4 + half), rel=1e-6)
    logs = np.log(VALUES)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    expected = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    assert with_spread(VALUES, "geomean") == pytest.approx(expected, rel=1e-6)


def test_other_statistics_show_where_the_seeds_lie():
    assert with_spread(VALUES, "median") == (3.0, *np.percentile(VALUES, [10, 90]))
    assert with_spread(VALUES, "min") == (1, 1, 9)
    assert with_spread(VALUES, "max") == (9, 1, 9)
    assert with_spread(np.array([0.5]), "mean")[0] == 0.5
    assert math.isnan(with_spread(np.array([0.5]), "mean")[1])


@pytest.mark.parametrize("statistic", ["mean", "geomean", "median", "min", "max"])
def test_an_infinite_seed_is_not_lost(statistic):
    value, _, _ = with_spread(np.array([1.0, 2.0, math.inf]), statistic)
    assert math.isinf(value) == (statistic in ("mean", "geomean", "max"))


def test_a_figure_outside_its_gate_does_not_hold(given):
    for gate, holds in (
        ((0.7, 0.9), True),
        ((0.81, 0.9), False),
        ((0.0, 0.79), False),
        (None, True),
    ):
        measure = Measure(name="accuracy", value='train_acc("norm=bn")', gate=gate)
        found = measure_seeds(measure, evidence())
        assert found.holds == holds
        assert (found.value, found.n) == (pytest.approx(0.8), 3)
    given[0] = math.nan
    nan = Measure(name="accuracy", measure="given", gate=(0, 1))
    assert not measure_seeds(nan, evidence()).holds


@pytest.mark.parametrize(
    ("text", "bn"),
    [
        ("abs(0 - train_acc)", 0.9),
        ("log(train_acc)", math.log(0.9)),
        ("exp(train_acc)", math.exp(0.9)),
        ("sqrt(train_acc)", math.sqrt(0.9)),
        ("min(train_acc, 0.5)", 0.5),
        ("min(2, train_acc, 1)", 0.9),
        ("max(train_acc, 0.5)", 0.9),
        ("max(0.5, 0.6, train_acc)", 0.9),
        ("max(0.5, train_acc, 0.95, 0.1)", 0.95),
        ("train_acc ** 2", 0.81),
        ("-train_acc + +1", 0.1),
        ("train_acc / 2 * 3 - 1", 0.35),
    ],
)
def test_every_function_and_operator_has_its_value(text, bn):
    runs = Evidence(DataFrame({"seed": [0], "status": ["finished"], "train_acc": [0.9]}))
    assert evaluate(text, runs) == {0: pytest.approx(bn)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("abs(train_acc, 1)", r"abs\(\) takes 1 argument, not 2"),
        ("sqrt()", r"sqrt\(\) takes 1 argument, not 0"),
        ("max(train_acc)", r"max\(\) takes 2 or more arguments, not 1"),
    ],
)
def test_a_wrong_number_of_arguments_is_refused(text, says):
    with pytest.raises(ConfigError, match=f"{says}$"):
        check_expression(text)


def test_a_root_of_a_negative_number_is_none():
    runs = Evidence(DataFrame({"seed": [0], "status": ["finished"], "train_acc": [0.9]}))
    for text in ("(0 - train_acc) ** 0.5", "(0 - 1) ** 0.5 + train_acc", "sqrt(0 - train_acc)"):
        assert math.isnan(evaluate(text, runs)[0])
