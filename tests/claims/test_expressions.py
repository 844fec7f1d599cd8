"""Expressions over runs: what each function gives, and what is refused in one line."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.claims.expressions import FUNCTIONS, check_expression, evaluate_expression
from normlab.errors import ConfigError
from tests.claims.doctored import evidence


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
    assert evaluate_expression(text, evidence()) == pytest.approx(expected)


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
        ("log() + train_acc('norm=bn')", r"log\(\) takes one argument, not 0"),
        ("abs(train_acc('norm=bn'), 1)", r"abs\(\) takes one argument, not 2"),
        ("max(train_acc('norm=bn'))", r"max\(\) takes 2 arguments or more, not 1"),
        ("train_acc('norm=bn') + (-8) ** 0.5", r"-8.0 \*\* 0.5 is not a real number"),
        ("train_acc('norm=bn') / 0 ** -1", "zero|0.0"),
        ("-" * 5000 + "train_acc('norm=bn')", "recursion|not an expression"),
        ("(" * 500 + "1" + ")" * 500, "not an expression"),
    ],
)
def test_other_expressions_are_refused_in_one_line(text, says):
    with pytest.raises(ConfigError, match=says) as error:
        evaluate_expression(text, evidence())
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('abs(train_acc("norm=bn") - 0.8)', (0.1, 0.0, 0.1)),
        ('log(train_acc("norm=bn"))', (math.log(0.9), math.log(0.8), math.log(0.7))),
        ('exp(train_acc("norm=bn"))', (math.exp(0.9), math.exp(0.8), math.exp(0.7))),
        ('sqrt(train_acc("norm=bn"))', (0.9**0.5, 0.8**0.5, 0.7**0.5)),
        ('min(train_acc("norm=bn"), 0.75)', (0.75, 0.75, 0.7)),
        ('min(0.85, train_acc("norm=bn"), 0.72)', (0.72, 0.72, 0.7)),
        ('max(train_acc("norm=bn"), 0.75)', (0.9, 0.8, 0.75)),
        ('max(0.1, train_acc("norm=bn"), 0.85)', (0.9, 0.85, 0.85)),
        ('max(1, 2, 3, train_acc("norm=bn"))', (3, 3, 3)),
        ('train_acc("norm=bn") + abs(-2) + max(1, 2, 3)', (5.9, 5.8, 5.7)),
    ],
)
def test_every_function_gives_its_value(text, expected):
    found = evaluate_expression(text, evidence())
    assert tuple(found.values()) == pytest.approx(expected)


def test_every_function_is_tested():
    assert set(FUNCTIONS) == {"abs", "log", "exp", "sqrt", "min", "max"}


def test_a_power_that_is_no_real_number_for_a_seed_is_missing():
    assert math.isnan(evaluate_expression('(train_acc("norm=bn") - 0.85) ** 0.5', evidence())[2])


@given(st.text(max_size=40))
def test_no_text_is_executed_or_breaks(text):
    with contextlib.suppress(ConfigError):
        evaluate_expression(text, evidence())
