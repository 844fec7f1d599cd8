"""Verdicts as they are kept and printed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from normlab.claims import Measure, as_rows, remember, remembered
from normlab.show import to_verdict_json, to_verdict_markdown
from normlab.show.terminal.verdicts import gate_text
from tests.claims.doctored import doctored, factor_by_init


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        ((0, 5), "0 … 5"),
        ((0.5, 1), "0.5 … 1"),
        ((-math.inf, 5), "≤ 5"),
        ((4, math.inf), "≥ 4"),
        ((0, 0), "= 0"),
        ((-math.inf, -1e-12), "< 0"),
    ],
)
def test_gates_are_printed_as_they_are(gate, shown):
    assert gate_text(Measure(name="x", value="train_acc", gate=gate)) == shown


def test_verdicts_are_remembered_and_printed(tmp_path):
    found = doctored("C09", factor_by_init(), tmp_path)
    endless = replace(
        found,
        measured=tuple(
            replace(part, measure=part.measure.model_copy(update={"gate": (0.5, math.inf)}))
            for part in found.measured
        ),
    )
    remember([found], tmp_path)
    assert remembered(tmp_path, "small")["C09"]["verdict"] == "PASS"
    assert remembered(tmp_path, "paper") == {}
    (tmp_path / ".verdicts" / "C08-small.json").write_text("{")
    assert list(remembered(tmp_path, "small")) == ["C09"]
    (row,) = json.loads(to_verdict_json([endless]))
    assert {"id", "verdict", "measured", "gate", "n"} <= set(row)
    assert row["gate"]["δ per layer, He"] == [0.5, None]
    assert row["n"] == 3
    assert as_rows([found])[0]["measured"]["δ per layer, He"]["value"] == pytest.approx(1)
    lines = to_verdict_markdown([found]).splitlines()
    assert len(lines) == 2 + len(found.measured)
    assert "**PASS**" in lines[2]
    assert Path(tmp_path / ".verdicts" / "C09-small.json").exists()
