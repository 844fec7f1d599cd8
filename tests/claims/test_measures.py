"""What registered measures say where the runs lack what they are made of."""

import math

import pytest
from pandas import DataFrame

from normlab.claims import Evidence, Measure
from normlab.claims.evidence import figures_by_seed, measured
from normlab.errors import ConfigError


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


def test_a_rate_at_which_runs_diverged_is_not_the_best_and_0_is_not_above_0():
    columns = {
        "norm": ["bn"] * 4,
        "seed": [0, 1, 0, 1],
        "optimizer.lr": [0.1, 0.1, 1.0, 1.0],
        "status": ["finished", "finished", "diverged", "finished"],
        "test_acc": [0.6, 0.6, math.nan, 0.9],
    }
    assert figures("best_rate", Evidence(DataFrame(columns)), norm="bn") == {0: 0.1, 1: 0.1}
    signs = two_runs(train_acc=[0.0, 0.1])
    assert figures("above_zero", signs, expression="train_acc()") == {0: 0.0, 1: 1.0}


def test_a_baseline_is_reached_within_its_own_steps(monkeypatch):
    curves = {
        "early": ([0, 10, 20], [0.1, 0.6, 0.7]),
        "never": ([0, 10, 20], [0.1, 0.2, 0.3]),
        "alike": ([0, 10, 20], [0.1, 0.3, 0.6]),
        "late": ([0, 20, 30], [0.1, 0.2, 0.6]),
    }

    def read(folder, _):
        return DataFrame(dict(zip(("step", "test_acc"), curves[folder.name], strict=True)))

    monkeypatch.setattr("normlab.claims.evidence.read_table", read)
    for quick, share in zip(curves, (0.5, math.inf, 1.0, 1.5), strict=True):
        columns = {"norm": ["bn", "none"], "seed": [0, 0], "folder": [quick, "alike"]}
        rates = {"optimizer.lr": [0.1, 0.1], "status": ["finished"] * 2, "test_acc": [0.5, 0.5]}
        runs = Evidence(DataFrame(columns | rates))
        asked = {"norm": "bn", "baseline": "none"}
        assert figures("share_of_steps", runs, **asked) == {0: share}
        assert figures("reaches_baseline", runs, **asked) == {0: float(share <= 1)}
