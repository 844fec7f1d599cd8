"""What registered measures say where the runs lack what they are made of."""

import math

import pytest
from pandas import DataFrame

from normlab.claims import Evidence, Measure
from normlab.claims.evidence import figures_by_seed, measured
from normlab.errors import ConfigError, RecordError


def two_runs(**columns):
    usual = {"seed": [0, 1], "status": ["finished"] * 2, "folder": ["a", "b"]}
    return Evidence(DataFrame(usual | columns))


def test_growth_without_plain_nets_is_said_in_one_line():
    residual = two_runs(**{"model.residual": [True, True], "model.depth": [8, 20]})
    with pytest.raises(ConfigError, match=r"model\.residual=false.*no run has it") as error:
        measured(Measure(name="growth", measure="growth"), residual)
    assert "\n" not in str(error.value)


def test_nothing_drifts_in_a_single_snapshot(monkeypatch):
    """Warnings are errors here: NumPy's about an empty mean would be one."""

    def read(folder, _):
        steps = [0] if folder.name == "a" else [0, 1]
        rows = [(step, layer, 0.5 * step, 2.0) for step in steps for layer in (1, 2, 3)]
        return DataFrame(rows, columns=["step", "layer", "act_mean", "act_std"])

    monkeypatch.setattr("normlab.claims.evidence.read_table", read)
    found = measured(Measure(name="drift", measure="drift", statistic="max"), two_runs())
    assert (found.n, found.missing) == (2, 1)
    assert math.isnan(found.value)


def figures(measure, evidence, **arguments):
    asked = Measure(name="x", measure=measure, arguments=arguments)
    return figures_by_seed(asked, evidence)


@pytest.mark.parametrize(("extreme", "expected"), [("min", 0.05), ("max", 8.0)])
def test_the_extreme_ratio_is_of_the_snapshots_from_a_step_on(monkeypatch, extreme, expected):
    """Of hidden layers: the output layer's δ, the last row's, has no part in R."""

    def read(folder, _):
        ratios = {0: 900.0, 10: 0.001, 11: 8.0, 20: 0.05, 30: 0.4}
        if folder.name == "b":
            ratios |= {20: math.inf}
        rows = [
            (step, layer, delta)
            for step, ratio in ratios.items()
            for layer, delta in enumerate((2 * ratio, 7.0, 2.0, 99.0), start=1)
        ]
        return DataFrame(rows, columns=["step", "layer", "delta_rms"])

    monkeypatch.setattr("normlab.claims.evidence.read_table", read)
    arguments = {"runs": ["status=finished"], "extreme": extreme}
    found = figures("gradient_ratio_extreme", two_runs(), from_step=11, **arguments)
    assert found == {0: pytest.approx(expected), 1: pytest.approx(math.nan, nan_ok=True)}
    with pytest.raises(RecordError, match="no snapshot from step 31 on"):
        figures("gradient_ratio_extreme", two_runs(), from_step=31, **arguments)


def test_0_is_not_above_0():
    signs = two_runs(train_acc=[0.0, 0.1])
    assert figures("above_zero", signs, expression="train_acc()") == {0: 0.0, 1: 1.0}


def test_steps_to_an_accuracy_and_a_norms_share_of_them(monkeypatch):
    curves = {
        "early": ([0, 10, 20], [0.1, 0.6, 0.5]),
        "never": ([0, 10, 20], [0.1, 0.2, 0.3]),
        "alike": ([0, 10, 20], [0.1, 0.3, 0.6]),
        "late": ([0, 20, 30], [0.1, 0.2, 0.6]),
    }

    def read(folder, _):
        return DataFrame(dict(zip(("step", "test_acc"), curves[folder.name], strict=True)))

    monkeypatch.setattr("normlab.claims.evidence.read_table", read)

    def runs(quick, slow):
        columns = {"norm": ["bn", "none"], "seed": [0, 0], "folder": [quick, slow]}
        return Evidence(DataFrame(columns | {"status": ["finished"] * 2}))

    asked = {"norm": "bn", "baseline": "none", "target": 0.6}
    for quick, share in zip(curves, (0.5, math.inf, 1.0, 1.5), strict=True):
        assert figures("share_of_steps", runs(quick, "alike"), **asked) == {0: share}
    assert figures("share_of_steps", runs("early", "never"), **asked) == {0: 0}
    assert math.isnan(figures("share_of_steps", runs("never", "never"), **asked)[0])
    steps = figures("steps_to", runs("late", "early"), target=0.6, runs=["norm=bn"])
    assert steps == {0: 30}
