"""What registered measures say where the runs lack what they are made of."""

import math

import pytest
from pandas import DataFrame

from normlab.claims import Evidence, Measure
from normlab.claims.evidence import measured
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
